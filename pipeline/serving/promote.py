"""Makes the candidate's model the champion of the registry, where the comparison supports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import PendingError, PipelineError
from pipeline.files import read_json
from pipeline.params import Params
from pipeline.runs.manifest import read_manifest
from pipeline.runs.tables import read_history
from pipeline.tracking import comparison as comparison_records
from pipeline.tracking import recorded
from pipeline.tracking.registry import CHAMPION, Registry

_COMPARISON = Path("reports/comparison.json")
_WHY_NOT = {
    "baseline_better": "the comparison says that the baseline is better",
    "not_settled": "the comparison does not settle which of the two is better",
    "too_few_pairs": "the comparison has too few pairs for a verdict",
}


def run(params: Params, *, force: bool) -> None:
    """Registers the candidate's model and gives it the alias `champion`.

    Of the candidate's runs, that with the best accuracy on the validation set is taken; of equals,
    the one with the lowest loss there. The test set has no say in it.

    Raises:
        PipelineError: if the verdict does not support it and `force` is not given.
        PendingError: if the comparison, the runs and MLflow are not of one state.
    """
    comparison = read_json(_COMPARISON)
    verdict = comparison["verdict"]
    supported = verdict == "candidate_better"
    _expect_tracked(params, comparison)
    if not (supported or force):
        message = f"not promoted: {_WHY_NOT[verdict]} ({_told(comparison)})"
        raise PipelineError(f"{message}; --force does it all the same, and records that")

    candidate = params.comparison.candidate
    seed = _best_on_validation(candidate)
    found = recorded.find_by_fingerprint(read_manifest(candidate).fingerprint(seed))
    model_id = recorded.model_of(found) if found else None
    if found is None or model_id is None:
        raise PendingError(f"{candidate}, seed {seed}, is not in MLflow: `dvc repro` adds it")

    registry = Registry(params.tracking.experiment)
    before = registry.champion()
    tags = {
        "verdict": verdict,
        "forced": str(not supported).lower(),
        "difference": _told(comparison),
        "baseline": params.comparison.baseline,
        "candidate": candidate,
        "seed": str(seed),
        "data.sha256": found.data.tags["data.sha256"],
    }
    version = registry.crown(model_id, found.info.run_id, tags)

    same = before is not None and before.version == version.version
    was = ", as before" if same else f", before version {before.version}" if before else ""
    forced = "" if supported else f" by force: {_WHY_NOT[verdict]}"
    print(f"{found.info.run_name} is {CHAMPION} as version {version.version}{was}{forced}")
    print(f"difference in test accuracy: {_told(comparison)}")
    print(
        f"serve it: mlflow models serve -m models:/{registry.name}@{CHAMPION} --env-manager local"
    )


def _best_on_validation(variant: str) -> int:
    history = read_history(variant)
    validation = history[history["split"] == "validation"]
    last = validation[validation["epoch"] == validation["epoch"].max()].dropna()
    if last.empty:
        raise PipelineError(f"no run of {variant} has finite scores at its end")
    best = last.sort_values(["accuracy", "loss", "seed"], ascending=[False, True, True])
    return int(best["seed"].iloc[0])


def _expect_tracked(params: Params, comparison: dict[str, Any]) -> None:
    """Makes sure that it is these runs that the report, and MLflow, speak of."""
    for role in ("candidate", "baseline"):
        if comparison[role] != getattr(params.comparison, role):
            message = f"the report's {role} is {comparison[role]}, that of params.yaml is another"
            raise PendingError(f"{message}: `dvc repro` compares anew")
    manifests = [read_manifest(variant) for variant in params.variants]
    fingerprints = [each for one in manifests for each in one.fingerprints()]
    fingerprint = comparison_records.fingerprint(
        comparison, comparison_records.read_report(), fingerprints
    )
    if recorded.find_by_fingerprint(fingerprint) is None:
        raise PendingError("these runs and this report are not in MLflow: `dvc repro` brings them")


def _told(comparison: dict[str, Any]) -> str:
    mean, low, high = (comparison[key] for key in ("mean", "ci_low", "ci_high"))
    if mean is None:
        return "not known"
    interval = "no interval" if low is None else f"{100 * low:.2f} to {100 * high:.2f}"
    ahead = f"ahead in {comparison['wins']} of {comparison['n']} pairs"
    return f"{100 * mean:+.2f} points ({interval}), {ahead}"
