"""Mirrors every run and the comparison to MLflow."""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow.entities import Run
from tqdm import tqdm

from pipeline.colors import variant_colors
from pipeline.errors import PendingError
from pipeline.evaluation.divergence import diverged_seeds
from pipeline.evaluation.results import read_test_scores
from pipeline.examples.dataset import Dataset
from pipeline.examples.prepared import read_prepared
from pipeline.files import read_json, write_text
from pipeline.params import Data, Params
from pipeline.provenance.lineage import Lineage, present_lineage
from pipeline.provenance.lineage_file import exchange
from pipeline.runs.manifest import Manifest, read_manifest
from pipeline.runs.tables import read_history, run_folder
from pipeline.stores.causes import in_a_line
from pipeline.tracking import comparison as comparison_records
from pipeline.tracking.cells import cell_tags
from pipeline.tracking.champion import crown_from_file
from pipeline.tracking.experiment_pages import COLOR, of_runs
from pipeline.tracking.patience import persistent
from pipeline.tracking.records import (
    data_of,
    history_points,
    run_description,
    run_files,
    run_record,
    test_points,
)
from pipeline.tracking.store import TRACKING_ERRORS, Point, Store, is_finished, shows
from pipeline.tracking.trained_on import TrainedOn

logger = logging.getLogger(__name__)

_DIFFERENT_SCORES = (
    "%d of %d runs have other scores than MLflow recorded (%s, for one), as other packages, "
    "another processor or other settings of TensorFlow give. MLflow keeps the recorded scores"
)
# Tells DVC that MLflow is up to date; see dvc.yaml.
TRACKED = Path("mlflow.tracked")


def run(params: Params) -> None:
    """Brings MLflow up to date with the files; whatever it already has stays as it is.

    Raises:
        MissingInputError: if a file is missing.
        PendingError: if the store is gone, or locked for longer than a minute. Runs already added
            stay, and the message says how many are not.
    """
    manifests = [read_manifest(variant) for variant in params.variants]
    dataset = read_prepared()
    present = present_lineage()
    runs = dict(_runs_on_disk(manifests, present))
    comparison = read_json(comparison_records.REPORTS / "comparison.json")
    report = comparison_records.read_report()
    record = comparison_records.record(params.comparison, comparison, report, runs, present)

    mirrored: dict[str, Run] = {}
    try:
        store = Store(params.tracking.experiment, of_runs)
        colors = variant_colors(params.variants)
        shown = {
            manifest.variant: {**cell_tags(store, manifest), COLOR: colors[manifest.variant]}
            for manifest in manifests
        }
        _mirror_runs(store, runs, shown, _Data(params.data, dataset), mirrored)
        points = comparison_records.points(comparison)
        comparison_records.mirror(store, record, points, report, list(mirrored.values()))
        crown_from_file(params.tracking.experiment, mirrored)
        store.analyze()
    except TRACKING_ERRORS as error:
        pending = f"{len(runs) - len(mirrored)} of {len(runs)} runs and the comparison"
        raise PendingError(
            f"MLflow does not take the runs: {in_a_line(error)}; pending are {pending}: "
            "`python -m pipeline track` adds them once it does; `python -m pipeline doctor` says "
            "what is wrong"
        ) from None

    write_text(TRACKED, "\n".join([*mirrored, record.fingerprint]) + "\n")


@dataclass(frozen=True)
class _RunOnDisk:
    """A run as the earlier stages left it.

    Attributes:
        manifest: of its variant.
        seed: of the run.
        lineage: of its training; of tracking if training left none.
        diverged: whether it did.
        history: its scores, epoch by epoch.
        test: its scores on the test set.
    """

    manifest: Manifest
    seed: int
    lineage: Lineage
    diverged: bool
    history: list[Point]
    test: list[Point]


@dataclass(frozen=True)
class _Data:
    """The prepared data, and where it came from."""

    source: Data
    dataset: Dataset


def _runs_on_disk(
    manifests: Collection[Manifest], present: Lineage
) -> Iterator[tuple[str, _RunOnDisk]]:
    """Yields the fingerprint of each run, and the run."""
    lineages = exchange(manifests)
    for manifest in manifests:
        history = read_history(manifest.variant)
        scores = read_test_scores(manifest.variant)
        diverged = diverged_seeds(history, scores)
        for fingerprint, seed in manifest.fingerprints().items():
            lineage = lineages.get(fingerprint) or _of_tracking(present)
            epochs, test = history_points(history, seed), test_points(scores, seed)
            yield fingerprint, _RunOnDisk(manifest, seed, lineage, seed in diverged, epochs, test)


def _mirror_runs(
    store: Store,
    runs: Mapping[str, _RunOnDisk],
    shown: Mapping[str, Mapping[str, str]],
    data: _Data,
    mirrored: dict[str, Run],
) -> None:
    """Mirrors each run, and puts it into `mirrored` once MLflow has it.

    `shown` has the tags for MLflow's pages, by variant.
    """
    different: list[str] = []
    with tqdm(total=len(runs), desc="MLflow", unit="run", disable=None) as bar:
        for fingerprint, run in runs.items():
            tags = shown[run.manifest.variant]
            mirrored[fingerprint], same = _mirror_run(store, run, tags, data)
            if not same:
                different.append(f"{run.manifest.variant}, seed {run.seed}")
            bar.update()
    if different:
        logger.warning(_DIFFERENT_SCORES, len(different), len(runs), different[0])


@persistent
def _mirror_run(
    store: Store, on_disk: _RunOnDisk, shown: Mapping[str, str], data: _Data
) -> tuple[Run, bool]:
    """Returns the run in MLflow, and whether its history there is the one on disk."""
    manifest, seed, lineage = on_disk.manifest, on_disk.seed, on_disk.lineage
    # If two processes add the same run, the second finds it finished.
    with store.lock():
        record = replace(
            run_record(manifest, seed, lineage, shown=shown, diverged=on_disk.diverged),
            description=run_description(on_disk.test, diverged=on_disk.diverged),
            data=data_of(data.source.name, manifest.data_sha256, data.dataset),
        )
        run = store.open(record)
        if is_finished(run):
            if not store.holds(run, on_disk.history):
                return run, False
            if shows(run, on_disk.test):
                return run, True
        folder = run_folder(manifest.variant, seed)
        trained_on = TrainedOn.of(data.source.dataset, data.dataset)
        model_id = store.log_model(run, folder, trained_on, data.dataset.test.inputs[:2])
        scores = [replace(point, model_id=model_id) for point in on_disk.test]
        store.log(run, [*on_disk.history, *scores])
        if is_finished(run):
            store.describe(run, record.description)
        else:
            store.log_files(run, run_files(manifest, seed, lineage))
            run = store.finish(run, lineage.ended)
        return run, True


def _of_tracking(lineage: Lineage) -> Lineage:
    return Lineage({**lineage.tags, "lineage.of": "tracking, not training"}, lineage.patch)
