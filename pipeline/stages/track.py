"""Mirrors every run and the comparison to MLflow."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mlflow.entities import Run
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.adapters import runs
from pipeline.adapters.datasets import read_prepared
from pipeline.adapters.files import read_json, write_text
from pipeline.adapters.lineage import Lineage, present_lineage, read_journal
from pipeline.adapters.records import (
    comparison_files,
    comparison_fingerprint,
    history_points,
    read_report,
    run_files,
    run_record,
    test_points,
)
from pipeline.adapters.tracking import (
    TRACKING_ERRORS,
    Point,
    RunRecord,
    Store,
    is_finished,
    shows,
)
from pipeline.core.divergence import diverged_seeds
from pipeline.core.examples import Examples
from pipeline.errors import PendingError, one_line
from pipeline.params import Params

logger = logging.getLogger(__name__)

_OTHERWISE = (
    "%d of %d runs came out otherwise than MLflow has them (%s, say): other packages or another "
    "processor than when they were recorded. They stay there as recorded"
)
REPORTS = Path("reports")
# Says to DVC that MLflow has it all; see dvc.yaml.
TRACKED = Path("mlflow.tracked")


def run(params: Params) -> None:
    """Brings MLflow up to date with the files; whatever is there already stays as it is.

    Raises:
        MissingInputError: if one of the files is not there.
        PendingError: if the store is gone, or locked for longer than a minute; what was added
            stays, and the message says how much is not.
    """
    manifests = [runs.read_manifest(variant) for variant in params.variants]
    example = _example(read_prepared().test)
    present = present_lineage()
    made = dict(_made(manifests, present))
    comparison = _comparison(params, made, present)

    mirrored: dict[str, Run] = {}
    try:
        store = Store(params.tracking.experiment)
        _mirror_runs(store, made, example, mirrored)
        _mirror_comparison(store, comparison, mirrored.values())
    except TRACKING_ERRORS as error:
        pending = f"{len(made) - len(mirrored)} of {len(made)} runs and the comparison"
        raise PendingError(
            f"MLflow does not take the runs: {one_line(error)}; pending are {pending}: "
            "`python -m pipeline track` adds them"
        ) from None

    write_text(TRACKED, "\n".join([*mirrored, comparison.record.fingerprint]) + "\n")


@dataclass(frozen=True)
class _MadeRun:
    """A run as the stages before left it."""

    manifest: runs.Manifest
    seed: int
    lineage: Lineage
    diverged: bool
    learnt: list[Point]
    tested: list[Point]


@dataclass(frozen=True)
class _Comparison:
    """The comparison as the stage before left it: a run of its own."""

    record: RunRecord
    points: list[Point]


def _made(manifests: Iterable[runs.Manifest], present: Lineage) -> Iterator[tuple[str, _MadeRun]]:
    """Yields every run with its fingerprint."""
    for manifest in manifests:
        history = runs.read_history(manifest.variant)
        scores = runs.read_test_scores(manifest.variant)
        diverged = diverged_seeds(history)
        for fingerprint, seed in manifest.fingerprints().items():
            lineage = read_journal(fingerprint) or _of_tracking(present)
            learnt, tested = history_points(history, seed), test_points(scores, seed)
            made = _MadeRun(manifest, seed, lineage, seed in diverged, learnt, tested)
            yield fingerprint, made


def _mirror_runs(
    store: Store,
    made: Mapping[str, _MadeRun],
    example: tuple[NDArray[np.uint8], int],
    mirrored: dict[str, Run],
) -> None:
    """Puts each run, once MLflow has it, into `mirrored`."""
    otherwise: list[str] = []
    with tqdm(total=len(made), desc="MLflow", unit="run", disable=None) as bar:
        for fingerprint, one in made.items():
            mirrored[fingerprint], same = _mirror_run(store, one, example)
            if not same:
                otherwise.append(f"{one.manifest.variant}, seed {one.seed}")
            bar.update()
    if otherwise:
        logger.warning(_OTHERWISE, len(otherwise), len(made), otherwise[0])


def _mirror_run(
    store: Store, made: _MadeRun, example: tuple[NDArray[np.uint8], int]
) -> tuple[Run, bool]:
    """Returns the run in MLflow, and whether it has learnt there what it has here."""
    # Of two processes that add the same run, the second finds it finished.
    with store.alone():
        record = run_record(made.manifest, made.seed, made.lineage, diverged=made.diverged)
        run = store.open(record)
        if is_finished(run):
            if not store.holds(run, made.learnt):
                return run, False
            if shows(run, made.tested):
                return run, True
        folder = runs.run_folder(made.manifest.variant, made.seed)
        model_id = store.log_model(run, folder, *example)
        tested = [replace(point, model_id=model_id) for point in made.tested]
        store.log(run, [*made.learnt, *tested])
        if not is_finished(run):
            store.log_files(run, run_files(made.manifest, made.seed, made.lineage))
            store.finish(run)
        return run, True


def _example(test: Examples) -> tuple[NDArray[np.uint8], int]:
    """Returns images that a model takes, and the number of classes that it tells apart."""
    return test.images[:2], int(test.labels.max()) + 1


def _of_tracking(lineage: Lineage) -> Lineage:
    return Lineage({**lineage.tags, "lineage.of": "tracking, not training"}, lineage.patch)


def _comparison(params: Params, fingerprints: Iterable[str], lineage: Lineage) -> _Comparison:
    """Returns the comparison of the runs with these fingerprints."""
    comparison = read_json(REPORTS / "comparison.json")
    text = read_report()
    candidate, baseline = params.comparison.candidate, params.comparison.baseline
    # Few: each gets a chart of its own on MLflow's first page. The rest is in the report.
    shown = {key: comparison[key] for key in ("mean", "ci_low", "ci_high", "wins", "n")}
    return _Comparison(
        RunRecord(
            fingerprint=comparison_fingerprint(comparison, text, fingerprints),
            name=f"{candidate}-against-{baseline}",
            tags={"kind": "comparison", "verdict": comparison["verdict"], **lineage.tags},
            description=_without_pictures(text),
        ),
        [Point(f"difference/{key}", value) for key, value in shown.items() if value is not None],
    )


def _mirror_comparison(store: Store, comparison: _Comparison, compared: Iterable[Run]) -> None:
    run = store.open(comparison.record)
    if not is_finished(run):
        store.log(run, comparison.points)
        store.log_folder(run, REPORTS, "reports")
        store.log_files(run, comparison_files([one.info.run_id for one in compared]))
        store.finish(run)


def _without_pictures(markdown: str) -> str:
    """Returns the text alone: MLflow's page of a run cannot show what lies among its artifacts."""
    return "\n".join(line for line in markdown.splitlines() if not line.startswith("!["))
