"""`python -m benchmarks`: measures, and writes results.json, the figure and the table."""

from __future__ import annotations

import sys

import click

from benchmarks import contest, machine, results
from benchmarks.job import Job
from benchmarks.protocol import PeerError
from pipeline.adapters.params_file import read_params
from pipeline.errors import PipelineError
from pipeline.params import Params

SECTIONS = ("contest",)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sections", nargs=-1, type=click.Choice(["all", *SECTIONS]))
@click.option("--quick", is_flag=True, help="Less of everything: to see that it runs.")
def benchmarks(sections: tuple[str, ...], *, quick: bool) -> None:
    """Measure SECTIONS (all by default); the others stay in results.json as they are."""
    params = read_params()
    for section in SECTIONS:
        if not sections or "all" in sections or section in sections:
            results.update(section, _measure(section, params, quick=quick))
    results.update("machine", machine.describe(contest.PEERS_PYTHON))


def _measure(section: str, params: Params, *, quick: bool) -> dict:
    del section
    rounds, epochs = (2, 1) if quick else (5, 2)
    return contest.run(_job(params, epochs), rounds=rounds)


def _job(params: Params, epochs: int) -> Job:
    training, norm = params.training, params.variants["batch_norm"].normalization.model_dump()
    return Job(
        hidden_dims=params.network.hidden_dims,
        epochs=epochs,
        batch_size=training.batch_size,
        learning_rate=training.optimizer.learning_rate,
        epsilon=training.optimizer.arguments["epsilon"],
        momentum=norm["momentum"],
        norm_epsilon=norm["epsilon"],
        data="data/prepared.npz",
    )


if __name__ == "__main__":
    try:
        benchmarks(prog_name="python -m benchmarks")
    except (PeerError, PipelineError) as error:
        sys.exit(f"error: {error}")
