"""The stage `evaluate`."""

import click

from pipeline.commands import waits
from pipeline.commands.lean_tensorflow import lean_tensorflow


@click.command()
def command() -> None:
    """Score every run on the test set.

    \b
    Example:
      python -m pipeline evaluate
    """
    from pipeline.params_file import read_params

    params = read_params()
    with lean_tensorflow():
        from pipeline.evaluation.evaluate import run

    waits.tell("scoring each run on the test set")
    run(params)
