"""A page of headings, paragraphs and tables, as plain text or as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from unicodedata import east_asian_width
from urllib.parse import quote

from tabulate import tabulate

WIDTH = 100
_GAP = 2
_ESCAPED_BAR = r"\|"
# What would be taken for HTML, and not be shown; code is shown as it is.
_CODE_OR_TAG = re.compile(r"`[^`]*`|<(?=[a-zA-Z/!?])")


@dataclass(frozen=True)
class Heading:
    """The title of the blocks below it."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """One or more sentences."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of equal length; the first column has names, the others values."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture in a separate file, with a caption."""

    caption: str
    path: str


Block = Heading | Paragraph | Table | Picture


def text(page: Sequence[Block]) -> str:
    """Returns the page as plain text, at most `WIDTH` columns wide unless a word is longer."""
    return "\n\n".join(_text_block(block) for block in page) + "\n"


def markdown(page: Sequence[Block]) -> str:
    """Returns the page as Markdown."""
    return "\n\n".join(_markdown_block(block) for block in page) + "\n"


def _text_block(block: Block) -> str:
    match block:
        case Heading():
            return f"{fill(block.text, WIDTH)}\n{'=' * min(_columns(block.text), WIDTH)}"
        case Paragraph():
            return fill(block.text, WIDTH, break_on_hyphens=False)
        case Picture():
            return f"Figure: {block.path}"
        case Table():
            widths = _fitting(
                [max(map(_columns, column)) for column in zip(*_rows(block), strict=True)]
            )
            # Numbers are text already, rounded where they were made.
            table = tabulate(
                _rows(block), tablefmt="plain", disable_numparse=True, maxcolwidths=widths
            )
            return "\n".join(line.rstrip() for line in table.splitlines())


def _columns(shown: str) -> int:
    """Returns how many columns of a terminal a text takes; a Chinese character takes two."""
    return len(shown) + sum(east_asian_width(character) in "WF" for character in shown)


def _fitting(widths: list[int]) -> list[int]:
    """Returns column widths, the widest shrunk until the table fits."""
    room = WIDTH - _GAP * (len(widths) - 1)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths


def _markdown_block(block: Block) -> str:
    match block:
        case Heading():
            return f"## {_without_tags(block.text)}"
        case Paragraph():
            return _without_tags(block.text)
        case Picture():
            return f"![{block.caption}]({quote(block.path)})"
        case Table():
            header, *rows = [
                [_without_tags(cell).replace("|", _ESCAPED_BAR) for cell in row]
                for row in _rows(block)
            ]
            return tabulate(rows, header, "github", disable_numparse=True)


def _without_tags(shown: str) -> str:
    return _CODE_OR_TAG.sub(lambda found: r"\<" if found[0] == "<" else found[0], shown)


def _rows(table: Table) -> list[Sequence[str]]:
    return [table.header, *table.rows]
