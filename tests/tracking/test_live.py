import shutil
import socket
import time
from dataclasses import replace

import mlflow
import numpy as np
import pytest

from pipeline.errors import InterruptedTrainingError
from pipeline.provenance.lineage import Lineage
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest
from pipeline.tracking import live
from pipeline.tracking.experiment_pages import of_runs
from pipeline.tracking.live import LiveView
from pipeline.tracking.records import epoch_points, run_record
from pipeline.tracking.store import Store

MANIFEST = Manifest(
    variant="no_norm",
    parameters={"normalization": "none"},
    seeds=(0, 1),
    data_sha256="da7a",
    code_sha256="c0de",
)
LINEAGE = Lineage({"threads": "2"}, b"diff")


def epoch(seed, number):
    return EpochScores(seed, number, Scores(1 / (1 + number), 0.5), Scores(0.5, 0.25 + seed / 4))


def show(*epochs, manifest=MANIFEST):
    with LiveView("digits", manifest, LINEAGE) as view:
        for scores in epochs:
            view.tell(scores)


def seen(project):
    """Returns each run by name."""
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("digits")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def history(project, name, key):
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    points = client.get_metric_history(seen(project)[name].info.run_id, key)
    return [(point.step, point.value) for point in points]


def test_runs_have_their_colour_while_they_train(tracked_project):
    with LiveView("digits", MANIFEST, LINEAGE, "#0072B2") as view:
        view.tell(epoch(0, 0))

    (run,) = seen(tracked_project).values()
    assert run.data.tags["mlflow.runColor"] == "#0072B2"


def test_all_epochs_are_shown(tracked_project):
    show(epoch(0, 0), epoch(1, 0), epoch(0, 1), epoch(1, 1))

    runs = seen(tracked_project)
    assert sorted(runs) == ["no_norm-seed-00", "no_norm-seed-01"]
    assert history(tracked_project, "no_norm-seed-00", "train/loss") == [(0, 1.0), (1, 0.5)]
    assert history(tracked_project, "no_norm-seed-01", "validation/accuracy") == [
        (0, 0.5),
        (1, 0.5),
    ]
    # Models and test scores are still to come: `track` finishes the run.
    assert {run.info.status for run in runs.values()} == {"SCHEDULED"}


def test_a_run_starts_when_its_training_did(tracked_project):
    with LiveView("digits", MANIFEST, LINEAGE) as view:
        view.begin(0, None)
        view.begin(1, 1_700_000_000.25)
        view.tell(epoch(1, 0))
        view.tell(epoch(0, 1))

    assert seen(tracked_project)["no_norm-seed-01"].info.start_time == 1_700_000_000_250


def test_the_page_of_a_new_experiment_has_its_views_at_once(tracked_project):
    show(epoch(0, 0))

    client = mlflow.MlflowClient(f"sqlite:///{tracked_project}/mlflow.db")
    experiment = client.get_experiment_by_name("digits")
    assert of_runs(experiment.experiment_id).items() <= experiment.tags.items()


def test_epochs_are_shown_while_others_train(tracked_project, monkeypatch):
    monkeypatch.setattr(live, "_GATHER_SECONDS", 0.01)

    with LiveView("digits", MANIFEST, LINEAGE) as view:
        view.tell(epoch(0, 0))
        until = time.monotonic() + 10
        store = Store("digits")
        record = run_record(MANIFEST, 0, LINEAGE)
        while not store.open(record).data.metrics and time.monotonic() < until:
            time.sleep(0.05)
        shown = history(tracked_project, "no_norm-seed-00", "train/loss")
        view.tell(epoch(0, 1))

    assert shown == [(0, 1.0)]
    assert history(tracked_project, "no_norm-seed-00", "train/loss") == [(0, 1.0), (1, 0.5)]


@pytest.mark.slow
def test_a_store_that_is_half_made_costs_a_warning_until_it_is_set_aside(
    leave_half_made, monkeypatch, caplog
):
    monkeypatch.setattr(live, "_GATHER_SECONDS", 0.01)
    monkeypatch.setattr(live, "_PAUSE_SECONDS", 0.01)
    path = leave_half_made("no revision")

    with LiveView("digits", MANIFEST, LINEAGE) as view:
        view.tell(epoch(0, 0))
        until = time.monotonic() + 10
        while not caplog.records and time.monotonic() < until:
            time.sleep(0.01)
        path.rename("aside")
        view.tell(epoch(0, 1))

    (warning,) = [record.getMessage() for record in caplog.records if record.name == live.__name__]
    assert warning.endswith(
        "`python -m pipeline doctor --fix` sets it aside; the stage `track` will add these runs"
    )
    shown = history(path.parent, "no_norm-seed-00", "train/loss")
    assert shown == [(0, 1.0), (1, 0.5)]


def test_without_epochs_nothing_is_opened(project):
    show()

    assert not list(project.iterdir())


def test_a_run_found_again_gets_its_missing_epochs(tracked_project):
    show(epoch(0, 0), epoch(0, 1))

    show(epoch(0, 0), epoch(0, 1), epoch(0, 2), manifest=replace(MANIFEST, seeds=(0, 1, 2)))

    losses = history(tracked_project, "no_norm-seed-00", "train/loss")
    assert losses == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert len(seen(tracked_project)) == 1


def test_a_finished_run_is_left_alone(tracked_project):
    store = Store("digits")
    run = store.open(run_record(MANIFEST, 0, LINEAGE))
    store.log(run, epoch_points(epoch(0, 0)))
    store.finish(run)

    show(epoch(0, 0), epoch(0, 1))

    assert seen(tracked_project)["no_norm-seed-00"].info.status == "FINISHED"
    assert history(tracked_project, "no_norm-seed-00", "train/loss") == [(0, 1.0)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InterruptedTrainingError("asked to end", 15), "KILLED"),
        (SystemExit(143), "KILLED"),
        (OSError("the disk is full"), "FAILED"),
    ],
)
def test_runs_of_an_interrupted_training_are_marked(tracked_project, error, status):
    with pytest.raises(type(error)), LiveView("digits", MANIFEST, LINEAGE) as view:
        view.tell(epoch(0, 0))
        view.tell(epoch(1, 0))
        raise error

    assert [run.info.status for run in seen(tracked_project).values()] == [status, status]
    assert history(tracked_project, "no_norm-seed-01", "train/loss") == [(0, 1.0)]


def test_a_resumed_training_resumes_its_runs(tracked_project):
    with (
        pytest.raises(InterruptedTrainingError),
        LiveView("digits", MANIFEST, LINEAGE) as view,
    ):
        view.tell(epoch(0, 0))
        view.tell(epoch(0, 1))
        raise InterruptedTrainingError("asked to end", 15)

    show(epoch(0, 0), epoch(0, 1), epoch(0, 2))

    (run,) = seen(tracked_project).values()
    assert run.info.status == "SCHEDULED"
    losses = history(tracked_project, "no_norm-seed-00", "train/loss")
    assert losses == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]


def test_a_finished_run_stays_finished_if_training_is_interrupted(tracked_project):
    store = Store("digits")
    store.finish(store.open(run_record(MANIFEST, 0, LINEAGE)))

    with pytest.raises(ValueError, match="diverged"), LiveView("digits", MANIFEST, LINEAGE) as view:
        view.tell(epoch(0, 0))
        raise ValueError("diverged")

    assert seen(tracked_project)["no_norm-seed-00"].info.status == "FINISHED"


@pytest.mark.usefixtures("project")
def test_an_interrupted_training_does_not_wait_long_for_a_store(monkeypatch, caplog):
    monkeypatch.setattr(live, "_INTERRUPTED_SECONDS", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with (
            pytest.raises(InterruptedTrainingError),
            LiveView("digits", MANIFEST, LINEAGE) as view,
        ):
            view.tell(epoch(0, 0))
            raise InterruptedTrainingError("asked to end", 15)
        waited = time.monotonic() - start
    view._thread.join(20)

    assert waited < 2
    assert len(warnings(caplog)) == 1


def test_a_store_that_comes_back_gets_the_epochs_it_missed(
    project, empty_store, monkeypatch, caplog
):
    monkeypatch.setattr(live, "_GATHER_SECONDS", 0.01)
    monkeypatch.setattr(live, "_PAUSE_SECONDS", 0.01)
    (project / "mlflow.db").write_text("no database at all")

    with LiveView("digits", MANIFEST, LINEAGE) as view:
        view.tell(epoch(0, 0))
        wait_for(lambda: warnings(caplog))
        shutil.copy(empty_store, project / "mlflow.db")
        view.tell(epoch(0, 1))

    assert history(project, "no_norm-seed-00", "train/loss") == [(0, 1.0), (1, 0.5)]
    assert len(warnings(caplog)) == 1


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def warnings(caplog):
    return [record for record in caplog.records if record.name == live.__name__]


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///garbage.db",
        "gopher://127.0.0.1/",
        pytest.param("http://127.0.0.1:9", marks=pytest.mark.slow),
    ],
)
def test_a_broken_store_costs_one_warning_and_no_training(project, monkeypatch, caplog, uri):
    (project / "garbage.db").write_text("no database at all")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    with LiveView("digits", MANIFEST, LINEAGE) as view:
        start, waits = time.monotonic(), []
        for number in range(1000):
            before = time.monotonic()
            view.tell(epoch(0, number))
            waits.append(time.monotonic() - before)
    ended = time.monotonic() - start

    # Of each call, so that a machine with other work does not count.
    assert np.median(waits) < 0.0005
    assert ended < 10
    (warning,) = warnings(caplog)
    assert warning.levelname == "WARNING"
    assert warning.getMessage().startswith("no live view in MLflow: ")
    assert warning.getMessage().endswith("the stage `track` will add these runs")
    assert len(warning.getMessage().splitlines()) == 1


@pytest.mark.usefixtures("project")
def test_a_store_that_does_not_answer_in_time_is_reported(monkeypatch, caplog):
    monkeypatch.setattr(live, "_LAST_EPOCHS_SECONDS", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with LiveView("digits", MANIFEST, LINEAGE) as view:
            view.tell(epoch(0, 0))
    view._thread.join(20)

    assert len(warnings(caplog)) == 1
