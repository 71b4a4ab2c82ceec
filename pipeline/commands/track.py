"""The stage `track`."""

import click

from pipeline.commands import waits


@click.command()
def command() -> None:
    """Bring MLflow up to date with the files.

    \b
    Example:
      MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python -m pipeline track

    Only adds what is missing, so it is safe to repeat.
    """
    from pipeline.params_file import read_params

    params = read_params()
    waits.tell("bringing MLflow up to date")
    from pipeline.tracking.track import run

    run(params)
