"""Trains recorded runs again, and compares them with their records."""

from __future__ import annotations

import sys

import click

from pipeline.commands import waits
from pipeline.commands.lean_tensorflow import lean_tensorflow


@click.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--all", "all_runs", is_flag=True, help="All runs of the present comparison.")
@click.option(
    "--checkout",
    is_flag=True,
    help="Work in a temporary worktree at the recorded commit, with its uncommitted changes.",
)
@click.option("--workers", type=click.IntRange(min=1), envvar="BNLAB_WORKERS", help="As for train.")
@click.option("--engine", type=click.Choice(["threads", "ray"]), help="As for train.")
def command(
    runs: tuple[str, ...],
    workers: int | None,
    engine: str | None,
    *,
    all_runs: bool,
    checkout: bool,
) -> None:
    """Train recorded runs again, and say whether they come out the same.

    \b
    Examples:
      python -m pipeline reproduce batch_norm-seed-03
      python -m pipeline reproduce 8f2c1d --checkout
      python -m pipeline reproduce --all

    RUN is the id or name of a run or a comparison in MLflow, or the beginning of one. Runs are
    compared with their records epoch by epoch and weight by weight. The exit code is 0 if all are
    bit-identical (on another type of processor or an unknown one, within a tolerance), else 1.
    """
    if all_runs == bool(runs):
        raise click.UsageError("name a RUN, or give --all")
    if checkout and engine:
        raise click.UsageError("--checkout goes by RAY_ADDRESS alone: leave --engine out")
    waits.tell("looking for the records of the runs")
    from pipeline.params_file import read_params
    from pipeline.reproduction import reproduce

    chosen = reproduce.runs_of(read_params()) if all_runs else reproduce.named(runs)
    if checkout:
        same = reproduce.run_in_worktrees(chosen, workers)
    else:
        reproduce.expect_present_inputs(chosen)
        with lean_tensorflow():
            from pipeline.reproduction import retrain
        same = retrain.run(chosen, workers, engine)
    if not same:
        sys.exit(1)
