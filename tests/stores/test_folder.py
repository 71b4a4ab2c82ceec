import re

import numpy as np
import pytest
import yaml
from mlflow.entities import Dataset, Metric
from mlflow.tracking import MlflowClient

from pipeline.errors import ArgumentError, DataError
from pipeline.stores.read import read_store
from tests.stores.conftest import state

RUN = "a" * 31
META = f"run_id: {RUN}1\nexperiment_id: '1'\n".encode()


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "mlruns"
    experiment(top, "1", "one")
    for number in range(3):
        run(top / "1", f"{RUN}{number}", loss=["5 0.5 0", "6 0.25 1"])
    return top


def experiment(top, identity, name, **more):
    (top / identity).mkdir(parents=True)
    meta = {"experiment_id": identity, "name": name, "lifecycle_stage": "active", **more}
    (top / identity / "meta.yaml").write_text(yaml.safe_dump(meta))


def run(experiment, identity, **metrics):
    """Writes a run as MLflow 1 did."""
    meta = {
        "run_id": identity, "run_uuid": identity, "experiment_id": experiment.name, "name": "",
        "status": 3, "start_time": 7, "end_time": None, "lifecycle_stage": "active", "tags": [],
    }  # fmt: skip
    for part in ("metrics", "params", "tags", "artifacts"):
        (experiment / identity / part).mkdir(parents=True)
    (experiment / identity / "meta.yaml").write_text(yaml.safe_dump(meta))
    for metric, lines in metrics.items():
        (experiment / identity / "metrics" / metric).write_text("".join(f"{x}\n" for x in lines))
    return experiment / identity


def damaged(folder, path, content):
    """What is read once a file has this content, or is gone."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    before = state(folder)
    stored = read_store(str(folder))
    assert state(folder) == before
    return stored


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("meta.yaml", b""),
        ("meta.yaml", b"run_id: [unfinished"),
        ("meta.yaml", b"run_id: somebody-elses"),
        ("meta.yaml", None),
        ("meta.yaml", META + b"status: 7\n"),
        ("meta.yaml", META + b"status:\n"),
        ("meta.yaml", META + b"start_time: noon\n"),
        ("metrics/loss", b""),
        ("metrics/loss", b"5 0.5 0\n6 0.2"),
        ("metrics/loss", b"5 0.5 0\n6\n"),
        ("metrics/loss", b"5 zero 0\n"),
        ("params/lr", b"\xff"),
    ],
)
def test_a_damaged_run_is_left_out_and_listed(folder, name, content):
    broken = folder / "1" / f"{RUN}1"
    stored = damaged(folder, broken / name, content)
    assert list(stored.runs.index) == [f"{RUN}0", f"{RUN}2"]
    assert stored.damaged == (str(broken),)


@pytest.mark.parametrize("name", ["meta.yaml", f"{RUN}0/meta.yaml"])
def test_a_store_of_which_nothing_can_be_read_names_a_file(tmp_path, name):
    top = tmp_path / "mlruns"
    experiment(top, "1", "one")
    run(top / "1", f"{RUN}0")
    (top / "1" / name).write_text("")
    with pytest.raises(DataError, match=re.escape(str((top / "1" / name).parent))):
        read_store(str(top))


@pytest.mark.parametrize("litter", ["tags/a", "datasets/b/meta.yaml", "traces/tr-1/trace_info.yaml",
                                    "models/m-1/meta.yaml", ".ipynb_checkpoints/meta.yaml",
                                    "b2/artifacts/model.bin"])  # fmt: skip
def test_what_is_no_run_is_passed_over(folder, litter):
    (folder / "1" / litter).parent.mkdir(parents=True)
    (folder / "1" / litter).write_text("")
    stored = read_store(str(folder))
    assert (len(stored.runs), stored.damaged) == (3, ())


def test_artifacts_are_never_opened(folder):
    artifact = folder / "1" / f"{RUN}0" / "artifacts" / "model"
    artifact.symlink_to("/nowhere")
    assert read_store(str(folder)).damaged == ()


def test_a_folder_with_only_artifacts_says_where_runs_may_be(tmp_path):
    (tmp_path / "mlruns" / "1" / RUN / "artifacts").mkdir(parents=True)
    with pytest.raises(DataError, match=r"a database: sqlite:///mlflow\.db"):
        read_store(str(tmp_path / "mlruns"))


def test_experiments_in_the_trash_are_deleted(folder):
    experiment(folder / ".trash", "2", "two")
    run(folder / ".trash" / "2", f"{RUN}9")
    runs = read_store(str(folder)).runs
    assert runs["deleted"].to_dict() == {f"{RUN}{n}": n == 9 for n in (0, 1, 2, 9)}


def test_one_name_for_several_experiments_is_told_with_their_ids(folder):
    experiment(folder, "7", "one")
    experiment(folder / ".trash", "8", "one", lifecycle_stage="deleted")
    with pytest.raises(ArgumentError, match=r"3 experiments .* 'one'.*: 1, 7, 8 \(deleted\)"):
        read_store(str(folder), experiments=["one"])
    assert len(read_store(str(folder), experiments=["1"]).runs) == 3


def test_a_run_in_two_experiments_counts_once(folder):
    experiment(folder, "2", "two")
    run(folder / "2", f"{RUN}0")
    stored = read_store(str(folder))
    assert list(stored.runs["experiment"]) == ["one"] * 3
    assert stored.damaged == (str(folder / "2" / f"{RUN}0"),)


def test_lines_of_mlflow_without_steps_and_with_data_sets(folder):
    lines = ["9 1.5", "8 2.5 -1 my data 3fa"]
    run(folder / "1", f"{RUN}5", loss=lines, worst=["1 nan 0", "1 -inf 1"])
    stored = read_store(str(folder))
    history = stored.history("loss").set_index("run").loc[f"{RUN}5"]
    assert history[["step", "value"]].to_numpy().tolist() == [[-1, 2.5], [0, 1.5]]
    assert stored.metrics.at[f"{RUN}5", "loss"] == 1.5
    assert stored.metrics.at[f"{RUN}5", "worst"] == -np.inf


def test_steps_of_metrics_with_a_data_set_as_mlflow_writes_them(tmp_path, monkeypatch):
    # MLflow itself takes each of their steps for 0 when it reads them back.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(f"file:{tmp_path}/mlruns")
    identity = client.create_run("0").info.run_id
    data = Dataset("digits", "3fa", "local", "here")
    for step, value in enumerate([0.5, 0.25]):
        metric = Metric("loss", value, 9 - step, step, None, data.name, data.digest)
        client.log_batch(identity, metrics=[metric])
    stored = read_store(str(tmp_path / "mlruns"))
    assert list(stored.history("loss")["step"]) == [0, 1]
    assert stored.metrics.at[identity, "loss"] == 0.25


def test_names_that_are_no_utf_8_can_be_printed(folder):
    latin = bytes(folder / "1" / f"{RUN}0" / "params") + b"/\xe9t\xe9"
    with open(latin, "w") as file:  # noqa: PTH123  A path in bytes.
        file.write("1")
    assert "\\xe9t\\xe9" in read_store(str(folder)).params


def test_runs_from_before_there_was_a_run_id_or_status(folder):
    old = run(folder / "1", f"{RUN}6")
    meta = {"run_uuid": f"{RUN}6", "experiment_id": 1, "name": "old one", "start_time": 1}
    (old / "meta.yaml").write_text(yaml.safe_dump(meta))
    row = read_store(str(folder)).runs.loc[f"{RUN}6"]
    assert (row["name"], row["status"], row["deleted"]) == ("old one", "RUNNING", False)


def test_a_filter_takes_runs_whose_start_is_unknown_or_0(folder):
    for number, start in ((7, None), (8, 0)):
        meta = {"run_id": f"{RUN}{number}", "experiment_id": "1", "start_time": start}
        (run(folder / "1", f"{RUN}{number}") / "meta.yaml").write_text(yaml.safe_dump(meta))
    stored = read_store(str(folder), where="attributes.status = 'RUNNING'")
    assert stored.damaged == ()
    assert dict(stored.runs["started"].fillna(-1)) == {f"{RUN}7": -1, f"{RUN}8": 0}
