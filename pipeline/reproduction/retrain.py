"""Trains recorded runs again and says whether they come out the same."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from multiprocessing.pool import ThreadPool

from pipeline.examples.dataset import Dataset
from pipeline.examples.prepared import read_prepared
from pipeline.execution.progress import EpochProgress
from pipeline.provenance.lineage import PACKAGES, PORTABLE, present_versions
from pipeline.provenance.processor import is_same_processor, outside_promise, present_processor
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
from pipeline.training.workers import worker_pool


def run(runs: Sequence[RecordedRun], workers: int | None = None) -> bool:
    """Trains runs again, prints how each compares with its record, and notes that in MLflow.

    Args:
        runs: made from the code and the data of this checkout.
        workers: how many threads train at once; by default, one per processor.

    Returns:
        Whether all came out the same.
    """
    dataset = read_prepared()
    with worker_pool(workers) as pool:
        same = [same for group in _by_variant(runs) for same in _retrain(group, dataset, pool)]
    if len(same) > 1:
        print(f"{sum(same)} of {len(same)} runs came out the same")
    return all(same)


def _by_variant(runs: Iterable[RecordedRun]) -> Iterator[list[RecordedRun]]:
    """Yields runs that can be trained side by side, each seed once."""

    def inputs(run: RecordedRun) -> str:
        return run.manifest.only(0).to_json()

    for _, group in groupby(sorted(runs, key=inputs), inputs):
        yield list({run.seed: run for run in group}.values())


def _retrain(runs: Sequence[RecordedRun], dataset: Dataset, pool: ThreadPool) -> Iterator[bool]:
    """Yields for each run of a variant whether it came out the same."""
    variant = runs[0].variant
    with EpochProgress(variant.label, variant.training.epochs * len(runs)) as progress:
        seeds = [run.seed for run in runs]
        trained = train_seeds(variant, seeds, Trainer(dataset, _ShowProgress(progress)), pool)
    by_seed = {run.seed: run for run in trained}
    processor = present_processor()
    here = processor.tags
    for run in runs:
        result = _compare(run, by_seed[run.seed])
        # Without a journal, the lineage is that of whoever tracked the run, perhaps elsewhere.
        then = {} if "lineage.of" in run.lineage else run.lineage
        portable = then.get(PORTABLE) == "true" and not outside_promise(processor)
        same_bits = True if portable else is_same_processor(then, here)
        verdict = _verdict(result, same_bits=same_bits)
        print(f"{run.name} ({run.id[:8]}, commit {run.commit}): {verdict}{_other_versions(then)}")
        recorded.note_reproduction(run, f"{verdict.partition(':')[0]} on {_machine()}")
        yield result.is_identical or (not same_bits and result.is_within_tolerance)


class _ShowProgress(Hooks):
    """Shows how far training has come."""

    def __init__(self, progress: EpochProgress) -> None:
        self._progress = progress

    def tell(self, scores: EpochScores) -> None:
        self._progress.tell(scores)


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


def _machine() -> str:
    versions = present_versions()
    packages = f"TensorFlow {versions['tensorflow.version']}, Python {versions['python.version']}"
    processor = present_processor()
    name = f"{processor.name}, {processor.model}" if processor.model else processor.name
    return f"{platform.node()} ({name}, {os.cpu_count()} cores, {platform.system()}), {packages}"
