import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline.errors import MissingInputError, ParamsError, PendingError, PipelineError
from pipeline.evaluation.results import read_test_scores, write_test_scores
from pipeline.params_file import read_params
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.runs.tables import ARCHITECTURE, RUNS, WEIGHTS, run_folder
from pipeline.serving import promote
from pipeline.tracking import comparison as comparison_records
from pipeline.tracking.records import run_record
from pipeline.tracking.registry import Registry
from pipeline.tracking.store import RunRecord, Store
from pipeline.tracking.trained_on import TrainedOn

pytestmark = pytest.mark.slow

PARAMS = read_params()
NAME = PARAMS.tracking.experiment
COMPARISON = {
    "candidate": "batch_norm", "baseline": "no_norm", "measure": PARAMS.comparison.measure,
    "verdict": "candidate_better", "mean": 0.0167, "ci_low": 0.0142, "ci_high": 0.0217,
    "wins": 10, "n": 10,
}  # fmt: skip
# Of each seed: validation accuracy and loss of the last epoch.
LAST = {0: (0.9, 0.4), 1: (0.95, 0.3), 2: (0.95, 0.2), 3: (0.95, 0.2)}


def write_runs(variant, last=LAST):
    rows = [
        {"seed": seed, "epoch": epoch, "split": split, "loss": loss, "accuracy": accuracy}
        for seed, (accuracy, loss) in last.items()
        for epoch, split, loss, accuracy in (
            # Better scores, but not of the last epoch, or not on the validation set.
            (0, "validation", 0.1 if seed == 0 else 1.0, 0.99 if seed == 0 else 0.1),
            (1, "train", 0.1 if seed == 0 else 1.0, 0.99 if seed == 0 else 0.1),
            (1, "validation", loss, accuracy),
        )
    ]
    manifest = Manifest(variant, {"normalization": "none"}, tuple(last), "da7a", "c0de")
    write_manifest(manifest)
    pd.DataFrame(rows).to_csv(RUNS / variant / "history.csv", index=False)
    scores = {"seed": list(last), "epoch": 1, "loss": 0.1, "accuracy": 0.9}
    write_test_scores(variant, pd.DataFrame(scores | {"expected_calibration_error": 0.1}))
    for seed in last:
        folder = run_folder(variant, seed)
        folder.mkdir(parents=True)
        (folder / ARCHITECTURE).write_text("{}")
        (folder / WEIGHTS).write_text("weights")
    return manifest


@pytest.fixture
def tracked(tracked_project):
    """A project whose variants are in MLflow, with their models and their comparison."""
    manifests = [write_runs(variant) for variant in PARAMS.variants]
    store = Store(NAME)
    fingerprints = []
    for manifest in manifests:
        for seed in manifest.seeds:
            run = store.open(run_record(manifest, seed, Lineage({})))
            if manifest.variant == "batch_norm":
                store.log_model(run, run_folder(manifest.variant, seed), DATA, IMAGES)
            store.finish(run)
            fingerprints.append(manifest.fingerprint(seed))

    def report(**changes):
        """Writes a comparison of these runs, and tracks it."""
        comparison = COMPARISON | changes
        Path("reports").mkdir(exist_ok=True)
        Path("reports/comparison.json").write_text(json.dumps(comparison))
        Path("reports/report.md").write_text("# Better\n")
        fingerprint = comparison_records.fingerprint(comparison, "# Better\n", fingerprints)
        store.finish(store.open(RunRecord(fingerprint, "c", tags={"kind": "comparison"})))
        return tracked_project

    return report


DATA = TrainedOn("mnist", (4, 3), tuple("0123456789"), ())
IMAGES = np.zeros((2, 4, 3), np.uint8)


def champion(project):
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    return client.get_model_version_by_alias(NAME, "champion")


def versions(project):
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    return client.search_model_versions(f"name = '{NAME}'")


def test_the_run_that_is_best_on_the_validation_set_becomes_champion(tracked, capsys):
    project = tracked()

    promote.run(PARAMS, force=False)

    version = champion(project)
    # Seeds 1 to 3 are as accurate, 2 and 3 have the lower loss, 2 comes first.
    assert version.tags["seed"] == "2"
    run = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db").get_run(version.run_id)
    assert run.info.run_name == "batch_norm-seed-02"
    assert version.tags["verdict"] == "candidate_better"
    assert version.tags["forced"] == "false"
    travels = json.loads(Path("reports/champion.json").read_text())
    assert travels["fingerprint"] == run.data.tags["bnlab.fingerprint"]
    assert travels["tags"] == version.tags
    assert version.description == travels["description"]
    assert version.description == (
        "batch_norm, seed 2: the best of its runs on the validation set. Difference to no_norm in "
        "test accuracy: +1.67 points (1.42 to 2.17), ahead in 10 of 10 pairs."
    )
    told = capsys.readouterr().out
    assert told.startswith("batch_norm-seed-02 is champion as version 1\n")
    assert f"mlflow models serve -m models:/{NAME}@champion --env-manager local" in told


def by(measure):
    compared = PARAMS.comparison.model_copy(update={"measure": measure})
    return PARAMS.model_copy(update={"comparison": compared})


def test_where_losses_decide_the_run_with_the_smallest_becomes_champion(tracked, capsys):
    ends = {"mean": -0.0167, "ci_low": -0.0217, "ci_high": -0.0142}
    project = tracked(measure="loss", **ends)
    history = RUNS / "batch_norm" / "history.csv"
    rows = pd.read_csv(history)
    rows.loc[rows.eval("seed == 0 and epoch == 1 and split == 'validation'"), "loss"] = 0.1
    rows.to_csv(history, index=False)

    promote.run(by("loss"), force=False)

    version = champion(project)
    assert version.tags["seed"] == "0"
    told = "test loss: -0.0167 nats (-0.0217 to -0.0142), ahead in 10 of 10 pairs."
    assert version.description.endswith(told)
    assert "difference in test loss: -0.0167 nats" in capsys.readouterr().out


def test_of_each_run_the_epoch_counts_whose_network_it_left_behind(tracked):
    project = tracked()
    scores = read_test_scores("batch_norm")
    # Only seed 0 is better in its first epoch.
    scores["epoch"] = 0
    write_test_scores("batch_norm", scores)

    promote.run(PARAMS, force=False)

    assert champion(project).tags["seed"] == "0"


def test_a_report_by_another_measure_promotes_nothing(tracked):
    tracked()
    with pytest.raises(PendingError, match="the report's measure is accuracy, but"):
        promote.run(by("macro_f1"), force=True)


def test_the_same_model_is_not_registered_twice(tracked):
    project = tracked()

    promote.run(PARAMS, force=False)
    promote.run(PARAMS, force=True)

    assert [int(version.version) for version in versions(project)] == [1]


@pytest.mark.parametrize("name", ["team/mnist", "a:b"])
def test_an_experiment_that_mlflow_takes_for_no_models_name_is_told(tracked, name):
    tracked()
    tracking = PARAMS.tracking.model_copy(update={"experiment": name})

    with pytest.raises(ParamsError, match=f"rename `experiment`, which is '{name}'"):
        promote.run(PARAMS.model_copy(update={"tracking": tracking}), force=True)


def test_a_damaged_store_is_told_in_a_line(project, monkeypatch):
    (project / "damaged.db").write_bytes(b"no database" * 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/damaged.db")

    with pytest.raises(PipelineError, match="file is not a database"):
        Registry(NAME)


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        ("not_settled", "does not settle which of the two is better"),
        ("baseline_better", "says that the baseline is better"),
        ("too_few_pairs", "has too few pairs for a verdict"),
    ],
)
def test_without_a_verdict_for_the_candidate_nothing_is_promoted_and_the_error_says_why(
    tracked, verdict, why
):
    project = tracked(verdict=verdict)

    with pytest.raises(PipelineError, match=f"not promoted: the comparison {why}.*--force"):
        promote.run(PARAMS, force=False)

    assert not versions(project)
    assert not Path("reports/champion.json").exists()


def test_force_promotes_anyway_and_is_recorded(tracked, capsys):
    project = tracked(verdict="not_settled", mean=-0.001, ci_low=-0.01, ci_high=0.008, wins=4)

    promote.run(PARAMS, force=True)

    version = champion(project)
    assert version.tags["forced"] == "true"
    assert version.tags["verdict"] == "not_settled"
    assert version.description.endswith("-0.10 points (-1.00 to 0.80), ahead in 4 of 10 pairs.")
    assert "by force: the comparison does not settle" in capsys.readouterr().out


def test_force_that_was_not_needed_is_not_recorded(tracked):
    project = tracked()

    promote.run(PARAMS, force=True)

    assert champion(project).tags["forced"] == "false"


def test_a_comparison_without_an_interval_is_recorded_as_such(tracked):
    project = tracked(verdict="too_few_pairs", ci_low=None, ci_high=None, wins=2, n=2)

    promote.run(PARAMS, force=True)

    told = champion(project).description
    assert told.endswith("+1.67 points (no interval), ahead in 2 of 2 pairs.")


def test_the_champion_before_is_named(tracked, capsys):
    project = tracked()
    promote.run(PARAMS, force=False)
    promote.run(PARAMS, force=False)
    assert "is champion as version 1, as before\n" in capsys.readouterr().out
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    other = client.search_logged_models([client.get_experiment_by_name(NAME).experiment_id])
    version = client.create_model_version(NAME, f"models:/{other[0].model_id}")
    client.set_registered_model_alias(NAME, "champion", version.version)
    capsys.readouterr()

    promote.run(PARAMS, force=False)

    assert "is champion as version 1, previously version 2" in capsys.readouterr().out
    assert int(champion(project).version) == 1


def test_a_report_of_other_runs_promotes_nothing(tracked):
    project = tracked()
    Path("reports/report.md").write_text("# Of another state\n")

    with pytest.raises(PendingError, match="are not in MLflow: `dvc repro`"):
        promote.run(PARAMS, force=True)

    assert not versions(project)


def test_without_a_report_nothing_is_promoted_and_the_error_names_it(tracked):
    tracked()
    Path("reports/report.md").unlink()

    with pytest.raises(MissingInputError, match=r"reports/report\.md is not here"):
        promote.run(PARAMS, force=True)


def test_a_report_of_other_roles_promotes_nothing(tracked):
    project = tracked(candidate="no_norm", baseline="batch_norm")

    with pytest.raises(PendingError, match="the report's candidate is no_norm"):
        promote.run(PARAMS, force=True)

    assert not versions(project)


def test_a_quotation_mark_in_a_name_means_nothing(tracked):
    project = tracked()
    tracking = PARAMS.tracking.model_copy(update={"experiment": "Anna's"})

    promote.run(PARAMS.model_copy(update={"tracking": tracking}), force=False)

    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    assert [model.name for model in client.search_registered_models()] == ["Anna's"]


def test_runs_that_all_diverged_promote_nothing(tracked):
    project = tracked()
    history = pd.read_csv(RUNS / "batch_norm" / "history.csv")
    history[["loss", "accuracy"]] = np.nan
    history.to_csv(RUNS / "batch_norm" / "history.csv", index=False)

    with pytest.raises(PipelineError, match="no run of batch_norm has finite scores"):
        promote.run(PARAMS, force=True)

    assert not versions(project)
