"""Small runs, really trained, recorded in MLflow and trained again."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import h5py
import mlflow
import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, read_prepared, write_prepared
from pipeline.execution import train
from pipeline.params import (
    Comparison,
    Data,
    Optimizer,
    Params,
    Tracking,
    Training,
    Variant,
)
from pipeline.provenance import lineage
from pipeline.provenance.lineage import present_lineage, read_journal
from pipeline.reproduction import reproduce, retrain
from pipeline.runs.manifest import Manifest, read_manifest
from pipeline.runs.tables import read_history, run_folder
from pipeline.tracking import comparison, recorded
from pipeline.tracking.records import history_points, run_files, run_record
from pipeline.tracking.store import RunRecord, Store
from pipeline.tracking.trained_on import TrainedOn
from pipeline.training.normalization import BatchNorm, NoNorm
from tests.networks import dense

pytestmark = pytest.mark.slow

NETWORK = dense(hidden_dims=(6,), activation="relu")
TRAINING = Training(
    epochs=2, batch_size=8, seeds=2, optimizer=Optimizer(name="adam", learning_rate=0.01)
)
VARIANTS = {
    "batch_norm": Variant(
        label="With BN",
        normalization=BatchNorm(momentum=0.9, epsilon=0.001, center=True, scale=True),
        network=NETWORK,
        training=TRAINING,
    ),
    "no_norm": Variant(
        label="Without BN", normalization=NoNorm(), network=NETWORK, training=TRAINING
    ),
}
PARAMS = Params(
    data=Data(dataset="digits", path="data/raw", validation_size=20),
    network=NETWORK,
    training=TRAINING,
    variants=VARIANTS,
    comparison=Comparison(
        baseline="no_norm", candidate="batch_norm", measure="accuracy", confidence=0.95
    ),
    tracking=Tracking(experiment="digits"),
)


def examples(count, rng):
    return Examples(
        rng.integers(0, 256, (count, 5, 4), np.uint8), rng.integers(0, 3, count).astype(np.uint8)
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, empty_store):
    """A project whose four runs are complete in its store."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        shutil.copy(empty_store, "mlflow.db")
        write_prepared(
            PREPARED_FILE,
            Dataset(examples(80, rng), examples(20, rng), examples(9, rng), ("a", "b", "c")),
        )
        store, ids = Store("digits"), []
        for name in VARIANTS:
            train.run(PARAMS, name, workers=1)
            manifest, history = read_manifest(name), read_history(name)
            for seed in manifest.seeds:
                lineage = read_journal(manifest.fingerprint(seed))
                run = store.open(run_record(manifest, seed, lineage))
                store.log(run, history_points(history, seed))
                data = TrainedOn.of("digits", read_prepared())
                store.log_model(run, run_folder(name, seed), data, read_prepared().test.inputs)
                store.log_files(run, run_files(manifest, seed, lineage))
                store.finish(run)
                ids.append(run.info.run_id)
        both = store.open(RunRecord("c", "both", tags={"kind": "comparison"}))
        store.log_files(both, comparison.files(ids))
    return folder


@pytest.fixture
def project(project, trained, monkeypatch):
    """That project as the current folder."""
    assert project != trained
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def compiled(share_compiled, monkeypatch):
    """For tests of what is told: that it is the same when compiled again is tested before."""
    share_compiled(monkeypatch)


def client(project):
    return mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")


@contextmanager
def tagged(project, name, key, value):
    """Changes a run's tag while the block lasts; yields its former value."""
    run = recorded.find(name)
    client(project).set_tag(run.info.run_id, key, value)
    try:
        yield run.data.tags[key]
    finally:
        client(project).set_tag(run.info.run_id, key, run.data.tags[key])


def again(names, workers=1):
    """Does what the command `reproduce` does."""
    chosen = reproduce.named(names)
    reproduce.expect_present_inputs(chosen)
    return retrain.run(chosen, workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_is_bit_identical_whatever_the_number_of_workers(project, capsys, workers):
    run_id = recorded.find("batch_norm-seed-01").info.run_id
    before = client(project).get_run(run_id).data.tags

    assert again(["batch_norm-seed-01"], workers)

    (line,) = capsys.readouterr().out.splitlines()
    # Of 5 x 4 pixels, 6 units and 3 classes: kernels, biases, and four values a normalised unit.
    weights = (20 * 6 + 6) + 4 * 6 + (6 * 3 + 3)
    assert line.startswith(f"batch_norm-seed-01 ({run_id[:8]}, commit ")
    assert line.endswith(f"bit-identical: 2 epochs' scores and {weights} weights")
    tags = client(project).get_run(run_id).data.tags
    assert int(tags["reproductions"]) == int(before.get("reproductions", 0)) + 1
    (new,) = (name for name in tags.keys() - before.keys() if name.startswith("reproduction."))
    assert tags[new].startswith("bit-identical on ")


@pytest.mark.usefixtures("project")
def test_a_comparison_stands_for_its_runs(capsys):
    assert again(["both"])

    *lines, total = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "batch_norm-seed-00", "batch_norm-seed-01", "no_norm-seed-00", "no_norm-seed-01",
    ]  # fmt: skip
    assert all("bit-identical" in line for line in lines)
    assert total == "4 of 4 runs came out the same"


@pytest.mark.usefixtures("project")
def test_all_means_the_runs_of_the_present_files():
    names = [run.name for run in reproduce.runs_of(PARAMS)]

    assert names == [
        "batch_norm-seed-00",
        "batch_norm-seed-01",
        "no_norm-seed-00",
        "no_norm-seed-01",
    ]


@pytest.fixture
def flipped_weight(project):
    """Moves one recorded weight by one unit in the last place while the test lasts."""
    run = recorded.find("no_norm-seed-00")
    model_id = recorded.model_of(run)
    (path,) = (project / "mlartifacts" / "models" / model_id).rglob("*.weights.h5")
    kept = path.read_bytes()
    with h5py.File(path, "r+") as file:
        datasets = []
        file.visititems(
            lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None
        )
        largest = max(datasets, key=lambda one: one.size)
        values = largest[...]
        values[0, 0] = np.nextafter(values[0, 0], np.float32(9))
        largest[...] = values
    yield
    path.write_bytes(kept)


@pytest.mark.usefixtures("compiled", "flipped_weight")
def test_one_bit_of_one_weight_is_found(capsys):
    assert not again(["no_norm-seed-00"])

    (line,) = capsys.readouterr().out.splitlines()
    assert "differs: first in weights of dense_0/kernel, by " in line
    assert line.endswith("accuracies by at most 0, losses by 0")


@pytest.fixture
def other_score(project):
    """Changes the validation loss recorded for the last epoch while the test lasts."""
    run_id = recorded.find("no_norm-seed-01").info.run_id
    points = client(project).get_metric_history(run_id, "validation/loss")
    point = max(points, key=lambda one: (one.step, one.timestamp))

    def record(value, timestamp):
        client(project).log_metric(run_id, "validation/loss", value, timestamp, 1)

    record(point.value + 0.03, point.timestamp + 1)
    yield point.value
    record(point.value, point.timestamp + 2)


@pytest.mark.usefixtures("compiled", "other_score")
def test_the_first_score_that_differs_is_named(capsys):
    assert not again(["no_norm-seed-01"])

    told = capsys.readouterr().out
    assert "differs: first in epoch 1, validation loss, by 0.03;" in told


@pytest.mark.usefixtures("compiled", "other_score")
@pytest.mark.parametrize("tag", ["cpu.type", "cpu.architecture"])
def test_on_another_processor_a_run_may_be_within_tolerance_and_the_output_says_so(
    project, capsys, tag
):
    with (
        tagged(project, "no_norm-seed-01", tag, "Another"),
        tagged(project, "no_norm-seed-01", "bits.portable", "false"),
    ):
        assert again(["no_norm-seed-01"])

    told = capsys.readouterr().out
    assert (
        "within tolerance: another type of processor rounds differently; differs first in epoch 1"
        in told
    )
    assert "tolerances are 0.02 and 0.06" in told


@pytest.mark.usefixtures("compiled", "other_score")
def test_another_processor_within_the_promise_should_give_the_same_bits(
    project, capsys, monkeypatch
):
    monkeypatch.setattr(lineage, "outside_promise", lambda _: None)
    with (
        tagged(project, "no_norm-seed-01", "cpu.type", "Another"),
        tagged(project, "no_norm-seed-01", "bits.portable", "true"),
    ):
        assert not again(["no_norm-seed-01"])
    assert "differs: first in epoch 1" in capsys.readouterr().out


@pytest.fixture
def tracked_later(project):
    """Has a run the lineage of whoever tracked it, on another machine, while the test lasts."""
    run_id = recorded.find("no_norm-seed-01").info.run_id
    client(project).set_tag(run_id, "lineage.of", "tracking, not training")
    with (
        tagged(project, "no_norm-seed-01", "cpu.type", "Another"),
        tagged(project, "no_norm-seed-01", "keras.version", "2.0.0"),
    ):
        yield
    client(project).delete_tag(run_id, "lineage.of")


@pytest.mark.usefixtures("compiled", "other_score", "tracked_later")
def test_of_an_unknown_processor_it_is_not_said_to_be_another(capsys):
    assert again(["no_norm-seed-01"])

    told = capsys.readouterr().out
    assert "within tolerance: it is not known which processor made the record, and another" in told
    # Nor are the versions known.
    assert "2.0.0" not in told


@pytest.mark.usefixtures("compiled")
def test_other_versions_are_reported(project, capsys):
    with tagged(project, "no_norm-seed-00", "keras.version", "2.0.0") as kept:
        assert again(["no_norm-seed-00"])

    assert f"(keras 2.0.0 then, {kept} now)" in capsys.readouterr().out


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("code_sha256",), "from different code, at"),
        (("sha256",), "from different data, at"),
        (("code_sha256", "sha256"), "from different code and data, at"),
    ],
)
def test_an_input_that_is_not_the_recorded_one_is_named(monkeypatch, changed, told):
    for name in changed:
        monkeypatch.setattr(reproduce, name, lambda *_: "another hash")

    with pytest.raises(PipelineError, match=f"no_norm-seed-00 was made {told}.*--checkout"):
        again(["no_norm-seed-00"])


@pytest.mark.usefixtures("project")
def test_there_is_nothing_to_check_out_of_a_run_made_outside_git():
    if "mlflow.source.git.commit" in recorded.find("no_norm-seed-00").data.tags:
        pytest.skip("the temporary folder lies in a git repository")
    with pytest.raises(PipelineError, match="no_norm-seed-00 was made outside git"):
        reproduce.run_in_worktrees(reproduce.named(["no_norm-seed-00"]))


COMMIT = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit")
# Stands in for the pipeline of a past commit: writes down what it finds, and trains nothing.
PAST_PIPELINE = """
import os, pathlib, sys
command, *runs = sys.argv[1:]
found = [pathlib.Path(name).read_text().strip() for name in ("rate", "new") if os.path.exists(name)]
with open(os.environ["DVC_ROOT"] + "/told", "a") as told:
    print(command, len(runs), *found, file=told)
sys.exit(command == "reproduce" and pathlib.Path("rate").read_text() == "broken\\n")
"""


@pytest.fixture
def states(tmp_path, empty_store, monkeypatch):
    """Records runs of a repository with changes, then undoes the changes."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_", "MLFLOW_TRACK"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, "mlflow.db")
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/__main__.py").write_text(PAST_PIPELINE)
    (tmp_path / "rate").write_text("committed\n")
    (tmp_path / ".gitignore").write_text("/mlflow.db*\n/mlartifacts/\n/.bnlab/\n/told\n")
    for command in (["git", "init", "-q"], ["git", "add", "."], [*COMMIT, "-qm", "Then"]):
        subprocess.run(command, check=True)
    store = Store("digits")

    def record(variant, seeds, **changes):
        for name, content in changes.items():
            (tmp_path / name).write_text(content)
        lineage = present_lineage()
        manifest = Manifest(variant, {"normalization": "none"}, seeds, "da7a", "c0de")
        for seed in seeds:
            run = store.open(run_record(manifest, seed, lineage))
            store.log_files(run, run_files(manifest, seed, lineage))
            store.finish(run)
        subprocess.run(["git", "checkout", "-q", "."], check=True)
        subprocess.run(["git", "clean", "-fdq"], check=True)

    return record


def test_a_run_is_retrained_with_the_uncommitted_changes_that_it_was_made_with(states, tmp_path):
    states("plain", (0,))
    states("dirty", (0, 1), rate="changed\n", new="added\n")

    chosen = reproduce.named(["plain-seed-00", "dirty-seed-00", "dirty-seed-01"])
    assert reproduce.run_in_worktrees(chosen)

    # The two runs of one state share a worktree.
    assert (tmp_path / "told").read_text().splitlines() == [
        "download 0 committed", "prepare 0 committed", "reproduce 1 committed",
        "download 0 changed added", "prepare 0 changed added", "reproduce 2 changed added",
    ]  # fmt: skip
    assert (tmp_path / "rate").read_text() == "committed\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_data_that_dvc_tracks_is_brought_from_the_cache_or_a_remote(states, tmp_path):
    def dvc(*command):
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True, capture_output=True)

    def give(rate):
        # The data as they were then, and other data now.
        Path("own/rate").write_text(f"{rate}\n")
        dvc("add", "own")
        Path("params.yaml").write_text("data: {path: own/rate}\n")
        subprocess.run(["git", "add", "."], check=True)
        subprocess.run([*COMMIT, "-qm", rate], check=True)

    dvc("init", "-q")
    dvc("remote", "add", "-q", "-d", "there", str(tmp_path.parent / "there"))
    (tmp_path / "own").mkdir()
    (tmp_path / "pipeline/__main__.py").write_text(PAST_PIPELINE.replace('"rate"', '"own/rate"'))
    give("then")
    states("tracked", (0,))
    give("now")

    def told():
        assert reproduce.run_in_worktrees(reproduce.named(["tracked-seed-00"]))
        return (tmp_path / "told").read_text().splitlines()[-1]

    assert told() == "reproduce 1 then"
    dvc("push", "--all-commits")
    shutil.rmtree(".dvc/cache")
    assert told() == "reproduce 1 then"
    assert Path("own/rate").read_text() == "now\n"
    shutil.rmtree(".dvc/cache")
    shutil.rmtree(tmp_path.parent / "there")
    with pytest.raises(PipelineError, match=r"own, as it was at commit .* is neither in DVC's"):
        told()


def test_one_state_that_comes_out_differently_is_enough(states):
    states("broken", (0,), rate="broken\n")
    states("plain", (0,))

    assert not reproduce.run_in_worktrees(reproduce.named(["broken-seed-00", "plain-seed-00"]))
