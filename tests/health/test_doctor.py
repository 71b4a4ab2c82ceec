"""Makes real faults: each is reported, left alone without --fix, and mended with it."""

import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from click.testing import CliRunner

from pipeline import cli
from pipeline.evaluation.results import write_test_scores
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.health import doctor
from pipeline.params_file import read_params
from pipeline.provenance.places import tracking_uri
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.runs.tables import ARCHITECTURE, RUNS, WEIGHTS, run_folder
from pipeline.tracking import track
from tests import networks

CHECKOUT = Path(__file__).parents[2]
PARAMS = (
    networks.PARAMS.replace("dataset: mnist ", "dataset: digits ")
    .replace("validation_size: 5000", "validation_size: 200")
    .replace("experiment: mnist-batch-norm", "experiment: digits-demo")
)
VARIANTS = ("batch_norm", "no_norm")
PLACES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
}


def write_runs():
    """Writes the files of the stages before `track` into the current folder, one seed a variant."""
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    examples = Examples(np.zeros((3, 8, 8), np.uint8), np.arange(3, dtype=np.uint8))
    write_prepared(PREPARED_FILE, Dataset(examples, examples, examples, tuple("0123456789")))
    for variant in VARIANTS:
        write_manifest(Manifest(variant, {"momentum": 0.9}, (0,), "data", "code"))
        history = "seed,epoch,split,loss,accuracy\n0,0,train,0.5,0.9\n"
        (RUNS / variant / "history.csv").write_text(history)
        scores = {"loss": 0.5, "accuracy": 0.9, "expected_calibration_error": 0.1}
        write_test_scores(variant, pd.DataFrame([{"seed": 0} | scores]))
        folder = run_folder(variant, 0)
        folder.mkdir()
        for name in (ARCHITECTURE, WEIGHTS):
            (folder / name).write_text(f"{name} of {variant}")
    Path("reports").mkdir()
    answer = {"verdict": "unclear", "mean": 0, "ci_low": -1, "ci_high": 1, "wins": 0, "n": 1}
    Path("reports/comparison.json").write_text(json.dumps(answer))
    Path("reports/report.md").write_text("# Unclear\n")


@pytest.fixture(scope="session")
def made(tmp_path_factory, empty_store):
    """Returns a project whose runs are all in MLflow, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        write_runs()
        track.run(read_params())
    return folder


@pytest.fixture
def healthy(project, made):
    """Returns a copy of the project in the current folder, as if it had been made here."""
    from mlflow.tracking._tracking_service import utils  # noqa: PLC0415

    # By the ids of runs and models, which are the same in the copies.
    utils._artifact_repos_cache.clear()
    shutil.copytree(made, project, dirs_exist_ok=True)
    with sql() as connection:
        for table, column in PLACES.items():
            change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608
            connection.execute(change, (str(made), str(project)))
    return project


class sql:  # noqa: N801
    """A connection to the store, committed and closed."""

    def __init__(self, path="mlflow.db"):
        self.connection = sqlite3.connect(path)

    def __enter__(self):
        return self.connection

    def __exit__(self, *_):
        self.connection.commit()
        self.connection.close()


def rows(database):
    """Returns the content of a database; a copy need not have the same bytes."""
    with sql(database) as connection:
        return list(connection.iterdump())


def client():
    from mlflow import MlflowClient  # noqa: PLC0415

    return MlflowClient(tracking_uri())


@pytest.fixture
def examine(capsys):
    """Runs doctor and returns its lines, after checking that they agree with its result."""

    def run(*options):
        capsys.readouterr()
        well = doctor.run(options)
        lines = capsys.readouterr().out.splitlines()
        assert well == (not any(line.startswith("wrong: ") for line in lines))
        assert well == lines[-1].startswith("all is well: ")
        return lines

    return run


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def dead_process():
    """Returns the id and the start time of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = psutil.Process(process.pid).create_time()
        process.communicate(b"\n")
    return process.pid, started


def open_run(host=None, number=None, started=None, **tags):
    """Opens a run as `Store.open` does, on behalf of the given process."""
    known = {"process.host": host, "process.id": number, "process.started": started}
    tags |= {name: str(value) for name, value in known.items() if value is not None}
    own = client().get_experiment_by_name("digits-demo").experiment_id
    return client().create_run(own, tags=tags, run_name="left").info.run_id


def run_of(variant):
    own = client().get_experiment_by_name("digits-demo").experiment_id
    (run,) = client().search_runs([own], f"tags.variant = '{variant}'")
    return run


def status(run_id):
    return client().get_run(run_id).info.status


def test_a_healthy_project_is_reported_as_well_and_left_unchanged(healthy, examine):
    before = contents(healthy)

    (line,) = examine("--fix", "--relocate")

    assert line.startswith(
        "all is well: params.yaml, Python and packages, DVC's files, runs, MLflow"
    )
    assert contents(healthy) == before


def test_a_project_without_runs_is_well_and_no_store_is_made(project, examine):
    Path("params.yaml").write_text(PARAMS)

    (line,) = examine("--fix")

    assert line.startswith("all is well")
    assert contents(project).keys() == {Path("params.yaml")}


@pytest.mark.usefixtures("project")
def test_runs_that_are_not_here_are_not_said_to_be_well(examine):
    Path("params.yaml").write_text(PARAMS)
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  train@no_norm:\n    cmd: x\n")

    note, well = examine("--fix")

    assert note == "note: runs/ has no runs of no_norm: `dvc repro` makes them"
    assert well.startswith("all is well: params.yaml, Python and packages, DVC's files, MLflow")


@pytest.mark.usefixtures("project")
def test_the_command_line_ends_with_1_until_all_is_well():
    Path("params.yaml").write_text(PARAMS)
    Path(".dvc/tmp").mkdir(parents=True)
    Path(".dvc/tmp/rwlock").touch()

    codes = [
        CliRunner().invoke(cli.pipeline, ["doctor", *options]).exit_code
        for options in ([], ["--relocate"], ["--fix"], [])
    ]

    assert codes == [1, 1, 0, 0]


def test_files_of_ones_own_have_no_mirrors(project):
    data = "dataset: file\n  path: my.csv\n  split_seed: 0\n"
    params = re.sub(r"dataset: .*\n  path: .*\n", data, PARAMS)
    (project / "params.yaml").write_text(params, encoding="utf-8")

    assert list(doctor._mirrors(read_params())) == []


@pytest.mark.usefixtures("project")
def test_wrong_parameters_are_reported_and_the_rest_is_checked(examine):
    Path("params.yaml").write_text(PARAMS.replace("epochs: 10", "epochs: 0"))
    Path(".dvc/tmp").mkdir(parents=True)
    Path(".dvc/tmp/rwlock").touch()

    wrong, other = examine()

    assert "`epochs` must be greater than or equal to 1, got 0" in wrong
    assert "rwlock is damaged" in other


def test_a_run_of_a_dead_process_is_marked_as_killed(healthy, examine):
    left = open_run(platform.node(), *dead_process())
    before = contents(healthy)

    (told,) = examine()
    assert f"the run left ({left}) is RUNNING in MLflow, but its process is dead" in told
    assert contents(healthy) == before

    mended, well = examine("--fix")
    assert mended.startswith("mended: the run left")
    assert well.startswith("all is well")
    assert status(left) == "KILLED"


@pytest.mark.usefixtures("healthy")
def test_a_reused_process_id_does_not_count_as_alive(examine):
    started = psutil.Process().create_time()
    left = open_run(platform.node(), os.getpid(), started - 5)

    examine("--fix")

    assert status(left) == "KILLED"


@pytest.mark.usefixtures("healthy")
def test_a_run_of_a_living_process_is_well(examine):
    running = open_run(platform.node(), os.getpid(), psutil.Process().create_time())

    assert examine("--fix")[-1].startswith("all is well")
    assert status(running) == "RUNNING"


@pytest.mark.parametrize(
    ("process", "told"),
    [((), "somewhere"), (("elsewhere", 1, 0.5), "on another machine, elsewhere")],
)
@pytest.mark.usefixtures("healthy")
def test_a_run_whose_process_cannot_be_checked_is_noted(examine, process, told):
    running = open_run(*process)

    note, well = examine("--fix")

    assert note.startswith(f"note: the run left ({running}) is RUNNING in MLflow, {told}")
    assert well.startswith("all is well")
    assert status(running) == "RUNNING"


@pytest.mark.usefixtures("healthy")
def test_a_dead_run_whose_files_are_on_disk_is_finished_by_track(examine):
    run = run_of("no_norm")
    with sql() as connection:
        change = "UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?"
        connection.execute(change, (run.info.run_id,))
    number, started = dead_process()
    client().set_tag(run.info.run_id, "process.host", platform.node())
    client().set_tag(run.info.run_id, "process.id", str(number))
    client().set_tag(run.info.run_id, "process.started", str(started))

    (told,) = examine()
    assert told.startswith(
        "wrong: MLflow lacks runs that are in runs/, or parts of them: 1 of no_norm;"
    )

    assert examine("--fix")[-1].startswith("all is well")
    assert status(run.info.run_id) == "FINISHED"


@pytest.mark.usefixtures("healthy")
def test_a_lost_store_is_made_again_from_the_files(examine):
    Path("mlflow.db").unlink()

    (told,) = examine()
    assert "1 of batch_norm, 1 of no_norm; --fix adds them" in told
    assert not Path("mlflow.db").exists()

    assert examine("--fix")[-1].startswith("all is well")


@pytest.mark.usefixtures("healthy")
def test_runs_without_test_scores_are_not_added_until_they_are_evaluated(examine):
    Path("mlflow.db").unlink()
    shutil.rmtree("evaluation")

    refused, told = examine("--fix")

    assert refused.startswith("not mended: MLflow lacks runs")
    assert refused.endswith("test.csv is not here: `dvc repro` makes it")
    assert told.startswith("wrong: MLflow lacks runs")
    assert not Path("mlflow.db").exists()


def model_files():
    return sorted(Path("mlartifacts/models").rglob("MLmodel"))


@pytest.mark.usefixtures("healthy")
def test_lost_model_files_are_restored_from_the_runs(examine):
    gone = model_files()[0].parent
    shutil.rmtree(gone)

    (told,) = examine()
    assert told.startswith("wrong: MLflow has lost files of the model of ")
    assert told.endswith("; --fix writes them again, from runs/")

    assert examine("--fix")[-1].startswith("all is well")
    assert (gone / "artifacts" / WEIGHTS).read_text().startswith(WEIGHTS)
    assert len(model_files()) == len(VARIANTS)


@pytest.mark.usefixtures("healthy")
def test_a_model_lost_everywhere_is_reported_and_not_mended(examine):
    shutil.rmtree("mlartifacts/models")
    shutil.rmtree("runs")

    (told,) = examine("--fix")

    assert "batch_norm-seed-00" in told
    assert "no_norm-seed-00" in told
    assert "mlflow runs delete --run-id" in told


@pytest.fixture
def moved(healthy, tmp_path_factory, monkeypatch):
    """Moves the project to another folder, whose name needs quoting in a URI."""
    with sql() as connection:
        # As MLflow gives it to its own experiment: a path, and nothing is there.
        change = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0"
        connection.execute(change, (f"{healthy}/mlruns/0",))
    target = tmp_path_factory.mktemp("moved") / "a b%20c#d ü"
    monkeypatch.chdir(tmp_path_factory.mktemp("else"))
    healthy.rename(target)
    monkeypatch.chdir(target)
    return target


def test_a_moved_store_finds_its_artifacts_after_relocation(moved, healthy, examine):
    import mlflow  # noqa: PLC0415

    before, rows_before = contents(moved), rows("mlflow.db")
    for options in ([], ["--fix"]):
        (told,) = examine(*options)
        assert f"{healthy}/mlartifacts, which is gone; they are in {moved}/mlartifacts" in told
        assert contents(moved) == before

    assert examine("--relocate")[-1].startswith("all is well")

    (kept,) = Path.cwd().glob("mlflow.db.before-relocation*")
    assert rows(kept) == rows_before
    assert client().get_experiment("0").artifact_location == f"{moved}/mlruns/0"
    own = client().get_experiment_by_name("digits-demo")
    assert own.artifact_location == (moved / "mlartifacts").as_uri()
    model = client().search_logged_models([own.experiment_id])[0]
    got = mlflow.artifacts.download_artifacts(
        f"models:/{model.model_id}", tracking_uri=tracking_uri()
    )
    assert model.model_id in Path(got, "MLmodel").read_text()
    (compared,) = client().search_runs([own.experiment_id], "tags.kind = 'comparison'")
    assert "reports" in {file.path for file in client().list_artifacts(compared.info.run_id)}


def test_nothing_is_added_to_a_moved_store_before_its_relocation(moved, healthy, examine):
    shutil.rmtree(model_files()[0].parent)
    client().delete_run(run_of("no_norm").info.run_id)
    identifiers = [path.name for path in moved.glob("mlartifacts/*")]

    examine("--fix")
    assert not healthy.exists()
    assert [path.name for path in moved.glob("mlartifacts/*")] == identifiers

    assert examine("--fix", "--relocate")[-1].startswith("all is well")
    assert not healthy.exists()
    assert run_of("no_norm").info.artifact_uri.startswith(moved.as_uri())


def test_a_copy_beside_its_original_is_noted(healthy, tmp_path_factory, monkeypatch, examine):
    copied = shutil.copytree(healthy, tmp_path_factory.mktemp("copy") / "copied")
    monkeypatch.chdir(copied)
    before = rows("mlflow.db")

    note, _ = examine("--relocate")

    assert note.startswith(f"note: MLflow keeps artifacts in {healthy}/mlartifacts: this seems")
    assert rows("mlflow.db") == before


def test_a_damaged_manifest_is_reported(healthy, examine):
    (healthy / "runs" / "no_norm" / "manifest.json").write_text("{")

    (told,) = examine("--fix")

    assert told.startswith("wrong: runs/no_norm/manifest.json is damaged")


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("content", [b"", b"cut", None])
def test_damaged_files_are_written_again(content, examine):
    """Cut off, or of the right size and with one other bit."""
    weights = model_files()[0].parent / "artifacts" / WEIGHTS
    right = weights.read_bytes()
    weights.write_bytes(bytes([right[0] ^ 1]) + right[1:] if content is None else content)

    (told,) = examine()
    assert told.startswith("wrong: MLflow has damaged files of the model of ")

    assert examine("--fix")[-1].startswith("all is well")
    assert weights.read_bytes() == right


def test_a_manifest_that_mlflow_lost_is_written_again(healthy, examine):
    run = run_of("no_norm")
    kept = healthy / "mlartifacts" / run.info.run_id / "artifacts" / "lineage" / "manifest.json"
    right = kept.read_bytes()
    kept.unlink()

    (told,) = examine()
    assert told.startswith("wrong: MLflow has lost files of the run no_norm-seed-00;")

    assert examine("--fix")[-1].startswith("all is well")
    assert kept.read_bytes() == right


@pytest.mark.usefixtures("healthy")
@pytest.mark.parametrize("on_disk", [True, False])
def test_of_runs_and_models_that_are_there_twice_the_first_is_kept(on_disk, examine):
    first = run_of("no_norm")
    # Began a millisecond later, on another machine.
    tags = first.data.tags | {"process.host": "elsewhere"}
    double = client().create_run(
        first.info.experiment_id, first.info.start_time + 1, tags, first.info.run_name
    )
    client().set_terminated(double.info.run_id, "FINISHED")
    model = client().create_logged_model(
        first.info.experiment_id, first.info.run_name, source_run_id=first.info.run_id
    )
    client().finalize_logged_model(model.model_id, "READY")
    if not on_disk:
        shutil.rmtree("runs")

    told, *_ = examine()
    assert told.startswith("wrong: MLflow has more than once: ")
    assert f"no_norm-seed-00 ({double.info.run_id})" in told
    assert f"the model no_norm-seed-00 ({model.model_id})" in told

    examine("--fix")
    assert run_of("no_norm").info.run_id == first.info.run_id
    assert client().get_run(double.info.run_id).info.lifecycle_stage == "deleted"
    (kept,) = client().search_logged_models(
        [first.info.experiment_id], f"source_run_id = '{first.info.run_id}'"
    )
    assert kept.model_id != model.model_id
    assert examine("--fix")[-1].startswith("all is well")


@pytest.mark.usefixtures("healthy")
def test_a_run_that_another_machine_still_works_on_is_not_taken_for_a_double(examine):
    first = run_of("no_norm")
    tags = first.data.tags | {"process.host": "elsewhere"}
    client().create_run(first.info.experiment_id, first.info.start_time + 1, tags)

    assert examine("--fix")[-1].startswith("all is well")


@pytest.mark.usefixtures("healthy")
def test_a_deleted_experiment_is_restored_with_its_runs(examine):
    own = run_of("no_norm").info.experiment_id
    client().delete_experiment(own)

    (told,) = examine()
    assert told.startswith("wrong: the experiment digits-demo was deleted in MLflow, with all")

    assert examine("--fix")[-1].startswith("all is well")
    assert client().get_experiment(own).lifecycle_stage == "active"
    assert status(run_of("no_norm").info.run_id) == "FINISHED"
