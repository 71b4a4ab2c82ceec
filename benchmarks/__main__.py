"""`python -m benchmarks` measures, and writes results.json, the figure and the tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks import (
    contest,
    floor_time,
    growth,
    machine,
    pipeline_time,
    report,
    results,
    store_time,
    waiting,
)
from benchmarks.job import Job
from benchmarks.protocol import PeerError
from pipeline.errors import PipelineError
from pipeline.examples.dataset import Examples
from pipeline.examples.prepared import PREPARED_FILE, read_prepared, write_prepared
from pipeline.files import write_text
from pipeline.params_file import read_params
from pipeline.reporting.pictures import write_figure

FOLDER, QUICK_FOLDER = Path("benchmarks"), Path("benchmarks/quick")
SECTIONS = ("contest", "convolutions", "floor", "growth", "pipeline", "stores")
WAITING = "waiting"
# Those that are told no more than whether to be quick.
_ALIKE = {"floor": floor_time, "growth": growth, "pipeline": pipeline_time, "stores": store_time}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sections", nargs=-1, type=click.Choice(["all", *SECTIONS, WAITING]))
@click.option("--quick", is_flag=True, help="Measure less, and write to benchmarks/quick.")
@click.option("--before", metavar="REV", help="The commit that `waiting` compares the last with.")
def benchmarks(sections: tuple[str, ...], before: str | None, *, quick: bool) -> None:
    """Measure SECTIONS (all by default); the other sections of results.json stay as they are.

    All are those that need no commit to compare with, so not `waiting`.
    """
    if (WAITING in sections) != (before is not None):
        raise click.UsageError("`waiting` and --before need each other")
    chosen = SECTIONS if not sections or "all" in sections else sections
    folder = QUICK_FOLDER if quick else FOLDER
    here = machine.describe(contest.PEERS_PYTHON)
    with _prepared(quick=quick) as data:
        for section in chosen:
            click.echo(f"{section} …", err=True)
            measured = _measure(section, data, before or "", quick=quick)
            results.update(folder, section, measured, here)
    _write(folder, results.read(folder))


def _measure(section: str, data: Path, before: str, *, quick: bool) -> dict[str, Any]:
    match section:
        case "contest":
            return contest.run(_job(data), rounds=2 if quick else 5)
        case "convolutions":
            with _prepared(quick=True) as tenth:
                job = replace(_job(tenth), filters=(16, 32), hidden_dims=(64,))
                return contest.run(job, 2 if quick else 5, contest.WITH_CONVOLUTIONS)
        case "waiting":
            return waiting.run(before, quick=quick)
        case _:
            return _ALIKE[section].run(quick=quick)


def _write(folder: Path, measured: results.Results) -> None:
    write_text(folder / report.PAGE, report.page(measured))
    if {"contest", "growth"} <= measured.keys():
        write_figure(folder / report.FIGURE, report.figure(measured))


@contextmanager
def _prepared(*, quick: bool) -> Iterator[Path]:
    """Yields the file of the prepared data, or of a tenth of it."""
    if not quick:
        yield PREPARED_FILE
        return
    dataset = read_prepared()
    with TemporaryDirectory() as folder:
        path = Path(folder) / PREPARED_FILE.name
        train, validation, test = map(_tenth, (dataset.train, dataset.validation, dataset.test))
        write_prepared(path, replace(dataset, train=train, validation=validation, test=test))
        yield path


def _tenth(examples: Examples) -> Examples:
    count = len(examples) // 10
    return Examples(examples.inputs[:count], examples.labels[:count])


def _job(data: Path) -> Job:
    params = read_params()
    optimizer = params.training.optimizer.arguments
    norm = params.variants["batch_norm"].normalization.model_dump()
    return Job(
        hidden_dims=params.network.hidden_dims,
        epochs=1,
        batch_size=params.training.batch_size,
        learning_rate=optimizer["learning_rate"],
        epsilon=optimizer["epsilon"],
        momentum=norm["momentum"],
        norm_epsilon=norm["epsilon"],
        data=str(data),
    )


if __name__ == "__main__":
    try:
        benchmarks(prog_name="python -m benchmarks")
    except (PeerError, PipelineError) as error:
        sys.exit(f"error: {error}")
