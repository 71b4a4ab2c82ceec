import json
import math
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
from mlflow.entities import Dataset
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.runs.models import write_model
from pipeline.stores.postgresql import UnusableAddressError
from pipeline.stores.read import read_store
from pipeline.tracking import patience
from pipeline.tracking import store as tracking
from pipeline.tracking.patience import TakenBackError
from pipeline.tracking.store import (
    TRACKING_ERRORS,
    DeletedExperimentError,
    Point,
    RunRecord,
    Store,
    is_finished,
    shows,
    take_back,
)
from pipeline.tracking.trained_on import TrainedOn, read_trained_on
from pipeline.training.network import Moments, build, first_weights
from pipeline.training.normalization import NoNorm
from tests.networks import dense

RECORD = RunRecord(
    fingerprint="f1",
    name="batch_norm-seed-00",
    params={"variant": "batch_norm", "training.epochs": "10"},
    tags={"kind": "run"},
    description="# With BN is better",
)
LOSSES = [Point("train/loss", 0.5, 0), Point("train/loss", 0.25, 1)]


def client(folder):
    return mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")


def history(run, key):
    points = client(Path.cwd()).get_metric_history(run.info.run_id, key)
    return [(point.step, point.value) for point in points]


@pytest.fixture
def store(tracked_project):
    assert tracked_project == Path.cwd()
    return Store("digits")


def test_a_run_is_opened_with_its_record(store):
    run = store.open(RECORD)

    seen = client(Path.cwd()).get_run(run.info.run_id)
    assert seen.info.run_name == "batch_norm-seed-00"
    assert seen.info.status == "RUNNING"
    assert seen.data.params == {"variant": "batch_norm", "training.epochs": "10"}
    assert seen.data.tags["kind"] == "run"
    assert seen.data.tags["mlflow.note.content"] == "# With BN is better"


def test_an_experiment_shows_its_page_and_keeps_other_tags(tracked_project):
    Store("digits", lambda _: {"view": "as it was", "stays": "so"})

    Store("digits", lambda number: {"view": "new", "mlflow.note.content": f"experiment {number}"})
    Store("digits")

    tags = client(tracked_project).get_experiment_by_name("digits").tags
    assert tags == {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": "experiment 1",
        "view": "new",
        "stays": "so",
    }


def test_a_run_lasts_as_long_as_its_training_did(store):
    run = store.open(replace(RECORD, started=1_700_000_000.25))
    store.finish(run, ended=1_700_000_004.5)

    info = client(Path.cwd()).get_run(run.info.run_id).info
    assert (info.start_time, info.end_time) == (1_700_000_000_250, 1_700_000_004_500)


def test_a_run_does_not_end_before_it_began(store):
    run = store.open(replace(RECORD, started=1_700_000_000.25))
    store.finish(run, ended=1_600_000_000)

    assert client(Path.cwd()).get_run(run.info.run_id).info.end_time > 1_700_000_000_250


def test_a_users_own_description_stays(tracked_project):
    def page(_):
        return {"mlflow.note.content": "as it was", "view": "one"}

    first = Store("digits", page).open(RECORD)
    seen = client(tracked_project)
    seen.set_experiment_tag(first.info.experiment_id, "mlflow.note.content", "mine")
    seen.set_experiment_tag(first.info.experiment_id, "view", "another")

    Store("digits", page)

    tags = seen.get_experiment(first.info.experiment_id).tags
    assert (tags["mlflow.note.content"], tags["view"]) == ("mine", "one")


def test_a_description_may_be_added_later(store):
    run = store.open(RECORD)
    store.describe(run, "# With BN is better, see [run 0](#/runs/0)")

    tags = client(Path.cwd()).get_run(run.info.run_id).data.tags
    assert tags["mlflow.note.content"] == "# With BN is better, see [run 0](#/runs/0)"


def test_a_models_score_names_its_data(store):
    data = {split: Dataset(f"digits-{split}", "da7a", "local", "{}") for split in ("train", "test")}
    run = store.open(replace(RECORD, data=data))
    assert store.open(replace(RECORD, data=data)).info.run_id == run.info.run_id
    model = client(Path.cwd()).create_logged_model(
        run.info.experiment_id, "m", source_run_id=run.info.run_id
    )

    store.log(run, [*LOSSES, Point("test/accuracy", 0.5, model_id=model.model_id)])

    used = client(Path.cwd()).get_run(run.info.run_id).inputs.dataset_inputs
    assert sorted((one.dataset.name, *(tag.value for tag in one.tags)) for one in used) == [
        ("digits-test", "test"),
        ("digits-train", "train"),
    ]
    (metric,) = client(Path.cwd()).get_logged_model(model.model_id).metrics
    assert (metric.key, metric.value) == ("test/accuracy", 0.5)
    assert (metric.dataset_name, metric.dataset_digest) == ("digits-test", "da7a")


def test_the_same_fingerprint_opens_the_same_run(store):
    first = store.open(RECORD)

    assert store.open(RECORD).info.run_id == first.info.run_id
    assert Store("digits").open(RECORD).info.run_id == first.info.run_id
    assert len(client(Path.cwd()).search_runs([first.info.experiment_id])) == 1


def test_another_fingerprint_opens_another_run(store):
    other = store.open(RunRecord("f2", RECORD.name))

    assert store.open(RECORD).info.run_id != other.info.run_id


def test_experiments_do_not_share_runs(store):
    first, other = store.open(RECORD), Store("other digits").open(RECORD)

    assert first.info.run_id != other.info.run_id
    assert first.info.experiment_id != other.info.experiment_id


def test_a_dvc_experiment_is_tracked_in_the_checkout_it_belongs_to(
    tracked_project, tmp_path_factory, monkeypatch
):
    monkeypatch.chdir(tmp_path_factory.mktemp("temporary"))
    monkeypatch.setenv("DVC_ROOT", str(tracked_project))

    run = Store("digits").open(RECORD)

    seen = client(tracked_project).get_run(run.info.run_id)
    assert seen.info.artifact_uri.startswith(f"file://{tracked_project}/mlartifacts/")
    assert not list(Path.cwd().iterdir())


def test_an_open_run_says_which_process_works_on_it(store):
    tags = store.open(RECORD).data.tags

    assert tags["process.host"] == platform.node()
    assert tags["process.id"] == str(os.getpid())
    assert float(tags["process.started"]) == pytest.approx(psutil.Process().create_time(), abs=1)


def test_an_interrupted_run_is_resumed_with_its_new_tags(store):
    broken_off = store.open(replace(RECORD, tags={"kind": "run", "threads": "1"})).info.run_id
    client(Path.cwd()).set_terminated(broken_off, "KILLED")

    run = store.open(replace(RECORD, tags={"kind": "run", "threads": "2"}))

    assert run.info.run_id == broken_off
    assert run.info.status == "RUNNING"
    assert run.data.tags["threads"] == "2"


def test_a_resumed_run_loses_the_lineage_of_its_first_attempt(store):
    before = {"dvc.experiment": "rough-moth", "git.patch.left_out": "large.bin", "kind": "run"}
    store.open(replace(RECORD, tags=before))

    tags = store.open(replace(RECORD, tags={"git.dirty": "false", "kind": "run"})).data.tags

    assert not {"dvc.experiment", "git.patch.left_out"} & tags.keys()
    assert tags["git.dirty"] == "false"


def test_a_score_that_returns_to_an_earlier_value_is_shown(store):
    run = store.open(RECORD)
    for value in (0.95, 0.96, 0.95):
        store.log(run, [Point("test/accuracy", value)])
        time.sleep(0.002)

    assert client(Path.cwd()).get_run(run.info.run_id).data.metrics["test/accuracy"] == 0.95


def test_a_run_holds_exactly_the_points_that_were_logged(store):
    run = store.open(RECORD)
    store.log(run, LOSSES)

    assert store.holds(run, [*LOSSES, Point("train/loss", math.nan, 2)])
    assert not store.holds(run, [Point("train/loss", 0.5, 0), Point("train/loss", 0.5, 1)])
    assert not store.holds(run, [Point("train/accuracy", 0.5, 0)])


def test_a_finished_run_keeps_its_tags(store):
    store.finish(store.open(RECORD))

    run = store.open(replace(RECORD, tags={"kind": "run", "threads": "2"}))

    assert "threads" not in run.data.tags
    assert is_finished(run)


def test_files_become_artifacts_of_the_run(store):
    run = store.open(RECORD)

    store.log_files(run, {"lineage/changes.patch": b"\xff\r\n", "plain.txt": b"text"})

    folder = Path(client(Path.cwd()).download_artifacts(run.info.run_id, ""))
    assert (folder / "lineage/changes.patch").read_bytes() == b"\xff\r\n"
    assert (folder / "plain.txt").read_bytes() == b"text"


def test_points_are_logged_with_their_steps(store):
    run = store.open(RECORD)

    store.log(run, [*LOSSES, Point("test/accuracy", 0.97)])

    assert history(run, "train/loss") == [(0, 0.5), (1, 0.25)]
    assert history(run, "test/accuracy") == [(0, 0.97)]


def test_points_already_logged_are_not_logged_again(store):
    store.log(store.open(RECORD), LOSSES[:1])

    for _ in range(2):
        run = store.open(RECORD)
        store.log(run, [*LOSSES, Point("train/accuracy", 0.5, 0)])

    assert history(run, "train/loss") == [(0, 0.5), (1, 0.25)]
    assert history(run, "train/accuracy") == [(0, 0.5)]


def test_a_value_that_differs_from_the_logged_one_is_logged(store):
    point = Point("test/accuracy", 0.9)
    store.log(store.open(RECORD), [point])
    assert shows(store.open(RECORD), [point])

    changed = Point("test/accuracy", 0.8)
    assert not shows(store.open(RECORD), [changed])
    store.log(store.open(RECORD), [changed])
    assert shows(store.open(RECORD), [changed])


def test_points_are_not_logged_again_to_a_run_opened_before(store):
    run = store.open(RECORD)

    for _ in range(2):
        store.log(run, LOSSES)

    assert history(run, "train/loss") == [(0, 0.5), (1, 0.25)]


def test_more_points_than_mlflow_takes_at_once_are_all_logged(store):
    run = store.open(RECORD)

    store.log(run, [Point("train/loss", 1 / (1 + epoch), epoch) for epoch in range(1001)])

    assert len(history(run, "train/loss")) == 1001


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_mlflow_cannot_show_is_not_logged(store, value):
    run = store.open(RECORD)

    store.log(run, [Point("train/loss", value, 0), Point("train/loss", 0.5, 1)])

    assert history(run, "train/loss") == [(1, 0.5)]


def test_no_points_are_no_error(store):
    store.log(store.open(RECORD), [])


def test_a_run_is_finished_once_marked_so(store):
    assert not is_finished(store.open(RECORD))

    store.finish(store.open(RECORD))

    assert is_finished(store.open(RECORD))


def test_a_folder_becomes_artifacts(store, tmp_path):
    (tmp_path / "reports" / "figures").mkdir(parents=True)
    (tmp_path / "reports" / "report.md").write_text("# With BN is better\n")
    (tmp_path / "reports" / "figures" / "curves.png").touch()
    run = store.open(RECORD)

    store.log_folder(run, tmp_path / "reports", "reports")

    below = tmp_path / "mlartifacts" / run.info.run_id / "artifacts" / "reports"
    assert (below / "report.md").read_text() == "# With BN is better\n"
    assert (below / "figures" / "curves.png").exists()


@pytest.mark.parametrize(
    "uri",
    [
        "gopher://127.0.0.1/",
        "./mlruns",
        "sqlite:///garbage.db",
        "postgresql://127.0.0.1:1/mlflow",
    ],
)
def test_a_store_that_cannot_be_opened_is_a_tracking_error(project, monkeypatch, uri):
    (project / "garbage.db").write_text("no database at all")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    began = time.monotonic()

    with pytest.raises(TRACKING_ERRORS):
        Store("digits")

    # MLflow would ask a database ten times, for a hundred seconds in all.
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_new_store_syncs_to_disk_once_its_schema_is_made(project):
    connections = []

    def note(connection, _):
        connections.append(connection)

    event.listen(Engine, "connect", note)
    try:
        store = Store("digits")
        store.open(RECORD)
    finally:
        event.remove(Engine, "connect", note)

    modes = []
    for connection in connections:
        with suppress(sqlite3.ProgrammingError):  # Closed.
            modes += connection.execute("PRAGMA synchronous").fetchone()
    assert (project / "mlflow.db").exists()
    assert set(modes) == {2}


def lock_for(seconds):
    """Keeps the database locked for a while from another thread; returns the thread."""
    database = sqlite3.connect("mlflow.db", isolation_level=None, check_same_thread=False)
    database.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(seconds, database.close)
    timer.start()
    return timer


@pytest.fixture
def impatient():
    """Has SQLite give up on a locked database at once; MLflow has it wait for five seconds."""

    def do_not_wait(connection, _):
        connection.execute("PRAGMA busy_timeout = 0")

    event.listen(Engine, "connect", do_not_wait)
    yield
    event.remove(Engine, "connect", do_not_wait)


@pytest.mark.usefixtures("impatient")
def test_opening_waits_for_a_locked_database(tracked_project):
    assert tracked_project == Path.cwd()
    timer = lock_for(0.5)
    start = time.monotonic()

    Store("digits").open(RECORD)

    assert time.monotonic() - start > 0.5
    timer.join()


def test_a_locked_database_is_retried_but_not_for_ever(store, monkeypatch):
    locked = MlflowException("(sqlite3.OperationalError) database is locked")
    answers = [locked, locked, None]

    def log_batch(*_, **__):
        if error := answers.pop(0):
            raise error

    monkeypatch.setattr(patience, "_RETRY_SECONDS", 0)
    run = store.open(RECORD)
    monkeypatch.setattr(store._client, "log_batch", log_batch)

    store.log(run, LOSSES)
    assert answers == []

    answers[:] = [locked]
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", -1)
    with pytest.raises(MlflowException, match="locked"):
        store.log(run, LOSSES)

    answers[:] = [MlflowException("no space left"), None]
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 60)
    with pytest.raises(MlflowException, match="no space"):
        store.log(run, LOSSES)


@pytest.mark.parametrize("status", ["SCHEDULED", "KILLED", "FAILED"])
def test_an_interrupted_run_is_marked_unless_it_is_finished(store, status):
    run = store.open(RECORD)
    store.leave(run, status)
    assert client(Path.cwd()).get_run(run.info.run_id).info.status == status

    store.finish(store.open(RECORD))
    store.leave(store.open(RECORD), status)
    assert is_finished(store.open(RECORD))


def run_python(program, *arguments, folder, python=sys.executable):
    """Starts a program in a process of its own in `folder`, where its store is."""
    environment = {key: value for key, value in os.environ.items() if "MLFLOW" not in key}
    checkout = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [python, "-c", program, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": checkout, "DVC_ROOT": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


OPEN_AT_ONCE = """
import sys, time
from pathlib import Path
from pipeline.tracking.store import Store
Path(sys.argv[1]).touch()
while not (Path("one").exists() and Path("two").exists()):
    time.sleep(0.001)
Store("digits")
"""


@pytest.mark.slow
def test_two_processes_may_create_the_store_at_once(tmp_path, python_at_once):
    started = [
        run_python(OPEN_AT_ONCE, name, folder=tmp_path, python=python_at_once)
        for name in ("one", "two")
    ]
    said = [process.communicate(timeout=60)[1] for process in started]

    assert [process.returncode for process in started] == [0, 0], said
    experiments = client(tmp_path).search_experiments()
    assert sorted(experiment.name for experiment in experiments) == ["Default", "digits"]


LOG_MODEL_TWICE = """
import json, sys
from pathlib import Path
import numpy as np
from pipeline.tracking.store import Point, RunRecord, Store
from pipeline.tracking.trained_on import TrainedOn
store = Store("digits")
data = TrainedOn("file", (4, 3), ("a", "b", "c"), ())
ids = []
for _ in range(2):
    run = store.open(RunRecord("f1", "batch_norm-seed-00", {"variant": "batch_norm"}))
    ids.append(store.log_model(run, Path("seed-00"), data, np.zeros((2, 4, 3), np.uint8)))
store.log(run, [Point("train/loss", 0.5), Point("test/accuracy", 0.97, model_id=ids[0])])
loaded = [name for name in ("tensorflow", "keras") if name in sys.modules]
print(json.dumps({"ids": ids, "run": run.info.run_id, "loaded": loaded}))
"""


@pytest.fixture(scope="module")
def logged(model, empty_store, tmp_path_factory):
    """Returns the output of a process that logs a model twice, and its folder."""
    folder = tmp_path_factory.mktemp("logged")
    shutil.copy(empty_store, folder / "mlflow.db")
    write_model(folder / "seed-00", model.to_json(), model.get_weights())
    process = run_python(LOG_MODEL_TWICE, folder=folder)
    said, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    return json.loads(said.splitlines()[-1]) | {"folder": folder}


def test_a_model_is_logged_without_tensorflow(logged):
    assert logged["loaded"] == []


def test_a_model_is_logged_once(logged):
    assert len(set(logged["ids"])) == 1
    assert len(client(logged["folder"]).search_logged_models(["1"])) == 1


def test_a_model_knows_its_run_and_its_scores(logged):
    seen = client(logged["folder"]).get_logged_model(logged["ids"][0])

    assert (seen.name, seen.status) == ("batch_norm-seed-00", "READY")
    assert seen.source_run_id == logged["run"]
    assert [(metric.key, metric.value) for metric in seen.metrics] == [("test/accuracy", 0.97)]


def test_a_model_has_the_parameters_of_its_run(logged):
    seen = client(logged["folder"]).get_logged_model(logged["ids"][0])

    assert seen.params == {"variant": "batch_norm"}


def test_a_model_has_no_pickle_among_its_files(logged):
    files = [path for path in (logged["folder"] / "mlartifacts").rglob("*") if path.is_file()]

    assert {"model.json", "model.weights.h5", "served_model.py"} <= {path.name for path in files}
    assert not [path.name for path in files if path.suffix in {".pkl", ".pickle", ".joblib"}]
    # The first bytes of a pickle of protocol 2 to 5.
    assert not [
        path for path in files if path.read_bytes()[:2] in {b"\x80%c" % n for n in range(2, 6)}
    ]


def test_no_model_is_left_of_a_run_that_another_writer_took_back(store):
    run = store.open(RECORD)
    take_back(client(Path.cwd()), run)

    with pytest.raises(TakenBackError, match="was deleted"):
        store.log_model(run, Path(), None, None)

    assert client(Path.cwd()).search_logged_models([run.info.experiment_id]) == []


def test_a_model_that_is_made_while_its_run_is_taken_back_goes_with_it(store, monkeypatch):
    run = store.open(RECORD)
    taking, delete = client(Path.cwd()), MlflowClient.delete_run

    def after_another_writer_made_one(self, run_id):
        self.create_logged_model(run.info.experiment_id, "m", source_run_id=run_id)
        delete(self, run_id)

    monkeypatch.setattr(MlflowClient, "delete_run", after_another_writer_made_one)
    take_back(taking, run)

    assert taking.search_logged_models([run.info.experiment_id]) == []


def test_of_two_writers_the_model_stays_that_was_ready_first(store, monkeypatch):
    run, its = store.open(RECORD), client(Path.cwd())
    others = []

    def other_was_faster(*_):
        other = its.create_logged_model(run.info.experiment_id, "m", source_run_id=run.info.run_id)
        its.finalize_logged_model(other.model_id, "READY")
        others.append(other.model_id)

    monkeypatch.setattr(store, "write_model", other_was_faster)
    logged = store.log_model(run, Path(), None, None)

    assert [logged] == others
    (left,) = its.search_logged_models([run.info.experiment_id])
    assert left.model_id == logged


@pytest.mark.slow
def test_a_loaded_model_predicts_on_raw_images_like_keras(logged, model, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{logged['folder']}/mlflow.db")
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)

    probabilities = mlflow.pyfunc.load_model(f"models:/{logged['ids'][0]}").predict(images)

    odds = np.exp(np.asarray(model(images)))
    np.testing.assert_allclose(probabilities, odds / odds.sum(axis=1, keepdims=True), rtol=1e-5)


def files_of(logged_model):
    folder = Path(logged_model.artifact_location.removeprefix("file://"))
    files = {path.name: path.read_text("latin-1") for path in folder.rglob("*") if path.is_file()}
    files["MLmodel"] = re.sub(r"utc_time_created: .*", "", files["MLmodel"])
    return files


def test_rewriting_the_files_of_a_model_keeps_the_model(store, model, tmp_path):
    images, folder = np.zeros((2, 4, 3), np.uint8), tmp_path / "runs" / "batch_norm" / "seed-00"
    write_model(folder, model.to_json(), model.get_weights())
    run = store.open(RunRecord("f", "batch_norm-seed-00"))
    data = TrainedOn("file", (4, 3), ("a", "b", "c"), ())
    logged = client(tmp_path).get_logged_model(store.log_model(run, folder, data, images))
    saved = files_of(logged)

    store.write_model(logged, folder, data, images)

    assert saved == files_of(logged)
    assert saved["model.weights.h5"] == (folder / "model.weights.h5").read_text("latin-1")


def served(store, tmp_path, data, example, network):
    """Logs a model of this network, and loads it as MLflow serves it."""
    folder = tmp_path / "runs" / "a" / "seed-00"
    network.set_weights(first_weights(network, seed=0))
    write_model(folder, network.to_json(), network.get_weights())
    run = store.open(RunRecord("f", "a-seed-00"))
    model_id = store.log_model(run, folder, data, example)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    return mlflow.pyfunc.load_model(f"models:/{model_id}")


def softmax(logits):
    odds = np.exp(np.asarray(logits, np.float64))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.slow
def test_a_model_of_a_table_takes_its_columns_by_name_in_any_order(store, tmp_path):
    features = tuple(f"feature {i}" for i in range(30))
    rows = np.random.default_rng(0).normal(5, 3, (4, 30)).astype(np.float32)
    data = TrainedOn("file", (30,), ("benign", "malignant"), features)
    network = build(
        dense(hidden_dims=(5,), activation="tanh"), NoNorm(), shape=(30,), classes=2,
        moments=Moments([5.0] * 30, [9.0] * 30),
    )  # fmt: skip
    loaded = served(store, tmp_path, data, rows[:2], network)

    assert loaded.metadata.get_input_schema().input_names() == list(features)
    table = pd.DataFrame(rows.astype(float), columns=features)
    given = table[[*features[::-1]]].assign(label="benign")
    np.testing.assert_allclose(loaded.predict(given), softmax(network(rows)), rtol=1e-5)
    # What MLflow keeps as an example is what it would send to a server.
    (stored,) = (tmp_path / "mlartifacts").rglob("MLmodel")
    example = Model.load(str(stored)).load_input_example(str(stored.parent))
    np.testing.assert_array_equal(example.to_numpy(np.float32), rows[:2])


@pytest.mark.slow
def test_a_model_of_images_in_colour_takes_them_raw(store, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    data = TrainedOn("file", (6, 5, 3), ("a", "b"), ())
    network = build(
        dense(hidden_dims=(5,), activation="tanh"), NoNorm(), shape=(6, 5, 3), classes=2
    )
    loaded = served(store, tmp_path, data, images[:2], network)

    np.testing.assert_allclose(loaded.predict(images), softmax(network(images)), rtol=1e-5)


def test_a_model_is_stored_with_what_it_was_trained_on(store, model, tmp_path):
    folder = tmp_path / "runs" / "a" / "seed-00"
    write_model(folder, model.to_json(), model.get_weights())
    data = TrainedOn("file", (4, 3), ("<b>", "a | b", "紫色"), ())
    model_id = store.log_model(
        store.open(RunRecord("f", "a")), folder, data, np.zeros((1, 4, 3), np.uint8)
    )
    (file,) = (tmp_path / "mlartifacts").rglob(f"{model_id}/**/trained_on.json")
    assert read_trained_on("it", file.parent) == data


def double(run, **changes):
    """Another writer's run of the same fingerprint, which began at the same moment or later."""
    tags = run.data.tags | {"process.host": "elsewhere"}
    start = run.info.start_time + changes.pop("later", 0)
    made = client(Path.cwd()).create_run(run.info.experiment_id, start, tags, run.info.run_name)
    if changes.pop("finished", False):
        client(Path.cwd()).set_terminated(made.info.run_id, "FINISHED")
    return made


def active(run):
    ids = [run.info.experiment_id]
    return {run.info.run_id for run in client(Path.cwd()).search_runs(ids)}


def test_who_makes_a_run_that_another_has_made_meanwhile_goes_on_with_the_first(store, monkeypatch):
    """The other run is made between the first look and one's own."""
    make, others = store._client.create_run, []

    def make_after_another(experiment, start, tags, name):
        others.append(
            client(Path.cwd()).create_run(
                experiment, 1, tags | {"process.host": "elsewhere"}, run_name=name
            )
        )
        return make(experiment, start, tags, name)

    monkeypatch.setattr(store._client, "create_run", make_after_another)
    run = store.open(RECORD)

    (other,) = others
    assert run.info.run_id == other.info.run_id
    assert run.data.tags["process.host"] == platform.node()
    assert active(run) == {other.info.run_id}


def test_nobody_deletes_an_unfinished_run_of_another(store):
    run = store.open(RECORD)
    other = double(run, later=1)

    assert store.open(RECORD).info.run_id == run.info.run_id
    assert store.finish(run).info.run_id == run.info.run_id
    assert active(run) == {run.info.run_id, other.info.run_id}


def test_who_finishes_a_run_that_another_has_finished_takes_it_back(store):
    run = store.open(RECORD)
    other = double(run, later=1, finished=True)

    assert store.finish(run).info.run_id == other.info.run_id
    assert active(run) == {other.info.run_id}


@pytest.mark.parametrize("later", [-1, 1])
def test_of_two_that_are_finished_at_once_the_first_is_kept(later, store, monkeypatch):
    run = store.open(RECORD)
    finish, others = store._client.set_terminated, []

    def finish_after_another(*arguments):
        others.append(double(run, later=later, finished=True))
        finish(*arguments)

    monkeypatch.setattr(store._client, "set_terminated", finish_after_another)
    kept = store.finish(run)

    first = others[0] if later < 0 else run
    assert kept.info.run_id == first.info.run_id
    assert active(run) == {first.info.run_id}


def test_a_run_that_was_deleted_is_not_finished(store):
    run = store.open(RECORD)
    client(Path.cwd()).delete_run(run.info.run_id)

    with pytest.raises(TRACKING_ERRORS) as error:
        store.finish(run)
    assert patience.is_taken_back(error.value)
    with pytest.raises(TRACKING_ERRORS) as error:
        store.log(run, LOSSES)
    assert patience.is_taken_back(error.value)


def test_two_writers_who_log_the_same_points_at_once_log_them_once(store, monkeypatch):
    run = store.open(RECORD)
    log = store._client.log_batch
    other = Store("digits")

    def log_after_another(*arguments, **keywords):
        monkeypatch.setattr(store._client, "log_batch", log)
        other.log(run, LOSSES)
        log(*arguments, **keywords)

    monkeypatch.setattr(store._client, "log_batch", log_after_another)
    store.log(run, LOSSES)

    assert history(run, "train/loss") == [(0, 0.5), (1, 0.25)]


@pytest.mark.parametrize("first", ["own", "other"])
def test_a_run_has_one_model_though_two_writers_log_it(first, store, model, tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "a" / "seed-00"
    write_model(folder, model.to_json(), model.get_weights())
    run = store.open(RECORD)
    data, example = TrainedOn("file", (4, 3), ("a", "b", "c"), ()), np.zeros((2, 4, 3), np.uint8)
    make, other = store._client.create_logged_model, Store("digits")
    others = []

    def make_beside_another(*arguments, **keywords):
        monkeypatch.setattr(store._client, "create_logged_model", make)
        made = make(*arguments, **keywords) if first == "own" else None
        keywords["tags"] = {"process.host": "elsewhere"}
        others.append(other._client.create_logged_model(*arguments, **keywords))
        if first == "other":
            time.sleep(0.002)
            return make(*arguments, **keywords | {"tags": tracking._this_process()})
        return made

    monkeypatch.setattr(store._client, "create_logged_model", make_beside_another)
    model_id = store.log_model(run, folder, data, example)
    # The other goes on where it was.
    assert other.log_model(run, folder, data, example) == model_id

    (output,) = client(Path.cwd()).get_run(run.info.run_id).outputs.model_outputs
    assert output.model_id == model_id
    assert (model_id == others[0].model_id) == (first == "other")
    ready = client(Path.cwd()).search_logged_models([run.info.experiment_id])
    assert [one.model_id for one in ready if one.status == "READY"] == [model_id]


def test_an_experiment_that_was_deleted_is_told(store):
    run = store.open(RECORD)
    client(Path.cwd()).delete_experiment(run.info.experiment_id)

    with pytest.raises(DeletedExperimentError, match=r"^the experiment digits was deleted") as told:
        Store("digits")
    assert "`python -m pipeline doctor --fix` restores it" in str(told.value)
    assert isinstance(told.value, TRACKING_ERRORS)


def test_an_experiment_that_another_makes_meanwhile_is_used(tracked_project, monkeypatch):
    made = []
    create = mlflow.MlflowClient.create_experiment

    def create_after_another(self, name, location):
        if not made:
            made.append(create(client(tracked_project), name))
        return create(self, name, location)

    monkeypatch.setattr(mlflow.MlflowClient, "create_experiment", create_after_another)
    assert Store("digits").open(RECORD).info.experiment_id == made[0]


def test_a_database_in_no_encoding_is_told_with_how_to_make_another(postgresql_server, monkeypatch):
    import psycopg  # noqa: PLC0415  It may be missing: then the test is skipped.

    with psycopg.connect(postgresql_server.address(), autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql_server.address("plain"))

    with pytest.raises(UnusableAddressError, match="is not in UTF-8: make another, as in createdb"):
        tracking.made_client()
    with pytest.raises(UnusableAddressError, match="is not in UTF-8: make another, as in createdb"):
        read_store(postgresql_server.address("plain"))
