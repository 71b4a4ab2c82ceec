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
    run_files,
    run_record,
    test_points,
)
from pipeline.adapters.tracking import Point, RunRecord, Store, asking, is_finished, shows
from pipeline.core.divergence import diverged_seeds
from pipeline.core.examples import Examples
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
        PendingError: if the store is gone or locked; what was added stays.
    """
    with asking("MLflow does not take the runs", ". `python -m pipeline track` adds the rest"):
        _mirror(params)


def _mirror(params: Params) -> None:
    manifests = [runs.read_manifest(variant) for variant in params.variants]
    example = _example(read_prepared().test)
    present = present_lineage()

    store = Store(params.tracking.experiment)
    mirrored: dict[str, Run] = {}
    otherwise: list[str] = []
    total = sum(len(manifest.seeds) for manifest in manifests)
    with tqdm(total=total, desc="MLflow", unit="run", disable=None) as bar:
        for fingerprint, made in _made(manifests, present):
            mirrored[fingerprint], same = _mirror_run(store, made, example)
            if not same:
                otherwise.append(f"{made.manifest.variant}, seed {made.seed}")
            bar.update()
    if otherwise:
        logger.warning(_OTHERWISE, len(otherwise), total, otherwise[0])
    compared = _mirror_comparison(store, params, mirrored, present)
    write_text(TRACKED, "\n".join([*mirrored, compared]) + "\n")


@dataclass(frozen=True)
class _MadeRun:
    """A run as the stages before left it."""

    manifest: runs.Manifest
    seed: int
    lineage: Lineage
    diverged: bool
    learnt: list[Point]
    tested: list[Point]


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


def _mirror_comparison(
    store: Store, params: Params, mirrored: Mapping[str, Run], lineage: Lineage
) -> str:
    """Returns the fingerprint of the comparison's run; `mirrored` are the runs that it compares."""
    comparison = read_json(REPORTS / "comparison.json")
    text = (REPORTS / "report.md").read_text(encoding="utf-8")
    fingerprint = comparison_fingerprint(comparison, text, mirrored)
    candidate, baseline = params.comparison.candidate, params.comparison.baseline
    run = store.open(
        RunRecord(
            fingerprint=fingerprint,
            name=f"{candidate}-against-{baseline}",
            tags={"kind": "comparison", "verdict": comparison["verdict"], **lineage.tags},
            description=_without_pictures(text),
        )
    )
    if not is_finished(run):
        # Few: each gets a chart of its own on MLflow's first page. The rest is in the report.
        shown = {key: comparison[key] for key in ("mean", "ci_low", "ci_high", "wins", "n")}
        store.log(
            run,
            [
                Point(f"difference/{key}", value)
                for key, value in shown.items()
                if value is not None
            ],
        )
        store.log_folder(run, REPORTS, "reports")
        store.log_files(run, comparison_files([one.info.run_id for one in mirrored.values()]))
        store.finish(run)
    return fingerprint


def _without_pictures(markdown: str) -> str:
    """Returns the text alone: MLflow's page of a run cannot show what lies among its artifacts."""
    return "\n".join(line for line in markdown.splitlines() if not line.startswith("!["))
