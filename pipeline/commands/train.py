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
    help="Runs that train at once [default: one per processor]. Does not change results.",
)
@click.option(
    "--engine",
    type=click.Choice(["threads", "ray"]),
    help="Where they train [default: ray if RAY_ADDRESS names a cluster, else threads]. Does not "
    "change results; see docs/team.md.",
)
def command(variant: str, workers: int | None, engine: str | None) -> None:
    """Train VARIANT, as params.yaml names it, on all its seeds.

    \b
    Example:
      python -m pipeline train batch_norm --workers 2
    """
    from pipeline.execution.interruption import Interruption
    from pipeline.params_file import read_params

    params = read_params()
    if variant not in params.variants:
        variants = ", ".join(params.variants)
        raise click.BadParameter(f"{variant!r} is not in params.yaml, which has {variants}")
    # Before the import of TensorFlow: it takes seconds, and a signal may arrive in them.
    interruption = Interruption()
    with lean_tensorflow():
        from pipeline.execution.train import run

    run(params, variant, workers, interruption, engine)
