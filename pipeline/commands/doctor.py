"""Finds what is wrong with the project."""

import sys

import click


@click.command()
@click.option("--fix", is_flag=True, help="Mend what can safely be mended, keeping copies.")
@click.option("--relocate", is_flag=True, help="After a move: tell MLflow where artifacts are now.")
def command(*, fix: bool, relocate: bool) -> None:
    """Say what is wrong with this project; mend it if asked to.

    \b
    Example:
      python -m pipeline doctor --fix

    Changes nothing by itself. Ends with 1 while something is wrong, with 0 when all is well.
    """
    from pipeline.health import doctor

    asked = {"--fix": fix, "--relocate": relocate}
    if not doctor.run([option for option, wanted in asked.items() if wanted]):
        sys.exit(1)
