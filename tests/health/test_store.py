import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.pool import NullPool

from pipeline.errors import PendingError
from pipeline.health import backups, doctor, store
from pipeline.provenance.places import tracking_uri
from tests.half_made import HALF_MADE, leave_journal

# MLflow 2.4's, before there were logged models.
OLD = "acf3f17fdcc7"


def execute(*statements):
    with closing(sqlite3.connect("mlflow.db")) as connection, connection:
        return [connection.execute(statement).fetchall() for statement in statements]


@pytest.fixture
def old_store(project):
    """Returns a store as an older MLflow made it."""
    from alembic import command  # noqa: PLC0415
    from mlflow.store.db.utils import _get_alembic_config  # noqa: PLC0415
    from mlflow.store.tracking.dbmodels.initial_models import Base  # noqa: PLC0415

    engine = sqlalchemy.create_engine(tracking_uri(), poolclass=NullPool)
    Base.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(tracking_uri()), OLD)
    # MLflow, of whatever version, goes on with this.
    execute("INSERT INTO experiments (experiment_id, name) VALUES (0, 'Default')")
    return project


def findings():
    return list(store.findings())


def test_a_store_of_this_mlflow_is_well(tracked_project):
    before = (tracked_project / "mlflow.db").read_bytes()

    assert store.is_made()
    assert not findings()
    assert (tracked_project / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("made", [False, True])
def test_a_store_that_does_not_exist_yet_is_well_and_not_created(project, made):
    if made:
        Path("mlflow.db").touch()

    assert not store.is_made()
    assert not findings()
    assert [(path.name, path.stat().st_size) for path in project.iterdir()] == [
        ("mlflow.db", 0)
    ] * made


@pytest.mark.slow
@pytest.mark.usefixtures("old_store")
def test_a_store_of_an_older_mlflow_is_reported_with_the_upgrade_command():
    before = Path("mlflow.db").read_bytes()

    (finding,) = findings()

    assert f"schema of an older MLflow, {OLD}" in finding.what
    assert finding.mend is None
    assert Path("mlflow.db").read_bytes() == before
    upgrade = re.search("`(mlflow db upgrade .*)`", finding.remedy)[1]
    subprocess.run([sys.executable, "-m", *shlex.split(upgrade)], check=True, capture_output=True)
    assert not findings()


def tables(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name FROM sqlite_master").fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("moment", HALF_MADE)
def test_a_store_that_is_half_made_is_set_aside_and_kept(leave_half_made, moment, capsys):
    path = leave_half_made(moment)
    path.with_name("mlflow.db.half-made").write_text("an earlier one")

    (finding,) = findings()
    assert "mlflow.db is half made and holds no run" in finding.what
    assert "--fix sets it aside" in finding.remedy
    before = tables(path)
    assert before
    doctor.run(["--fix"])

    aside = path.with_name("mlflow.db.half-made-2")
    (mended,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mended")]
    assert mended.endswith(f"; it is now {aside}")
    assert tables(aside) == before
    assert sorted(file.name for file in path.parent.glob("mlflow.db*")) == [
        "mlflow.db.half-made",
        aside.name,
    ]
    assert not findings()


@pytest.mark.slow
@pytest.mark.parametrize("moment", HALF_MADE)
def test_a_store_that_is_half_made_but_holds_a_run_is_not_touched(leave_half_made, moment):
    path = leave_half_made(moment)
    execute("INSERT INTO runs (run_uuid, name) VALUES ('r', 'mine')")
    before = path.read_bytes()

    found = findings()
    doctor.run(["--fix"])

    assert [finding.mend for finding in found] == [None]
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_store_that_was_completed_in_the_meantime_is_not_set_aside(leave_half_made, empty_store):
    path = leave_half_made("between two migrations")
    (finding,) = findings()
    shutil.copy(empty_store, path)

    with pytest.raises(PendingError, match="has changed in the meantime"):
        finding.mend()

    assert [file.name for file in path.parent.glob("mlflow.db*")] == ["mlflow.db"]


@pytest.mark.usefixtures("tracked_project")
def test_a_store_whose_writer_was_killed_is_well():
    before = execute("SELECT * FROM experiments")
    leave_journal(Path("mlflow.db"))

    assert not findings()

    assert execute("SELECT * FROM experiments") == before


@pytest.mark.usefixtures("tracked_project")
def test_a_store_of_a_newer_mlflow_is_reported_and_not_mended():
    execute("UPDATE alembic_version SET version_num = 'ffff00001111'")

    (finding,) = findings()

    assert "newer MLflow than is installed, ffff00001111" in finding.what
    assert "`make setup`" in finding.remedy
    assert finding.mend is None


@pytest.mark.usefixtures("project")
def test_a_file_that_is_not_a_database_is_reported():
    Path("mlflow.db").write_text("I am no database, and long enough to be seen as what I am. " * 9)

    (finding,) = findings()

    assert "mlflow.db is damaged: file is not a database" in finding.what
    assert "move it away" in finding.remedy


@pytest.mark.usefixtures("tracked_project")
def test_a_truncated_database_is_reported():
    whole = Path("mlflow.db").read_bytes()
    Path("mlflow.db").write_bytes(whole[: len(whole) // 2])

    (finding,) = findings()

    assert "mlflow.db is damaged: database disk image is malformed" in finding.what


@pytest.mark.usefixtures("tracked_project")
def test_a_database_damaged_inside_is_reported():
    content = bytearray(Path("mlflow.db").read_bytes())
    # The head of a page in the middle; the table of contents stays whole.
    content[4096 * 100 : 4096 * 100 + 8] = bytes(8)
    Path("mlflow.db").write_bytes(content)

    (finding,) = findings()

    assert "mlflow.db is damaged: " in finding.what


@pytest.mark.usefixtures("tracked_project")
def test_a_database_in_use_is_reported_and_left_alone(monkeypatch):
    monkeypatch.setattr(backups, "_PATIENCE_SECONDS", 0.1)
    with closing(sqlite3.connect("mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(PendingError, match="database is locked"):
            findings()


@pytest.mark.usefixtures("project")
def test_a_database_of_another_program_is_reported():
    execute("CREATE TABLE other (x)")

    (finding,) = findings()

    assert "a database, but not one of MLflow's" in finding.what
    assert finding.mend is None


@pytest.mark.usefixtures("tracked_project")
def test_a_store_in_another_folder_is_checked(monkeypatch, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("a b%20c") / "other.db"
    shutil.move("mlflow.db", elsewhere)
    quoted = str(elsewhere).replace("%", "%25").replace(" ", "%20")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{quoted}")

    assert store.database() == elsewhere
    assert store.is_made()
    assert not findings()


class Handler(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("status", "told"), [(200, []), (503, ["answers HTTP 503"])])
@pytest.mark.usefixtures("project")
def test_a_server_is_asked_whether_it_is_well(monkeypatch, status, told):
    monkeypatch.setattr(Handler, "status", status)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://a:b@127.0.0.1:{server.server_port}")
        said = findings()
        server.shutdown()

    assert [finding.what.split(" ", 4)[-1] for finding in said] == told


@pytest.mark.usefixtures("project")
def test_a_lost_server_is_reported_without_its_password(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as freed:
        port = freed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")

    (finding,) = findings()

    assert finding.what == f"the MLflow server http://127.0.0.1:{port} does not answer"


@pytest.mark.usefixtures("tracked_project")
def test_a_copy_does_not_replace_an_earlier_copy():
    kept = [backups.keep_copy(Path("mlflow.db"), "test").name for _ in range(3)]

    assert kept == ["mlflow.db.before-test", "mlflow.db.before-test-2", "mlflow.db.before-test-3"]
