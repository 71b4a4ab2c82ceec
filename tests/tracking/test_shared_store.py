"""Several clones bring one store up to date at once: each run is there once, and nobody fails."""

import shutil

import pytest

from tests.faults.clones import expect_each_once, track_at_once, write_clones
from tests.faults.servers import Server

pytestmark = pytest.mark.slow
CLONES, ROUNDS = 4, 3


@pytest.fixture(params=["sqlite", "server on sqlite", "postgresql", "server on postgresql"])
def shared(request, project, empty_store):
    """The address of a store of each kind, with its schema and nothing in it."""
    folder = project / "store"
    folder.mkdir()
    if request.param.endswith("postgresql"):
        uri = request.getfixturevalue("new_postgres_store")()
    else:
        shutil.copy(empty_store, folder / "mlflow.db")
        uri = f"sqlite:///{folder}/mlflow.db"
    if not request.param.startswith("server"):
        yield uri
        return
    server = Server(folder)
    server.start(MLFLOW_TRACKING_URI=uri)
    yield server.uri()
    server.kill()


def test_clones_that_track_the_same_runs_at_once_add_each_once(shared, project):
    folders = write_clones(project, CLONES, ROUNDS)

    track_at_once(folders, shared)

    assert expect_each_once(shared, ROUNDS) == ROUNDS * 5
