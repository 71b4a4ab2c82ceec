"""What `track` adds to MLflow of the runs on disk, and what stays there as it was recorded."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from pipeline.errors import PendingError
from pipeline.params_file import read_params
from pipeline.provenance.lineage import Lineage, write_journal
from pipeline.tracking import patience, track
from tests.faults.written import EPOCHS, SEEDS, VARIANTS, manifest_of, write_runs

NAMES = [f"{variant}-seed-{seed:02d}" for variant in VARIANTS for seed in SEEDS]


@pytest.fixture(autouse=True)
def client(tracked_project):
    """A client of the store of a project with four runs, none of them tracked yet."""
    write_runs()
    return mlflow.MlflowClient(f"sqlite:///{tracked_project}/mlflow.db")


@pytest.fixture
def recorded(client):
    """Tracks the runs on disk; returns those in MLflow, by name."""

    def recorded():
        track.run(read_params())
        experiments = [one.experiment_id for one in client.search_experiments()]
        found = client.search_runs(experiments, "tags.kind = 'run'")
        return {run.info.run_name: run for run in found}

    return recorded


def test_the_store_knows_how_its_indexes_are_filled(recorded):
    recorded()

    with closing(sqlite3.connect("mlflow.db")) as connection:
        of_metrics = "SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'metrics'"
        assert connection.execute(of_metrics).fetchone() > (0,)


def test_runs_that_dvc_made_links_are_recorded_with_their_models(recorded, client, tmp_path):
    # With DVC's `cache.type = symlink`.
    contents = {}
    for number, path in enumerate(sorted(Path("runs").rglob("seed-*/*"))):
        kept = tmp_path / f"{number:032x}"
        contents[path.name] = path.read_bytes()
        path.rename(kept)
        path.symlink_to(kept)

    runs = recorded()

    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    models = client.search_logged_models([runs[NAMES[-1]].info.experiment_id])
    assert len(models) == len(NAMES)
    for name, content in contents.items():
        (kept,) = Path(models[0].artifact_location.removeprefix("file://")).rglob(name)
        assert not kept.is_symlink()
        assert kept.stat().st_size == len(content)


def test_runs_are_recorded_whole(recorded, client):
    runs = recorded()

    assert sorted(runs) == NAMES
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    run = runs["no_norm-seed-01"]
    points = client.get_metric_history(run.info.run_id, "validation/loss")
    history = pd.read_csv("runs/no_norm/history.csv").query("seed == 1 and split == 'validation'")
    assert len(points) == EPOCHS
    assert {point.step: point.value for point in points} == dict(
        zip(history["epoch"], history["loss"], strict=True)
    )
    assert run.data.metrics["test/accuracy"] == 0.9
    files = {file.path for file in client.list_artifacts(run.info.run_id, "lineage")}
    assert files == {"lineage/manifest.json"}


def test_a_model_says_what_it_takes_and_gives(recorded, client):
    run = recorded()["no_norm-seed-01"]

    (output,) = run.outputs.model_outputs
    folder = Path(
        client.get_logged_model(output.model_id).artifact_location.removeprefix("file://")
    )
    signature = mlflow.models.Model.load(str(folder)).signature
    assert signature.inputs.inputs[0].shape == (-1, 8, 8)
    assert signature.outputs.inputs[0].shape == (-1, 10)
    example = json.loads((folder / "serving_input_example.json").read_text())["inputs"]
    assert (len(example), len(example[0]), len(example[0][0])) == (2, 8, 8)
    assert (folder / "artifacts/model.weights.h5").read_text().endswith("of no_norm, seed 1")


def test_a_run_has_the_lineage_of_its_training_where_that_left_one(recorded):
    write_journal(manifest_of("no_norm").fingerprint(1), Lineage({"threads": "7"}))

    tags = {name: run.data.tags for name, run in recorded().items()}

    assert tags["no_norm-seed-01"]["threads"] == "7"
    of_tracking = [name for name in NAMES if tags[name].get("lineage.of")]
    assert of_tracking == [name for name in NAMES if name != "no_norm-seed-01"]


def test_a_run_that_was_trained_elsewhere_has_the_lineage_that_came_with_it(recorded, project):
    write_journal(manifest_of("no_norm").fingerprint(1), Lineage({"threads": "7"}, b"changes"))
    recorded()
    for name in (".bnlab", "mlartifacts"):
        shutil.rmtree(project / name)
    Path("params.yaml").write_text(
        Path("params.yaml").read_text().replace("mnist-batch-norm", "elsewhere")
    )

    run = recorded()["no_norm-seed-01"]

    assert run.data.tags["threads"] == "7"
    assert "lineage.of" not in run.data.tags


def test_runs_that_came_out_differently_stay_as_recorded(recorded, client, caplog):
    before = recorded()
    path = Path("runs/no_norm/history.csv")
    table = pd.read_csv(path)
    table["loss"] += 1
    table.to_csv(path, index=False)

    recorded()

    points = client.get_metric_history(before["no_norm-seed-00"].info.run_id, "train/loss")
    assert sorted(point.value for point in points) == sorted(1 / (1 + n) for n in range(EPOCHS))
    (told,) = [one.message for one in caplog.records if "other scores" in one.message]
    assert told.startswith("2 of 4 runs have other scores than MLflow recorded (no_norm, seed 0,")


def test_a_run_that_was_evaluated_again_shows_its_new_scores(recorded, caplog):
    before = recorded()["no_norm-seed-01"]
    path = Path("evaluation/no_norm/test.csv")
    path.write_text(path.read_text().replace("0.9", "0.95"))

    run = recorded()["no_norm-seed-01"]

    assert run.info.run_id == before.info.run_id
    assert run.data.metrics["test/accuracy"] == 0.95
    assert run.data.tags["mlflow.note.content"].startswith("95.00 % of the test set right")
    assert run.info.end_time == before.info.end_time
    # Neither it nor the runs of which nothing is new came out differently.
    assert "other scores" not in caplog.text


def test_a_diverged_run_is_tagged_and_shows_finite_numbers_only(recorded, client):
    history = "seed,epoch,split,loss,accuracy\n0,0,train,1e30,0.2\n0,1,train,,0.1\n"
    path = Path("runs/no_norm/history.csv")
    path.write_text(history + "1,0,train,0.5,0.2\n1,1,train,0.4,0.3\n")

    runs = recorded()

    assert [name for name in NAMES if runs[name].data.tags["diverged"] == "true"] == [
        "no_norm-seed-00"
    ]
    shown = client.get_metric_history(runs["no_norm-seed-00"].info.run_id, "train/loss")
    assert [(point.step, point.value) for point in shown] == [(0, 1e30)]


@pytest.mark.slow
def test_what_mlflow_did_not_take_is_pending(recorded, monkeypatch):
    # What a database refuses is tried again, as others may write to it.
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 1)
    with sqlite3.connect("mlflow.db") as database:
        database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON runs"
            " WHEN NEW.name = 'no_norm-seed-01' AND NEW.status = 'FINISHED'"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    database.close()

    with pytest.raises(PendingError, match="pending are 1 of 4 runs and the comparison: `python"):
        recorded()

    assert not track.TRACKED.exists()
