"""Mirrors every run and the comparison to MLflow."""

import hashlib
import json
from pathlib import Path

from tqdm import tqdm

from pipeline.adapters import runs
from pipeline.adapters.datasets import read_prepared
from pipeline.adapters.files import write_text
from pipeline.adapters.records import history_points, run_record, test_points
from pipeline.adapters.tracking import TRACKING_ERRORS, Point, RunRecord, Store, is_finished, shows
from pipeline.errors import PendingError
from pipeline.params import Params

REPORTS = Path("reports")
# Says to DVC that MLflow has it all; see dvc.yaml.
TRACKED = Path("mlflow.tracked")


def run(params: Params) -> None:
    """Brings MLflow up to date with the files; whatever is there already stays as it is.

    Raises:
        PendingError: if the store is gone or locked; what was added stays.
    """
    try:
        _mirror(params)
    except TRACKING_ERRORS as error:
        told = " ".join(str(error).split())[:200]
        message = f"MLflow does not take the runs: {told}. `python -m pipeline track` adds the rest"
        raise PendingError(message) from None


def _mirror(params: Params) -> None:
    manifests = [runs.read_manifest(variant) for variant in params.variants]
    test = read_prepared().test

    store = Store(params.tracking.experiment)
    total = sum(len(manifest.seeds) for manifest in manifests)
    with tqdm(total=total, desc="MLflow", unit="run", disable=None) as bar:
        for manifest in manifests:
            history = runs.read_history(manifest.variant)
            scores = runs.read_test_scores(manifest.variant)
            for seed in manifest.seeds:
                mirrored = store.open(run_record(manifest, seed))
                tested = test_points(scores, seed)
                if not (is_finished(mirrored) and shows(mirrored, tested)):
                    store.log(mirrored, history_points(history, seed))
                    folder, classes = runs.run_folder(manifest.variant, seed), test.labels.max() + 1
                    model_id = store.log_model(mirrored, folder, test.images[:2], int(classes))
                    store.log(mirrored, tested, model_id)
                    store.finish(mirrored)
                bar.update()
    compared = _mirror_comparison(store, params, manifests)
    write_text(TRACKED, "\n".join([*_fingerprints(manifests), compared]) + "\n")


def _fingerprints(manifests: list[runs.Manifest]) -> list[str]:
    return [manifest.fingerprint(seed) for manifest in manifests for seed in manifest.seeds]


def _mirror_comparison(store: Store, params: Params, manifests: list[runs.Manifest]) -> str:
    """Returns the fingerprint of the comparison's run."""
    comparison = runs.read_json(REPORTS / "comparison.json")
    text = (REPORTS / "report.md").read_text(encoding="utf-8")
    content = "".join([json.dumps(comparison), text, *_fingerprints(manifests)])
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    candidate, baseline = params.comparison.candidate, params.comparison.baseline
    mirrored = store.open(
        RunRecord(
            fingerprint=fingerprint,
            name=f"{candidate}-against-{baseline}",
            tags={"kind": "comparison", "verdict": comparison["verdict"]},
            description=_without_pictures(text),
        )
    )
    if not is_finished(mirrored):
        # Few: each gets a chart of its own on MLflow's first page. The rest is in the report.
        shown = {key: comparison[key] for key in ("mean", "ci_low", "ci_high", "wins", "n")}
        store.log(
            mirrored,
            [
                Point(f"difference/{key}", value)
                for key, value in shown.items()
                if value is not None
            ],
        )
        store.log_folder(mirrored, REPORTS, "reports")
        store.finish(mirrored)
    return fingerprint


def _without_pictures(markdown: str) -> str:
    """Returns the text alone: MLflow's page of a run cannot show what lies among its artifacts."""
    return "\n".join(line for line in markdown.splitlines() if not line.startswith("!["))
