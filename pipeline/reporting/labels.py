"""Names from a user's files as figures show them: in one line, cut, and never as mathematics."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from matplotlib import font_manager

from pipeline.reporting.words import short_names

# In characters.
_LONGEST = 22
# In inches, of a character of an axis' labels; a digit or two need no room of their own.
_CHARACTER, _FREE = 0.085, 2


def literal(label: str) -> str:
    """Returns a label that Matplotlib draws as it is: its dollars start no mathematics."""
    return label.replace("$", r"\$")


def shown_names(
    names: Sequence[str], places: Iterable[int], instead: str, longest: int = _LONGEST
) -> list[str]:
    """Returns the names at these places as a figure can show them.

    A name that the font has no glyphs for is replaced by `instead` and its place.
    """
    short = short_names(names, longest)
    return [
        literal(short[place]) if _glyphs().issuperset(names[place]) else f"{instead} {place}"
        for place in places
    ]


def room_for(names: Iterable[str]) -> float:
    """Returns the room that names need beside an axis, in inches beyond that of a digit."""
    return _CHARACTER * max(0, max(map(len, names)) - _FREE)


@functools.cache
def _glyphs() -> frozenset[str]:
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return frozenset(chr(code) for code in font.get_charmap())
