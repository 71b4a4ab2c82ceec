"""The stage `prepare`."""

import click


@click.command()
def command() -> None:
    """Decode, split and describe the data.

    \b
    Example:
      python -m pipeline prepare
    """
    from pipeline.datasets.prepare import run
    from pipeline.params_file import read_params

    run(read_params())
