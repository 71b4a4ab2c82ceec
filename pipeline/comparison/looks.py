"""The block `comparison` of params.yaml, with how often the comparison is looked at.

It is not in `pipeline.params`, which decides the bits of a run: how often one looks does not.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.comparison.verdict import ONCE, Looks
from pipeline.params import Comparison


class LookedAt(Comparison):
    """A comparison, and whether pairs are added until it is settled."""

    looks: Literal["once", "repeated"]
    looked_at: Annotated[int, Field(ge=0)]


def looks_of(comparison: Comparison) -> Looks:
    """Returns how often a comparison is looked at; once where that is not said, as of a study."""
    if not isinstance(comparison, LookedAt) or comparison.looks == "once":
        return ONCE
    return Looks(repeated=True, before=comparison.looked_at)
