"""Makes the candidate's model the registry's champion, if the comparison supports it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pipeline.comparison.measures import MEASURES
from pipeline.comparison.statistics import Interval
from pipeline.errors import PendingError, PipelineError
from pipeline.evaluation.results import read_test_scores, scored_epochs
from pipeline.files import read_json
from pipeline.params import Params
from pipeline.runs.manifest import read_manifest
from pipeline.runs.tables import read_history
from pipeline.tracking import comparison as comparison_records
from pipeline.tracking import recorded
from pipeline.tracking.champion import write_champion
from pipeline.tracking.registry import CHAMPION, Registry

_COMPARISON = Path("reports/comparison.json")
_WHY_NOT = {
    "baseline_better": "the comparison says that the baseline is better",
    "not_settled": "the comparison does not settle which of the two is better",
    "too_few_pairs": "the comparison has too few pairs for a verdict",
}


def run(params: Params, *, force: bool) -> None:
    """Registers the candidate's model and gives it the alias `champion`.

    Takes the candidate's run whose network has the best accuracy on the validation set, or the
    lowest loss if that is the measure; among equals, the one that is better by the other. The test
    set plays no part in the choice.

    Raises:
        ParamsError: if MLflow takes no model of the experiment's name; see `Registry.crown`.
        PipelineError: if the verdict does not support it and `force` is not given.
        PendingError: if the comparison, the runs and MLflow do not belong together.
    """
    comparison = read_json(_COMPARISON)
    verdict = comparison["verdict"]
    supported = verdict == "candidate_better"
    _expect_tracked(params, comparison)
    if not (supported or force):
        raise PipelineError(
            f"not promoted: {_WHY_NOT[verdict]} ({_difference(comparison)}); "
            "--force promotes it anyway, and records that"
        )

    candidate = params.comparison.candidate
    seed = _best_on_validation(candidate, params.comparison.measure)
    fingerprint = read_manifest(candidate).fingerprint(seed)
    tracked = recorded.find_by_fingerprint(fingerprint)
    model_id = recorded.model_of(tracked) if tracked else None
    if tracked is None or model_id is None:
        raise PendingError(f"{candidate}, seed {seed}, is not in MLflow: `dvc repro` adds it")

    registry = Registry(params.tracking.experiment)
    before = registry.champion()
    baseline, words = params.comparison.baseline, MEASURES[comparison["measure"]].words
    tags = {
        "verdict": verdict,
        "forced": str(not supported).lower(),
        "baseline": baseline,
        "candidate": candidate,
        "seed": str(seed),
    }
    description = (
        f"{candidate}, seed {seed}: the best of its runs on the validation set. "
        f"Difference to {baseline} in test {words}: {_difference(comparison)}."
    )
    version = registry.crown(model_id, tracked.info.run_id, tags, description)
    write_champion(fingerprint, tags, description)

    if before is None:
        previous = ""
    elif before.version == version.version:
        previous = ", as before"
    else:
        previous = f", previously version {before.version}"
    forced = "" if supported else f" by force: {_WHY_NOT[verdict]}"
    print(f"{tracked.info.run_name} is {CHAMPION} as version {version.version}{previous}{forced}")
    print(f"difference in test {words}: {_difference(comparison)}")
    model = shlex.quote(f"models:/{registry.name}@{CHAMPION}")
    print(f"serve it: mlflow models serve -m {model} --env-manager local")


def _best_on_validation(variant: str, measure: str) -> int:
    history = read_history(variant)
    epochs = scored_epochs(history, read_test_scores(variant))
    validation = history[history["split"] == "validation"]
    scored = validation[validation["epoch"] == validation["seed"].map(epochs)].dropna()
    if scored.empty:
        raise PipelineError(f"no run of {variant} has finite scores at its end")
    first, second = ("loss", "accuracy") if measure == "loss" else ("accuracy", "loss")
    best = scored.sort_values(
        [first, second, "seed"], ascending=[first == "loss", second == "loss", True]
    )
    return int(best["seed"].iloc[0])


def _expect_tracked(params: Params, comparison: dict[str, Any]) -> None:
    """Makes sure that the report and MLflow are of the present runs."""
    for key in ("candidate", "baseline", "measure"):
        if comparison[key] != getattr(params.comparison, key):
            raise PendingError(
                f"the report's {key} is {comparison[key]}, but params.yaml names "
                f"{getattr(params.comparison, key)}: `dvc repro` compares again"
            )
    manifests = [read_manifest(variant) for variant in params.variants]
    fingerprints = [
        fingerprint for manifest in manifests for fingerprint in manifest.fingerprints()
    ]
    of_comparison = comparison_records.fingerprint(
        comparison, comparison_records.read_report(), fingerprints
    )
    if recorded.find_by_fingerprint(of_comparison) is None:
        raise PendingError("these runs and this report are not in MLflow: `dvc repro` adds them")


def _difference(comparison: dict[str, Any]) -> str:
    mean, low, high = (comparison[key] for key in ("mean", "ci_low", "ci_high"))
    if mean is None:
        return "not known"
    measure = MEASURES[comparison["measure"]]
    interval = "no interval" if low is None else measure.interval(Interval(low, high))
    unit = "points" if measure.is_share else measure.unit
    ahead = f"ahead in {comparison['wins']} of {comparison['n']} pairs"
    return f"{measure.difference(mean)} {unit} ({interval}), {ahead}"
