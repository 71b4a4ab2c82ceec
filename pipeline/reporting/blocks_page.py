"""A page of blocks as one self-contained file for a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.reporting.pages import Block, Heading
from pipeline.reporting.pictures import data_url
from pipeline.reporting.templating import environment

_ENVIRONMENT = environment(autoescape=True)


def html(page: Sequence[Block], pictures: Mapping[str, bytes], source: str) -> str:
    """Returns the page, which runs no script and loads nothing.

    Args:
        page: its first heading is also its title.
        pictures: the PNG of each `Picture`, by its path.
        source: the last line, which says where the page is from.
    """
    return _ENVIRONMENT.get_template("blocks.html.j2").render(
        title=next(block.text for block in page if isinstance(block, Heading)),
        blocks=[(type(block).__name__, block) for block in page],
        pictures={path: data_url(content) for path, content in pictures.items()},
        source=source,
    )
