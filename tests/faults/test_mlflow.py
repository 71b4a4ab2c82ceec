"""MLflow

Training shows its epochs in MLflow through a view that it never waits for, and `track` brings
MLflow up to date with the files, which are the truth. Servers are real ones, started by `python -m
pipeline ui` and ended with SIGKILL; a database is locked by another connection's exclusive
transaction.
"""

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import filelock
import mlflow
import pytest

from pipeline.errors import MissingInputError, PendingError
from pipeline.evaluation.results import read_test_scores
from pipeline.params_file import read_params
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import read_manifest
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS, history_table, read_history, run_folder
from pipeline.tracking import comparison as comparison_records
from pipeline.tracking import live, patience, track
from pipeline.tracking.live import LiveView
from pipeline.tracking.store import FINGERPRINT
from tests.faults.clones import (
    expect_each_once,
    expect_none_failed,
    finished_runs,
    start_tracking,
    write_clones,
)
from tests.faults.command import DIGITS
from tests.faults.servers import CHECKOUT, Server, answering, wait_for
from tests.faults.written import (
    EPOCHS,
    EXPERIMENT,
    SEEDS,
    VARIANTS,
    manifest_of,
    scores,
    write_runs,
)
from tests.half_made import HALF_MADE

pytestmark = pytest.mark.slow

LINEAGE = Lineage({"threads": "2"}, b"diff")


@pytest.fixture
def untracked(tracked_project):
    """A project whose runs are still to be tracked, in a database with its schema."""
    write_runs()
    return tracked_project


def expect_whole(uri, root=Path(), experiment=EXPERIMENT):
    """Makes sure that MLflow has each run and the comparison once, finished and complete."""
    client = mlflow.MlflowClient(uri)
    mlflow.set_tracking_uri(uri)
    known = client.get_experiment_by_name(experiment).experiment_id
    found = client.search_runs([known])
    assert {run.info.status for run in found} == {"FINISHED"}
    of_print = {run.data.tags[FINGERPRINT]: run for run in found}
    manifests = [read_manifest(variant, root) for variant in VARIANTS]
    total = sum(len(manifest.seeds) for manifest in manifests)
    assert len(of_print) == len(found) == total + 1

    for manifest in manifests:
        history = read_history(manifest.variant, root)
        tested = read_test_scores(manifest.variant, root).set_index("seed")
        for fingerprint, seed in manifest.fingerprints().items():
            run = of_print[fingerprint]
            assert all_points(client, run) == expected_points(history, seed)
            assert run.data.metrics["test/accuracy"] == tested["accuracy"][seed]
            expect_model(client, run, root / run_folder(manifest.variant, seed))
            kept = client.download_artifacts(run.info.run_id, "lineage/manifest.json")
            assert Path(kept).read_text() == manifest.only(seed).to_json()
    (comparison,) = [run for run in found if run.data.tags["kind"] == "comparison"]
    kept = Path(client.download_artifacts(comparison.info.run_id, ""))
    report = (root / comparison_records.REPORTS / "report.md").read_text()
    assert (kept / "reports/report.md").read_text() == report
    assert set(json.loads((kept / "lineage/runs.json").read_text())) == {
        run.info.run_id for run in found if run is not comparison
    }


def expect_model(client, run, folder):
    """Makes sure that a run has one model, with its files."""
    (model,) = client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )
    assert model.status == "READY"
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    kept = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    for name in (ARCHITECTURE, WEIGHTS):
        assert (kept / "artifacts" / name).read_bytes() == (folder / name).read_bytes()
    assert {"MLmodel", "served_model.py"} <= {path.name for path in kept.iterdir()}


def expected_points(history, seed):
    return {
        f"{split}/{score}": list(zip(own["epoch"], own[score], strict=True))
        for split, own in history[history["seed"] == seed].groupby("split")
        for score in ("loss", "accuracy")
    }


def all_points(client, run):
    """Returns what a run shows of each epoch."""
    keys = [key for key in run.data.metrics if key.startswith(("train/", "validation/"))]
    return {key: points(client, run, key) for key in keys}


def points(client, run, key):
    """Returns steps and values, of which a point that was logged twice would be two."""
    history = client.get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.value) for point in history)


def at_once(program, *arguments, folder):
    """Runs a program in `folder`, which forks once it has imported what takes long."""
    outside = ("MLFLOW_TRACKING_URI", "DVC_ROOT")
    environment = {key: value for key, value in os.environ.items() if key not in outside}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder, env=environment | {"PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended_well(process):
    told, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, told + complaints
    return told


EIGHT = """
import os, sys, time, traceback
from pipeline.tracking.store import Point, RunRecord, Store

def work(number):
    store = Store("digits")
    run = store.open(RunRecord(f"fingerprint {number}", f"run {number}"))
    # Several in a call, as the live view gathers them.
    for first in range(0, int(sys.argv[1]), 4):
        epochs = range(first, min(first + 4, int(sys.argv[1])))
        store.log(run, [Point("train/loss", 1 / (1 + at + number), at) for at in epochs])

def child(number):
    try:
        work(number)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

started = []
for number in range(8):
    pid = os.fork()
    if pid == 0:
        child(number)
    started.append(pid)
failed = [pid for pid in started if os.waitpid(pid, 0)[1]]
sys.exit(len(failed))
"""


def stored(folder):
    """Returns the points of each run, by name."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    known = client.get_experiment_by_name("digits").experiment_id
    found = client.search_runs([known])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: points(client, run, "train/loss") for run in found}


@pytest.mark.drill
@pytest.mark.promise(
    "Eight processes that open a new database at once make one schema and one experiment; none "
    "fails."
)
def test_eight_processes_on_a_new_database_make_one_schema(tmp_path, count):
    ended_well(at_once(EIGHT, "1", folder=tmp_path))

    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert len(connection.execute("SELECT * FROM alembic_version").fetchall()) == 1
    connection.close()
    shown = stored(tmp_path)
    assert shown == {f"run {number}": [(0, 1 / (1 + number))] for number in range(8)}
    count(processes=8, schemas=1, experiments=1)


KILLED_MAKING = """
import os, signal, sys
from pathlib import Path
from pipeline.tracking.store import Store
from sqlalchemy import event
from sqlalchemy.engine import Engine

CHANGES = {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "sqlite3.connect"}
here = os.getcwd()

def kill_at(step):
    done, migrations = 0, []
    def count():
        nonlocal done
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)
    def file_changes(name, arguments):
        written = name == "open" and isinstance(arguments[1], str) and arguments[1] not in "rb"
        if (name in CHANGES or written) and here in str(arguments[0]):
            count()
    def rows_change(_, __, statement, *___):
        # Each migration ends with one of these.
        if statement.startswith("UPDATE alembic_version"):
            migrations.append(statement)
            if len(migrations) % 10 == 1:
                count()
        elif statement.startswith(("INSERT INTO experiment", "UPDATE experiment")):
            count()
    sys.addaudithook(file_changes)
    event.listen(Engine, "before_cursor_execute", rows_change)

kills = ended = 0
while not ended:
    pid = os.fork()
    if pid == 0:
        kill_at(kills + 1)
        Store("digits")
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    ended = status == 0
    assert ended or status == signal.SIGKILL
    kills += not ended
    # What else the killed one left, the next one finds.
    if not ended and Path("mlflow.db").exists():
        Path("mlflow.db").rename(f"seen/{kills}.db")
print(kills)
"""


def schema(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        things = "SELECT type, name FROM sqlite_master ORDER BY type, name"
        revision = connection.execute("SELECT * FROM alembic_version").fetchall()
        return revision, connection.execute(things).fetchall()


@pytest.mark.drill
@pytest.mark.promise(
    "Whoever makes the database may be killed at any step of it, between migrations, before any "
    "change to a file, before any row of an experiment: the database is not there, or whole. The "
    "next one makes it, and takes away what was left."
)
def test_a_new_database_is_whole_or_not_there_wherever_its_maker_is_killed(
    tmp_path, empty_store, count
):
    (tmp_path / "seen").mkdir()
    # Each is killed a step later than the one before, until none is left. Of the migrations every
    # tenth is a step: to everybody else they are all the same.
    kills = int(ended_well(at_once(KILLED_MAKING, folder=tmp_path)))

    seen = list((tmp_path / "seen").iterdir())
    for path in (*seen, tmp_path / "mlflow.db"):
        assert schema(path) == schema(empty_store)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.lock", "mlflow.db", "seen"]
    count(kills=kills, databases_left_whole=len(seen))


@pytest.mark.drill
@pytest.mark.parametrize("moment", HALF_MADE)
@pytest.mark.promise(
    "A database that MLflow itself left half made, because it was killed, costs training one "
    "warning; `track` ends with 75 and one line that says what to do, and that helps: the "
    "database is kept under another name, and MLflow has all runs."
)
def test_a_half_made_database_is_told_and_what_is_told_helps(moment, leave_half_made, caplog):
    write_runs()
    # `doctor` asks the mirrors of data that has some.
    Path("params.yaml").write_text(DIGITS, encoding="utf-8")
    path = leave_half_made(moment)
    with LiveView(EXPERIMENT, manifest_of("no_norm"), LINEAGE) as view:
        tell(view, range(EPOCHS))
    with pytest.raises(PendingError) as pending:
        track.run(read_params())
    told = str(pending.value)
    advice = [words.split() for words in told.split("`")[1::2]]

    assert len(warned(caplog)) == 1
    assert len(told.splitlines()) == 1
    assert [words[:3] for words in advice] == [["python", "-m", "pipeline"]] * 2
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    said = [
        subprocess.run(
            [sys.executable, *words[1:]],
            env=environment, check=False, capture_output=True, text=True,
        )
        for words in advice
    ]  # fmt: skip
    assert [ended.returncode for ended in said] == [0, 0]
    assert f"it is now {path}.half-made" in said[0].stdout
    assert path.with_name("mlflow.db.half-made").exists()
    expect_whole(f"sqlite:///{path}")


@pytest.mark.drill
@pytest.mark.promise(
    "Eight processes that log 200 epochs each at once, while another keeps the database locked for "
    "30 s, lose none and none fails. What is locked for longer than a minute, `track` reports with "
    "75."
)
def test_no_epoch_is_lost_while_the_database_is_locked(tmp_path, empty_store, count, peak):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    processes = at_once(EIGHT, "200", folder=tmp_path)
    database = sqlite3.connect(tmp_path / "mlflow.db", timeout=30, isolation_level=None)
    logged = "SELECT count(*) FROM metrics"
    wait_for(lambda: database.execute(logged).fetchone()[0] > 100)

    database.execute("BEGIN EXCLUSIVE")
    start = time.monotonic()
    before = database.execute(logged).fetchone()[0]
    time.sleep(30)
    during = database.execute(logged).fetchone()[0] - before
    database.execute("ROLLBACK")
    locked = time.monotonic() - start
    database.close()
    ended_well(processes)

    assert before < 1600
    assert during == 0
    shown = stored(tmp_path)
    assert shown == {
        f"run {number}": [(epoch, 1 / (1 + epoch + number)) for epoch in range(200)]
        for number in range(8)
    }
    count(processes=8, points=sum(map(len, shown.values())))
    peak(s_locked=locked)


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_store):
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    one = Server(folder)
    one.start()
    yield one
    one.kill()


def tell(view, epochs):
    for epoch in epochs:
        for seed in SEEDS:
            view.tell(scores(seed, epoch))


def shown(uri, experiment=EXPERIMENT):
    """Returns what the active runs show of each epoch, by name."""
    client = mlflow.MlflowClient(uri)
    known = client.get_experiment_by_name(experiment)
    found = client.search_runs([known.experiment_id]) if known else []
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: all_points(client, run) for run in found}


def told_in(epochs):
    """Returns what runs of `no_norm` should show of these epochs."""
    history = history_table(scores(seed, epoch) for seed in SEEDS for epoch in epochs)
    return {f"no_norm-seed-{seed:02d}": expected_points(history, seed) for seed in SEEDS}


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.name == live.__name__]


@pytest.mark.drill
@pytest.mark.usefixtures("project")
@pytest.mark.promise(
    "A server that is killed at epoch 3 of training and back at epoch 6 has the whole history at "
    "the end, no point twice, without `track`; one warning is all."
)
def test_a_server_that_comes_back_has_the_whole_history(server, monkeypatch, caplog, count):
    monkeypatch.setattr(live, "_GATHER_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri())

    with LiveView("comes back", manifest_of("no_norm"), LINEAGE) as view:
        tell(view, range(3))
        wait_for(lambda: shown(server.uri(), "comes back") == told_in(range(3)))
        server.kill()
        tell(view, range(3, 6))
        wait_for(lambda: warned(caplog))
        server.start()
        tell(view, range(6, EPOCHS))

    assert shown(server.uri(), "comes back") == told_in(range(EPOCHS))
    assert len(warned(caplog)) == 1
    count(kills=1, points=4 * len(SEEDS) * EPOCHS)


@pytest.mark.drill
@pytest.mark.promise(
    "A server that is killed while `train` runs, and never comes back, costs one warning: the "
    "stages end well, `track` ends with 75 and says what is pending. Once a server is back, "
    "`track` brings it up to date, exactly."
)
def test_training_outlives_its_server(server, make_clone, count):
    clone = make_clone(training__epochs=60, training__seeds=2, training__batch_size=1)
    pipeline = (sys.executable, "-m", "pipeline")
    address = {"MLFLOW_TRACKING_URI": server.uri("anna:hunter2@")}
    for stage in ("download", "prepare"):
        clone.run(*pipeline, stage)

    training = subprocess.Popen(
        [*pipeline, "train", "batch_norm"],
        cwd=clone.folder, env=clone.environment | address,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: any(map(len, shown(server.uri()).values())))
    assert training.poll() is None
    server.kill()
    told = training.communicate(timeout=200)
    assert training.returncode == 0, told
    assert "".join(told).count("no live view in MLflow") == 1

    others = [["train", "no_norm"], ["evaluate"], ["compare"], ["track"]]
    ended = [clone.run(*pipeline, *each, check=False, **address) for each in others]
    assert [one.returncode for one in ended] == [0, 0, 0, 75]
    (error,) = [line for line in ended[-1].stderr.splitlines() if line.startswith("error: ")]
    assert "pending are 4 of 4 runs and the comparison" in error
    everything = "".join([*told, *(text for one in ended for text in (one.stdout, one.stderr))])
    assert "hunter2" not in everything
    assert "Traceback" not in everything

    server.start()
    clone.run(*pipeline, "track", **address)
    expect_whole(server.uri(), clone.folder)
    count(kills=1, points=2 * 2 * 60 * 4)


@pytest.mark.promise(
    "Where no server answers, training ends well after one warning, `track` says what is pending "
    "and ends with 75, and a later `track` brings MLflow up to date, exactly."
)
def test_a_store_that_is_never_there_costs_nothing(untracked, monkeypatch, caplog):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with LiveView(EXPERIMENT, manifest_of("no_norm"), LINEAGE) as view:
            tell(view, range(EPOCHS))
        with pytest.raises(PendingError) as pending:
            track.run(read_params())

    assert len(warned(caplog)) == 1
    assert "Connection refused" in str(pending.value)
    assert "pending are 4 of 4 runs and the comparison: `python -m pipeline track`" in str(
        pending.value
    )
    assert pending.value.exit_code == 75
    assert not track.TRACKED.exists()

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    track.run(read_params())
    expect_whole(f"sqlite:///{untracked}/mlflow.db")


@pytest.mark.usefixtures("untracked")
@pytest.mark.parametrize(
    ("status", "content"),
    [
        (500, b"<html>\nInternal Server Error</html>"),
        (200, b"<html>\n<h1>Welcome to the hotel's network</h1></html>"),
        (401, b"You are not authenticated."),
        (404, b"Not found"),
        (200, b"{}"),
        (200, b'{"experiment": {}}'),
        (200, b'{"experiment": "digits"}'),
        (200, b"[]"),
        (200, b""),
        (503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}'),
    ],
)
@pytest.mark.promise(
    "A server that answers with an error, a web page or other rubbish costs training one warning, "
    "and `track` ends with 75 and one line."
)
def test_a_server_that_answers_rubbish_is_as_good_as_none(
    status, content, monkeypatch, caplog, count
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with answering(status, content) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with LiveView(EXPERIMENT, manifest_of("no_norm"), LINEAGE) as view:
            tell(view, range(EPOCHS))
        with pytest.raises(PendingError) as pending:
            track.run(read_params())

    (warning,) = warned(caplog)
    for told in (warning, str(pending.value)):
        assert len(told.splitlines()) == 1
        assert len(told) < 400
    assert not track.TRACKED.exists()
    count(answers=1)


@pytest.mark.drill
@pytest.mark.usefixtures("untracked")
@pytest.mark.parametrize("held", ["the database", "the project's lock"])
@pytest.mark.promise(
    "`track` waits a minute for a database, or for another `track`, that keeps the store locked; "
    "then it ends with 75, and the next one adds the runs."
)
def test_a_store_that_stays_locked_is_pending(held, project, monkeypatch):
    # One attempt: SQLite waits for 5 s where MLflow opens a database.
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0)
    uri = f"sqlite:///{project}/mlflow.db"
    database = sqlite3.connect("mlflow.db", isolation_level=None)
    if held == "the database":
        database.execute("BEGIN EXCLUSIVE")
    lock = filelock.FileLock(".mlflow.lock")
    if held == "the project's lock":
        lock.acquire()

    with pytest.raises(PendingError, match="pending are 4 of 4 runs") as pending:
        track.run(read_params())

    assert "lock" in str(pending.value)
    assert pending.value.exit_code == 75
    lock.release()
    database.close()
    track.run(read_params())
    expect_whole(uri)


@pytest.mark.parametrize(
    ("options", "told"),
    [("ro", "Read-only file system"), ("size=24k", "No space left on device")],
)
@pytest.mark.promise(
    "Where the folder of the artifacts is read-only, or full in the middle of a model, nothing is "
    "lost: no run is FINISHED, `track` ends with 75, and one that can write completes the same "
    "runs and models."
)
def test_a_run_whose_artifacts_cannot_be_written_is_not_finished(options, told, untracked, mount):
    uri = f"sqlite:///{untracked}/mlflow.db"
    artifacts = untracked / "mlartifacts"
    mount(artifacts, options)

    with pytest.raises(PendingError, match=told):
        track.run(read_params())

    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.status == "RUNNING"
    written = [path for path in artifacts.rglob("*") if path.is_file()]
    assert bool(written) == (options != "ro")
    assert not track.TRACKED.exists()

    mount(artifacts, "rw,size=16m")
    track.run(read_params())
    expect_whole(uri)


@pytest.mark.promise(
    "A run that is deleted in MLflow while it trains does not disturb training, and afterwards "
    "MLflow has it once, complete and FINISHED."
)
@pytest.mark.parametrize("after", [0, 3, EPOCHS])
def test_a_run_that_is_deleted_in_mid_training_is_restored(after, untracked, monkeypatch, count):
    monkeypatch.setattr(live, "_GATHER_SECONDS", 0.05)
    monkeypatch.setattr(live, "_PAUSE_SECONDS", 0.05)
    uri = f"sqlite:///{untracked}/mlflow.db"
    client = mlflow.MlflowClient(uri)

    with LiveView(EXPERIMENT, manifest_of("no_norm"), LINEAGE) as view:
        tell(view, range(max(after, 1)))
        wait_for(lambda: shown(uri) == told_in(range(max(after, 1))))
        known = client.get_experiment_by_name(EXPERIMENT).experiment_id
        for run in client.search_runs([known]):
            client.delete_run(run.info.run_id)
        tell(view, range(after, EPOCHS))
    track.run(read_params())

    expect_whole(uri)
    count(deleted=len(SEEDS))


KILLED = """
import os, signal, sys, time
from pathlib import Path
from pipeline.params_file import read_params
from pipeline.tracking import track

def state():
    written = sum(len(files) for _, _, files in os.walk("mlartifacts"))
    return Path("mlflow.db").stat().st_mtime_ns, written

def kill_after(changes):
    last = state()
    pid = os.fork()
    if pid == 0:
        track.run(params)
        os._exit(0)
    while changes and os.waitpid(pid, os.WNOHANG) == (0, 0):
        if (now := state()) != last:
            last, changes = now, changes - 1
        time.sleep(0.0005)
    if changes:
        return False
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True

params = read_params()
kills = 0
while kill_after(1 + kills % 8):
    kills += 1
print(kills)
"""


@pytest.mark.drill
@pytest.mark.promise(
    "`track` may be killed after any change that it makes, to the database or the artifacts: the "
    "next one goes on with the same runs and models, and MLflow has each once, complete and "
    "FINISHED."
)
def test_a_track_that_is_killed_is_gone_on_with(untracked, count):
    # Each is killed a change later than the one before, until nothing is left to be changed.
    kills = int(ended_well(at_once(KILLED, folder=untracked)).split()[-1])

    assert kills >= 8
    track.run(read_params())
    expect_whole(f"sqlite:///{untracked}/mlflow.db")
    count(kills=kills)


@pytest.mark.promise(
    "Where a file of the runs is missing, `track` names it and ends with 66: it is not MLflow that "
    "is to be waited for."
)
@pytest.mark.parametrize(
    "gone", ["reports/report.md", "runs/no_norm/seed-01/model.weights.h5", "data/prepared.npz"]
)
def test_a_file_that_is_missing_is_not_told_as_a_fault_of_mlflow(gone, untracked):
    content = Path(gone).read_bytes()
    Path(gone).unlink()

    with pytest.raises(MissingInputError, match=f"{gone} is not here") as missing:
        track.run(read_params())

    assert missing.value.exit_code == 66
    assert not track.TRACKED.exists()
    Path(gone).write_bytes(content)
    track.run(read_params())
    expect_whole(f"sqlite:///{untracked}/mlflow.db")


@pytest.mark.drill
@pytest.mark.promise(
    "Ten clones that track the same runs at once, twenty times, into one SQLite file, one "
    "PostgreSQL database, or a server on either: each run, its model and the comparison are there "
    "once, no point is there twice, and nobody fails."
)
def test_ten_clones_add_each_run_once(team_store, project, count):
    folders = write_clones(project, 10, 20)

    expect_none_failed(start_tracking(folders, team_store.address))

    count(clones=10, rounds=20, runs=expect_each_once(team_store.address, 20))


@pytest.mark.drill
@pytest.mark.parametrize(
    "team_store", ["server on sqlite", "postgresql", "server on postgresql"], indirect=True
)
@pytest.mark.promise(
    "A server, or PostgreSQL itself, that is stopped while four clones track the same runs, and is "
    "back a few seconds later: nobody fails, and each run is there once."
)
def test_a_store_that_restarts_while_clones_track_loses_nothing(team_store, project, count):
    folders = write_clones(project, 4, 3)
    with start_tracking(folders, team_store.address) as tracking:
        wait_for(lambda: finished_runs(team_store.address) >= 3)
        team_store.kill()
        time.sleep(3)
        assert tracking.poll() is None
        team_store.start()
        expect_none_failed(tracking)

    count(restarts=1, runs=expect_each_once(team_store.address, 3))
