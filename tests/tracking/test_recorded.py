import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from pipeline.errors import ArgumentError, DataError, MissingInputError, PendingError
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.tracking import comparison, recorded
from pipeline.tracking.records import run_files, run_record
from pipeline.tracking.store import Point, RunRecord, Store
from pipeline.training.normalization import BatchNorm
from tests.networks import DENSE

PARAMETERS = {
    "normalization": "batch",
    "momentum": 0.99,
    "epsilon": 0.001,
    "center": True,
    "scale": True,
    "network": {"code": DENSE, "hidden_dims": [32, 16], "activation": "relu"},
    "training": {
        "epochs": 2,
        "batch_size": 32,
        "optimizer": {"name": "adam", "learning_rate": 0.01, "epsilon": 1e-8},
    },
}
MANIFEST = Manifest("batch_norm", PARAMETERS, (0, 1), "da7a", "c0de")
LINEAGE = Lineage({"threads": "2"}, b"diff\xff")
POINTS = [
    Point("train/loss", 0.5, 0), Point("train/accuracy", 0.75, 0),
    Point("validation/loss", 0.625, 0), Point("validation/accuracy", 0.5, 0),
    Point("train/loss", 0.1234567, 1), Point("train/accuracy", 0.875, 1),
    Point("validation/accuracy", 0.625, 1), Point("test/accuracy", 0.9),
]  # fmt: skip


@pytest.fixture
def store(tracked_project):
    assert tracked_project == Path.cwd()
    return Store("digits")


def record(store, seed, manifest=MANIFEST):
    """Returns the id of a finished run with history and manifest."""
    run = store.open(run_record(manifest, seed, LINEAGE))
    store.log(run, POINTS)
    store.log_files(run, run_files(manifest, seed, LINEAGE))
    store.finish(run)
    return run.info.run_id


def test_a_run_is_found_by_id_name_and_prefix_of_either(store):
    first, other = record(store, 0), record(store, 1)

    assert recorded.find(first).info.run_id == first
    assert recorded.find(first[:12]).info.run_id == first
    assert recorded.find("batch_norm-seed-01").info.run_id == other
    with pytest.raises(ArgumentError, match=r"'batch_norm' is not one run but several"):
        recorded.find("batch_norm")


def test_runs_of_every_experiment_are_found(store):
    record(store, 0)
    elsewhere = record(Store("other digits"), 1)

    assert recorded.find("batch_norm-seed-01").info.run_id == elsewhere


@pytest.mark.parametrize(
    "text",
    ["layer_norm-seed-00", "batchXnorm-seed-00", "x' or 1=1", "%", "_", "a b", "../x", "", "é%"],
)
def test_a_run_that_does_not_exist_is_reported(store, text):
    record(store, 0)

    with pytest.raises(MissingInputError, match=r"no run in MLflow"):
        recorded.find(text)


def test_of_runs_with_the_same_name_the_one_on_disk_is_taken(store):
    other = Manifest("batch_norm", PARAMETERS | {"momentum": 0.9}, (0, 1), "da7a", "c0de")
    record(store, 0, other)
    here = record(store, 0)
    with pytest.raises(
        ArgumentError, match=r"is not one run but several: .*batch_norm-seed-00 \(\w{8}\)"
    ):
        recorded.find("batch_norm-seed-00")

    write_manifest(MANIFEST)

    assert recorded.find("batch_norm-seed-00").info.run_id == here


def test_a_run_is_found_by_fingerprint_once_it_is_finished(store):
    open_run = store.open(run_record(MANIFEST, 1, LINEAGE)).info.run_id
    assert recorded.find_by_fingerprint(MANIFEST.fingerprint(1)) is None

    assert record(store, 1) == open_run
    assert recorded.find_by_fingerprint(MANIFEST.fingerprint(1)).info.run_id == open_run


def test_what_was_recorded_is_read_back(store):
    read = recorded.read(recorded.find(record(store, 1)))

    assert read.name == "batch_norm-seed-01"
    assert read.seed == 1
    assert read.manifest == Manifest("batch_norm", PARAMETERS, (1,), "da7a", "c0de")
    assert read.lineage["threads"] == "2"
    assert read.test == {"accuracy": 0.9}
    pd.testing.assert_frame_equal(
        read.history,
        pd.DataFrame(
            [
                (1, 0, "train", 0.5, 0.75),
                (1, 0, "validation", 0.625, 0.5),
                (1, 1, "train", 0.1234567, 0.875),
                (1, 1, "validation", float("nan"), 0.625),
            ],
            columns=["seed", "epoch", "split", "loss", "accuracy"],
        ),
    )
    assert recorded.read_patch(read) == b"diff\xff"


def test_the_variant_is_rebuilt_from_what_was_recorded(store):
    variant = recorded.read(recorded.find(record(store, 0))).variant

    assert variant.parameters == PARAMETERS
    assert variant.normalization == BatchNorm(momentum=0.99, epsilon=0.001, center=True, scale=True)
    assert variant.network.hidden_dims == [32, 16]


@pytest.mark.parametrize(
    "change",
    [
        {"normalization": "group"},
        {"network": {}},
        {"network": {"code": DENSE, "depth": 3}},
        {"color": "red"},
    ],
)
def test_parameters_unknown_to_this_version_are_reported(store, change):
    manifest = Manifest("batch_norm", PARAMETERS | change, (0,), "da7a", "c0de")
    read = recorded.read(recorded.find(record(store, 0, manifest)))

    with pytest.raises(DataError, match="batch_norm-seed-00 has unknown parameters"):
        _ = read.variant


def test_a_run_without_a_manifest_is_reported(store):
    store.finish(store.open(run_record(MANIFEST, 0, LINEAGE)))

    with pytest.raises(DataError, match=r"holds no lineage/manifest\.json"):
        recorded.read(recorded.find("batch_norm-seed-00"))


def test_a_foreign_run_is_reported(store):
    assert store
    client = mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    client.create_run("0", run_name="foreign")

    with pytest.raises(ArgumentError, match="foreign is not a trained run"):
        recorded.read(recorded.find("foreign"))


def test_a_comparison_names_its_runs(store):
    ids = [record(store, 0), record(store, 1)]
    run = store.open(RunRecord("f", "a-against-b", tags={"kind": "comparison"}))
    store.log_files(run, comparison.files(ids))

    read = recorded.read_compared(recorded.find("a-against-b"))

    assert [one.info.run_id for one in read] == ids


def test_reproductions_are_counted_and_told_apart(store):
    read = recorded.read(recorded.find(record(store, 0)))

    recorded.note_reproduction(read, "bit-identical on this")
    recorded.note_reproduction(read, "differs on that")

    tags = recorded.find(read.id).data.tags
    assert tags["reproductions"] == "2"
    noted = {name: said for name, said in tags.items() if name.startswith("reproduction.")}
    assert sorted(noted.values()) == ["bit-identical on this", "differs on that"]
    assert all(re.match(r"reproduction\.\d{4}-\d\d-\d\d \d\d:", name) for name in noted)


def test_none_is_lost_of_the_reproductions_that_two_clones_note_at_once(store, monkeypatch):
    read = recorded.read(recorded.find(record(store, 0)))
    # The lock is a file beside the checkout, of which other clones know nothing.
    monkeypatch.setattr(recorded, "store_lock", nullcontext)

    def note(place):
        recorded.note_reproduction(read, f"on {place}")

    with ThreadPool(4) as pool:
        pool.map(note, range(8), chunksize=1)

    tags = recorded.find(read.id).data.tags
    assert tags["reproductions"] == "8"
    assert {said for name, said in tags.items() if name.startswith("reproduction.")} == {
        f"on {place}" for place in range(8)
    }


def test_a_missing_store_is_not_created(project):
    with pytest.raises(MissingInputError, match=r"mlflow\.db is not here"):
        recorded.find("batch_norm-seed-00")

    assert not list(project.iterdir())


def test_a_store_in_a_folder_with_odd_letters_is_found(store, tmp_path_factory, monkeypatch):
    record(store, 0)
    odd = tmp_path_factory.mktemp("odd") / "50% of #1"
    shutil.copytree(Path.cwd(), odd)
    monkeypatch.chdir(odd)

    assert recorded.find("batch_norm-seed-00").info.run_name == "batch_norm-seed-00"


def test_a_file_that_is_not_a_store_is_reported(project):
    (project / "mlflow.db").write_text("no database, whatever its name says; " * 100)

    with pytest.raises(PendingError, match="MLflow does not answer"):
        recorded.find("batch_norm-seed-00")


def test_a_run_of_a_deleted_experiment_is_not_called_missing(store, project):
    first = record(store, 0)
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.delete_experiment(client.get_run(first).info.experiment_id)
    told = "the experiment digits was deleted in MLflow: `python -m pipeline doctor --fix`"

    for name in (first, "batch_norm-seed-00"):
        with pytest.raises(PendingError, match=told):
            recorded.find(name)
    with pytest.raises(PendingError, match=told):
        recorded.find_by_fingerprint(MANIFEST.fingerprint(0))
    with pytest.raises(MissingInputError):
        recorded.find("batch_norm-seed-07")


def test_of_very_many_runs_of_a_name_a_few_are_named(store):
    ids = {record(store, 0, replace(MANIFEST, code_sha256=str(number))) for number in range(8)}

    with pytest.raises(ArgumentError) as several:
        recorded.find("batch_norm-seed-00")

    assert sum(run_id[:8] in str(several.value) for run_id in ids) == 5
    assert str(several.value).endswith(", …; give an id")
