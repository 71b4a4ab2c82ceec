import shutil
import sqlite3
from contextlib import closing

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import UnavailableError
from pipeline.stores.log import log_comparison
from tests.faults.servers import Server
from tests.stores.conftest import state

pytestmark = pytest.mark.slow


def test_a_database_gets_a_finished_run_with_the_report(copied):
    folder, _ = copied
    address = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(address)
    sweep = client.get_experiment_by_name("sweep").experiment_id
    for place in (str(folder / "mlflow.db"), address):
        run = client.get_run(log_comparison(place, sweep, "comparison of loss", "# Better\n"))
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "comparison of loss"
        assert run.info.experiment_id == sweep
        assert run.data.tags["mlflow.note.content"] == "# Better\n"


@pytest.fixture
def own_server(copied):
    """MLflow's server on a database that no other test reads."""
    one = Server(copied[0])
    one.start()
    yield one
    one.kill()


def test_a_server_gets_it_too(own_server):
    address = f"http://127.0.0.1:{own_server.port}"
    client = MlflowClient(address)
    sweep = client.get_experiment_by_name("sweep").experiment_id
    run = client.get_run(log_comparison(address, sweep, "comparison of loss", "# Better\n"))
    assert run.data.tags["mlflow.note.content"] == "# Better\n"


def test_of_a_long_report_the_beginning_is_logged_and_said_to_be(copied):
    folder, _ = copied
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    sweep = client.get_experiment_by_name("sweep").experiment_id
    run = log_comparison(str(folder / "mlflow.db"), sweep, "long", "word " * 4000)
    description = client.get_run(run).data.tags["mlflow.note.content"]
    assert len(description) <= 8000
    assert description.startswith("word word")
    assert "Cut off here" in description


def test_a_database_that_mlflow_would_upgrade_is_refused_and_left_as_it_is(copied):
    folder, _ = copied
    path = folder / "older.db"
    shutil.copy(folder / "mlflow.db", path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '97727af70f4d'")
        connection.commit()
    before = state(folder)
    with pytest.raises(UnavailableError, match="mlflow db upgrade") as told:
        log_comparison(str(path), "1", "comparison of loss", "# Better\n")
    assert "\n" not in str(told.value)
    assert state(folder) == before


def test_an_experiment_that_is_deleted_takes_nothing(copied):
    folder, _ = copied
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    old = client.get_experiment_by_name("old").experiment_id
    with pytest.raises(UnavailableError, match="does not take the comparison"):
        log_comparison(str(folder / "mlflow.db"), old, "comparison of loss", "# Better\n")
