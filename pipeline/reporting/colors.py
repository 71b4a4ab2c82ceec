"""The colour of each variant, the same in every figure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # `prepare` draws too, and need not import statistics for that.
    pass


# Okabe & Ito's palette, told apart by every kind of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def variant_colors(names: Iterable[str]) -> dict[str, str]:
    """Returns the colour of each variant in every figure; the eighth has that of the first."""
    return dict(zip(names, cycle(COLORS), strict=False))
