"""The colour of each variant, the same in every figure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle

# Okabe & Ito's palette, which can be told apart with any kind of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def variant_colors(names: Iterable[str]) -> dict[str, str]:
    """Returns the colour of each variant; the eighth has the colour of the first."""
    return dict(zip(names, cycle(COLORS), strict=False))
