"""The stage `train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.commands.lean_tensorflow import lean_tensorflow

if TYPE_CHECKING:
    from pipeline.params import Params


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
    if few := _too_few(params):
        click.echo(f"{params.variants[variant].label}: {few}", err=True)
    # Before the import of TensorFlow: it takes seconds, and a signal may arrive in them.
    interruption = Interruption()
    with lean_tensorflow():
        from pipeline.execution.train import run

    run(params, variant, workers, interruption, engine)


def _too_few(params: Params) -> str:
    """Returns how many seeds a verdict takes; '' if there are as many, or `settle` adds them."""
    from pipeline.comparison.looks import looks_of
    from pipeline.comparison.verdict import too_few_in_words
    from pipeline.execution import under_dvc

    if looks_of(params.comparison).repeated:
        return ""
    family = 1
    if under_dvc.is_experiment():
        # DVC takes a moment to import.
        from pipeline.lookup.listing import how_many_together

        # In a grid each variant is compared with the baseline; alone it is one comparison.
        if (experiments := how_many_together()) > 1:
            family = experiments * (len(params.variants) - 1)
    few = too_few_in_words(params.training.seeds, params.comparison.confidence, family)
    return f"{few} `compare --since` adjusts them so." if few and family > 1 else few
