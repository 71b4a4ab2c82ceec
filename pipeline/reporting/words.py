"""What the examples of a dataset are called, and how names from its files are shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import printable

if TYPE_CHECKING:
    from pipeline.params import Data


@dataclass(frozen=True)
class Words:
    """The nouns of a dataset.

    Attributes:
        example: an example.
        input: what a network is given of it.
        category: what an example belongs to.
    """

    example: str
    input: str
    category: str


DIGITS = Words("digit", "image", "digit")
_IMAGES = Words("image", "image", "class")
_ROWS = Words("row", "row", "class")


def words_for(data: Data, *, has_images: bool) -> Words:
    """Returns the words for a dataset."""
    if not has_images:
        return _ROWS
    return DIGITS if data.dataset in ("mnist", "digits") else _IMAGES


def shortened(name: str, most: int) -> str:
    """Returns a name in one line of at most `most` characters; of a long one the middle is cut."""
    line = printable(" ".join(name.split()))
    half = most // 2
    return line if len(line) <= most else f"{line[: most - half]}…{line[len(line) - half + 1 :]}"


def short_names(names: Sequence[str], most: int) -> list[str]:
    """Returns names of at most `most` characters; those that would be equal begin with a number.

    It is the name's place, counted from 0.
    """
    short = [shortened(name, most) for name in names]
    times = Counter(short)
    return [
        name if times[name] == 1 else shortened(f"{place}: {names[place]}", most)
        for place, name in enumerate(short)
    ]


def escaped(text: str) -> str:
    """Returns a text that Markdown, and the HTML made from it, show as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$-])", r"\\\1", " ".join(text.split()))
