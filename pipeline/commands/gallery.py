"""Writes the page of all studies."""

from pathlib import Path

import click

from pipeline.errors import MissingInputError


@click.command()
def command() -> None:
    """Write studies/README.md: all claims, pictures and verdicts.

    \b
    Example:
      python -m pipeline gallery
    """
    if not Path("studies").is_dir():
        raise MissingInputError("studies is not here: run from the project's root")
    from pipeline.studies.gallery import run

    run()
