"""Trains recorded runs again and says whether they come out the same."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from pipeline.examples.dataset import Dataset
from pipeline.examples.prepared import read_prepared
from pipeline.execution.engines import Engine, Watcher, engine
from pipeline.execution.progress import EpochProgress
from pipeline.provenance.lineage import PACKAGES, PORTABLE, present_machine, present_versions
from pipeline.provenance.processor import is_same_processor
from pipeline.reproduction.outcome import (
    ACCURACY_TOLERANCE,
    LOSS_TOLERANCE,
    Outcome,
    Reproduction,
    compare_outcomes,
)
from pipeline.runs.epochs import EpochScores
from pipeline.runs.models import read_model
from pipeline.runs.tables import history_table
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedRun
from pipeline.training.trainer import Task, TrainedRun, Trainer


def run(
    runs: Sequence[RecordedRun], workers: int | None = None, engine_name: str | None = None
) -> bool:
    """Trains runs again, prints how each compares with its record, and notes that in MLflow.

    Args:
        runs: made from the code and the data of this checkout.
        workers: how many train at once; by default, one per processor.
        engine_name: where they train, see `engines.engine`.

    Returns:
        Whether all came out the same.
    """
    dataset = read_prepared()
    networks = {run.variant.network.code for run in runs}
    with engine(engine_name, workers, networks) as trains_on:
        same = [same for group in _by_variant(runs) for same in _retrain(group, dataset, trains_on)]
    if len(same) > 1:
        print(f"{sum(same)} of {len(same)} runs came out the same")
    return all(same)


def _by_variant(runs: Iterable[RecordedRun]) -> Iterator[list[RecordedRun]]:
    """Yields runs that can be trained side by side, each seed once."""

    def inputs(run: RecordedRun) -> str:
        return run.manifest.only(0).to_json()

    for _, group in groupby(sorted(runs, key=inputs), inputs):
        yield list({run.seed: run for run in group}.values())


def _retrain(runs: Sequence[RecordedRun], dataset: Dataset, trains_on: Engine) -> Iterator[bool]:
    """Yields for each run of a variant whether it came out the same."""
    variant = runs[0].variant
    with EpochProgress(variant.label, variant.training.epochs * len(runs)) as progress:
        tasks, watcher = [Task(variant, run.seed) for run in runs], _ShowProgress(progress)
        results = trains_on.results(Trainer, dataset, tasks, watcher)
        trained = {task.seed: run for task, run in results}
    for run in runs:
        result = _compare(run, trained[run.seed])
        elsewhere = watcher.machines.get(run.seed)
        machine = elsewhere or present_machine()
        # Without a journal, the lineage is that of whoever tracked the run, perhaps elsewhere.
        then = {} if "lineage.of" in run.lineage else run.lineage
        portable = then.get(PORTABLE) == machine[PORTABLE] == "true"
        same_bits = True if portable else is_same_processor(then, machine)
        verdict = _verdict(result, same_bits=same_bits)
        print(f"{run.name} ({run.id[:8]}, commit {run.commit}): {verdict}{_other_versions(then)}")
        where = _name(machine, is_here=elsewhere is None)
        recorded.note_reproduction(run, f"{verdict.partition(':')[0]} on {where}")
        yield result.is_identical or (not same_bits and result.is_within_tolerance)


class _ShowProgress(Watcher):
    """Shows how far training has come, and remembers where it took place, if not here."""

    def __init__(self, progress: EpochProgress) -> None:
        self._progress = progress
        self.machines: dict[int, Mapping[str, str]] = {}

    def tell(self, scores: EpochScores) -> None:
        self._progress.tell(scores)

    def trained_on(self, seed: int, machine: Mapping[str, str]) -> None:
        self.machines[seed] = machine


def _compare(run: RecordedRun, trained: TrainedRun) -> Reproduction:
    with recorded.model_folder(run) as folder:
        model = read_model(folder)
    names = [variable.path for variable in model.weights]
    return compare_outcomes(
        Outcome(run.history, dict(zip(names, model.get_weights(), strict=True))),
        Outcome(history_table(trained.history), dict(zip(names, trained.weights, strict=True))),
    )


def _verdict(result: Reproduction, *, same_bits: bool | None) -> str:
    """Returns the verdict in words.

    Args:
        result: of the comparison.
        same_bits: whether this processor should give those of the record; None if its processor is
            unknown.
    """
    if result.first is None:
        return f"bit-identical: {result.epochs} epochs' scores and {result.weights:,} weights"
    where = (
        f"first in {result.first.quantity}, by {result.first.by:.2g}; "
        f"accuracies by at most {result.accuracy:.2g}, losses by {result.loss:.2g}"
    )
    if not same_bits and result.is_within_tolerance:
        why = "another type of processor rounds differently"
        if same_bits is None:
            why = f"it is not known which processor made the record, and {why}"
        return (
            f"within tolerance: {why}; differs {where}; "
            f"tolerances are {ACCURACY_TOLERANCE} and {LOSS_TOLERANCE}"
        )
    return f"differs: {where}"


def _other_versions(then: Mapping[str, str]) -> str:
    now = present_versions()
    changed = [
        f"{name} {then[f'{name}.version']} then, {now[f'{name}.version']} now"
        for name in ("python", *PACKAGES)
        if then.get(f"{name}.version", now[f"{name}.version"]) != now[f"{name}.version"]
    ]
    return f" ({'; '.join(changed)})" if changed else ""


def _name(machine: Mapping[str, str], *, is_here: bool) -> str:
    packages = f"TensorFlow {machine['tensorflow.version']}, Python {machine['python.version']}"
    processor = ", ".join(machine[tag] for tag in ("cpu.type", "cpu.model") if tag in machine)
    host = f"{platform.node()} (" if is_here else "a node of Ray ("
    return f"{host}{processor}, {machine['cpu.count']} cores, {platform.system()}), {packages}"
