import shutil
import tarfile
from pathlib import Path

import pytest
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from tests.faults.servers import Server

SHARED = Path(__file__).parents[3] / "shared" / "mlruns"
START = 1_700_000_000_000


def state(folder):
    """Everything in a folder, with its bytes and when it was changed."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else None,
        )
        for path in [folder, *folder.rglob("*")]
    }


def write(client):
    """Writes two experiments, one of them deleted, with what stores hold of runs."""
    sweep = client.create_experiment("sweep")
    first = client.create_run(sweep, START, run_name="first").info.run_id
    client.log_batch(
        first,
        metrics=[
            Metric("loss", 3.0, START, 0),
            Metric("loss", 1.0, START, 2),
            Metric("loss", 2.0, START + 9, 1),
            Metric("val/Δ", float("nan"), START, 0),
            Metric("peak", float("inf"), START, 0),
        ],
        params=[Param("lr", "0.1"), Param("net/depth", "3"), Param("note", "")],
        tags=[RunTag("team", "équipe")],
    )
    client.set_terminated(first, "FINISHED", START + 100)
    second = client.create_run(
        sweep, START + 1, {"mlflow.parentRunId": first}, run_name="second"
    ).info.run_id
    client.log_batch(
        second,
        # Of one step the latest counts, and of one moment the largest.
        metrics=[
            Metric("loss", 9.0, START, 5),
            Metric("loss", 4.0, START + 1, 5),
            Metric("loss", 5.0, START + 1, 5),
        ],
        params=[Param("lr", "0.2")],
    )
    client.set_terminated(second, "FAILED", START + 200)
    third = client.create_run(sweep, START + 2, run_name="third").info.run_id
    client.delete_run(third)
    old = client.create_experiment("old")
    fourth = client.create_run(old, START + 3, run_name="fourth").info.run_id
    client.delete_experiment(old)
    return {"first": first, "second": second, "third": third, "fourth": fourth}


@pytest.fixture(scope="session")
def stores(tmp_path_factory, empty_store):
    """The same store as a folder and as a database, written by MLflow; and the ids of each."""
    top = tmp_path_factory.mktemp("stores")
    shutil.copy(empty_store, top / "mlflow.db")
    written = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        for kind, address in {
            "folder": f"file:{top}/mlruns",
            "sqlite": f"sqlite:///{top}/mlflow.db",
        }.items():
            written[kind] = write(MlflowClient(address))
    return top, written


@pytest.fixture
def copied(stores, tmp_path):
    """A copy of both, in a folder with nothing beside them."""
    top, written = stores
    shutil.copytree(top / "mlruns", tmp_path / "mlruns")
    shutil.copy(top / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path, written


@pytest.fixture(scope="session")
def server(tmp_path_factory, stores):
    """MLflow's server, on a copy of the database."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(stores[0] / "mlflow.db", folder)
    one = Server(folder)
    one.start()
    yield one
    one.kill()


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Unpacks a copy of a store that strangers published; gives its folder and `expected.json`."""
    if not SHARED.is_dir():
        pytest.skip("the shared stores are not beside the project")

    def unpack(name):
        folder = tmp_path_factory.mktemp(name)
        with tarfile.open(SHARED / name / "mlruns.tar.gz") as packed:
            # Python before 3.11.4 has no filters.
            packed.extraction_filter = getattr(tarfile, "data_filter", None)
            packed.extractall(folder)  # noqa: S202  As it was published, and known.
        return folder / "mlruns", SHARED / name / "expected.json"

    return unpack
