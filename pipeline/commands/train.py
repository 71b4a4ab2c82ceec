"""The stage `train`."""

from __future__ import annotations

import click

from pipeline.commands.lean_tensorflow import lean_tensorflow


@click.command()
@click.argument("variant")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    envvar="BNLAB_WORKERS",
    help="Threads that train at once [default: the number of processors]. Changes no result.",
)
def command(variant: str, workers: int | None) -> None:
    """Train VARIANT, as params.yaml names it, on all its seeds.

    \b
    Example:
      python -m pipeline train batch_norm --workers 2
    """
    from pipeline.execution.interruption import Interruption
    from pipeline.params_file import read_params

    params = read_params()
    if variant not in params.variants:
        known = ", ".join(params.variants)
        raise click.BadParameter(f"{variant!r} is not in params.yaml, which has {known}")
    # Before TensorFlow is imported, which takes seconds in which it may be asked to end.
    interruption = Interruption()
    with lean_tensorflow(threads=1):
        from pipeline.execution.train import run

    run(params, variant, workers, interruption)
