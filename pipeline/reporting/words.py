"""What the examples of a dataset are called, and how names from its files are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import printable
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


def escaped(text: str) -> str:
    """Returns a text that Markdown, and the HTML made from it, show as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$-])", r"\\\1", " ".join(text.split()))
