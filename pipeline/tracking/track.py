"""Mirrors every run and the comparison to MLflow."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mlflow.entities import Run
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.errors import PendingError, one_line
from pipeline.evaluation.divergence import diverged_seeds
from pipeline.evaluation.test_scores import read_test_scores
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import read_prepared
from pipeline.files import read_json, write_text
from pipeline.params import Params
from pipeline.provenance.lineage import Lineage, present_lineage, read_journal
from pipeline.runs.manifest import Manifest, read_manifest
from pipeline.runs.tables import read_history, run_folder
from pipeline.tracking import comparison as comparison_records
from pipeline.tracking.experiment_pages import of_runs
from pipeline.tracking.records import (
    data_of,
    history_points,
    run_description,
    run_files,
    run_record,
    test_points,
)
from pipeline.tracking.store import TRACKING_ERRORS, Point, Store, is_finished, shows

logger = logging.getLogger(__name__)

_OTHERWISE = (
    "%d of %d runs came out otherwise than MLflow has them (%s, say): other packages or another "
    "processor than when they were recorded. They stay there as recorded"
)
# Says to DVC that MLflow has it all; see dvc.yaml.
TRACKED = Path("mlflow.tracked")


def run(params: Params) -> None:
    """Brings MLflow up to date with the files; whatever is there already stays as it is.

    Raises:
        MissingInputError: if one of the files is not there.
        PendingError: if the store is gone, or locked for longer than a minute; what was added
            stays, and the message says how much is not.
    """
    manifests = [read_manifest(variant) for variant in params.variants]
    dataset = read_prepared()
    present = present_lineage()
    made = dict(_made(manifests, present))
    comparison = read_json(comparison_records.REPORTS / "comparison.json")
    report = comparison_records.read_report()
    record = comparison_records.record(params.comparison, comparison, report, made, present)

    mirrored: dict[str, Run] = {}
    try:
        store = Store(params.tracking.experiment, of_runs)
        _mirror_runs(store, made, _Data(params.data.dataset, dataset), mirrored)
        points = comparison_records.points(comparison)
        comparison_records.mirror(store, record, points, report, list(mirrored.values()))
    except TRACKING_ERRORS as error:
        pending = f"{len(made) - len(mirrored)} of {len(made)} runs and the comparison"
        raise PendingError(
            f"MLflow does not take the runs: {one_line(error)}; pending are {pending}: "
            "`python -m pipeline track` adds them"
        ) from None

    write_text(TRACKED, "\n".join([*mirrored, record.fingerprint]) + "\n")


@dataclass(frozen=True)
class _MadeRun:
    """A run as the stages before left it."""

    manifest: Manifest
    seed: int
    lineage: Lineage
    diverged: bool
    learnt: list[Point]
    tested: list[Point]


@dataclass(frozen=True)
class _Data:
    """What was learnt from, and its name."""

    name: str
    dataset: Dataset


def _made(manifests: Iterable[Manifest], present: Lineage) -> Iterator[tuple[str, _MadeRun]]:
    """Yields every run with its fingerprint."""
    for manifest in manifests:
        history = read_history(manifest.variant)
        scores = read_test_scores(manifest.variant)
        diverged = diverged_seeds(history)
        for fingerprint, seed in manifest.fingerprints().items():
            lineage = read_journal(fingerprint) or _of_tracking(present)
            learnt, tested = history_points(history, seed), test_points(scores, seed)
            made = _MadeRun(manifest, seed, lineage, seed in diverged, learnt, tested)
            yield fingerprint, made


def _mirror_runs(
    store: Store,
    made: Mapping[str, _MadeRun],
    data: _Data,
    mirrored: dict[str, Run],
) -> None:
    """Puts each run, once MLflow has it, into `mirrored`."""
    otherwise: list[str] = []
    with tqdm(total=len(made), desc="MLflow", unit="run", disable=None) as bar:
        for fingerprint, one in made.items():
            mirrored[fingerprint], same = _mirror_run(store, one, data)
            if not same:
                otherwise.append(f"{one.manifest.variant}, seed {one.seed}")
            bar.update()
    if otherwise:
        logger.warning(_OTHERWISE, len(otherwise), len(made), otherwise[0])


def _mirror_run(store: Store, made: _MadeRun, data: _Data) -> tuple[Run, bool]:
    """Returns the run in MLflow, and whether it has learnt there what it has here."""
    # Of two processes that add the same run, the second finds it finished.
    with store.alone():
        record = replace(
            run_record(made.manifest, made.seed, made.lineage, diverged=made.diverged),
            description=run_description(made.tested, diverged=made.diverged),
            data=data_of(data.name, made.manifest.data_sha256, data.dataset),
        )
        run = store.open(record)
        if is_finished(run):
            if not store.holds(run, made.learnt):
                return run, False
            if shows(run, made.tested):
                return run, True
        folder = run_folder(made.manifest.variant, made.seed)
        model_id = store.log_model(run, folder, *_example(data.dataset.test))
        scored = [replace(point, model_id=model_id) for point in made.tested]
        store.log(run, [*made.learnt, *scored])
        if is_finished(run):
            store.describe(run, record.description)
        else:
            store.log_files(run, run_files(made.manifest, made.seed, made.lineage))
            store.finish(run, made.lineage.ended)
        return run, True


def _example(test: Examples) -> tuple[NDArray[np.uint8], int]:
    """Returns images that a model takes, and the number of classes that it tells apart."""
    return test.images[:2], int(test.labels.max()) + 1


def _of_tracking(lineage: Lineage) -> Lineage:
    return Lineage({**lineage.tags, "lineage.of": "tracking, not training"}, lineage.patch)
