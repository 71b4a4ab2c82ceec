"""Finds what is wrong with the project."""

import sys

import click

from pipeline.commands import waits


@click.command()
@click.option("--fix", is_flag=True, help="Mend what can safely be mended, keeping copies.")
@click.option("--relocate", is_flag=True, help="After a move: tell MLflow where artifacts are now.")
def command(*, fix: bool, relocate: bool) -> None:
    """Say what is wrong with this project, and mend it if asked.

    \b
    Example:
      python -m pipeline doctor --fix

    Without options, changes nothing. The exit code is 1 while something is wrong, else 0.
    """
    waits.tell("looking at files, DVC and MLflow")
    # Says so where only a part of bnlab is installed; else each check would fail for that.
    import dvc  # noqa: F401

    from pipeline.health import doctor

    options = {"--fix": fix, "--relocate": relocate}
    if not doctor.run([option for option, is_given in options.items() if is_given]):
        sys.exit(1)
