"""Says what takes a while."""

from __future__ import annotations

import sys

import click


def tell(doing: str) -> None:
    """Says what takes over two seconds from here; on a terminal only, for nobody waits in a log."""
    if sys.stderr.isatty():
        click.echo(f"{doing} ...", err=True)
