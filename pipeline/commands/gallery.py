"""Writes the page of all studies."""

import click


@click.command()
def command() -> None:
    """Write studies/README.md: all claims, pictures and verdicts.

    \b
    Example:
      python -m pipeline gallery
    """
    from pipeline.studies.gallery import run

    run()
