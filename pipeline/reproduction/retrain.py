"""Trains recorded runs again and says whether the same comes out."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from multiprocessing.pool import ThreadPool

from pipeline.examples.dataset import Dataset
from pipeline.examples.prepared import read_prepared
from pipeline.execution.progress import EpochProgress
from pipeline.provenance.lineage import CPU, PACKAGES, cpu_type, present_versions
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
from pipeline.training.trainer import Hooks, TrainedRun, Trainer, train_seeds


def run(chosen: Sequence[RecordedRun], workers: int | None = None) -> bool:
    """Trains runs again, tells of each how it compares, and notes that in MLflow.

    Args:
        chosen: made from the code and the data that are here.
        workers: threads that train at once, by default as many as there are processors.

    Returns:
        Whether all came out the same.
    """
    dataset = read_prepared()
    with ThreadPool(workers or os.cpu_count()) as pool:
        same = [one for group in _by_variant(chosen) for one in _retrain(group, dataset, pool)]
    if len(same) > 1:
        print(f"{sum(same)} of {len(same)} runs came out the same")
    return all(same)


def _by_variant(chosen: Iterable[RecordedRun]) -> Iterator[list[RecordedRun]]:
    """Yields runs that can be trained side by side, each seed once."""

    def inputs(one: RecordedRun) -> str:
        return one.manifest.only(0).to_json()

    for _, group in groupby(sorted(chosen, key=inputs), inputs):
        yield list({one.seed: one for one in group}.values())


def _retrain(group: Sequence[RecordedRun], dataset: Dataset, pool: ThreadPool) -> Iterator[bool]:
    variant = group[0].variant
    with EpochProgress(variant.label, variant.training.epochs * len(group)) as progress:
        seeds = [one.seed for one in group]
        trained = train_seeds(variant, seeds, Trainer(dataset, _Shown(progress)), pool)
    of_seed = {one.seed: one for one in trained}
    for one in group:
        result = _compare(one, of_seed[one.seed])
        # What tracked a run that nobody saw being made need not be what made it.
        same_machine = one.lineage.get(CPU) == cpu_type() and "lineage.of" not in one.lineage
        verdict = _verdict(result, same_machine=same_machine)
        print(f"{one.name} ({one.id[:8]}, commit {one.commit}): {verdict}{_other_versions(one)}")
        recorded.note_reproduction(one, f"{verdict.partition(':')[0]} on {_machine()}")
        yield result.is_identical or (not same_machine and result.is_within_tolerance)


class _Shown(Hooks):
    """Shows how far the training has come."""

    def __init__(self, progress: EpochProgress) -> None:
        self._progress = progress

    def tell(self, scores: EpochScores) -> None:
        self._progress.tell(scores)


def _compare(one: RecordedRun, trained: TrainedRun) -> Reproduction:
    with recorded.model_folder(one) as folder:
        model = read_model(folder)
    names = [variable.path for variable in model.weights]
    return compare_outcomes(
        Outcome(one.history, dict(zip(names, model.get_weights(), strict=True))),
        Outcome(history_table(trained.history), dict(zip(names, trained.weights, strict=True))),
    )


def _verdict(result: Reproduction, *, same_machine: bool) -> str:
    if result.first is None:
        return f"bit-identical: {result.epochs} epochs' scores and {result.weights:,} weights"
    where = (
        f"first in {result.first.quantity}, by {result.first.by:.2g}; "
        f"accuracies by at most {result.accuracy:.2g}, losses by {result.loss:.2g}"
    )
    if not same_machine and result.is_within_tolerance:
        return (
            f"within tolerance: another processor rounds otherwise; it differs {where}; tolerated "
            f"are {ACCURACY_TOLERANCE} and {LOSS_TOLERANCE}"
        )
    return f"differs: {where}"


def _other_versions(one: RecordedRun) -> str:
    then, now = one.lineage, present_versions()
    changed = [
        f"{name} {then[f'{name}.version']} then, {now[f'{name}.version']} now"
        for name in ("python", *PACKAGES)
        if then.get(f"{name}.version", now[f"{name}.version"]) != now[f"{name}.version"]
    ]
    return f" ({'; '.join(changed)})" if changed else ""


def _machine() -> str:
    versions = present_versions()
    packages = f"TensorFlow {versions['tensorflow.version']}, Python {versions['python.version']}"
    return (
        f"{platform.node()} ({cpu_type()}, {os.cpu_count()} cores, {platform.system()}), {packages}"
    )
