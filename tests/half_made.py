"""Databases as MLflow leaves them when it is killed while it makes one, after a given statement."""

import os
import signal
import subprocess
import sys

# What MLflow can go on with itself is half made as well: it holds nothing, and it would be filled
# in place.
HALF_MADE = {
    "some of the first tables": "CREATE TABLE runs",
    "all of the first tables": "CREATE TABLE metrics",
    "no revision": "ALTER TABLE metrics ADD COLUMN step",
    "between two migrations": "version_num='728d730b5ebd'",
    "within a migration": "CREATE TABLE jobs",
    "within a transaction": "DROP TABLE experiments",
}
# MLflow opens these as if nothing had happened.
OTHERS = {"an empty file": "PRAGMA", "no experiment yet": "version_num='{head}'"}

_PROGRAM = """
import os, signal, sys
from pathlib import Path
from alembic.script import ScriptDirectory
import mlflow
from sqlalchemy import event
from sqlalchemy.engine import Engine

def kill_after(text):
    def look(_, __, statement, *___):
        if done:
            os.kill(os.getpid(), signal.SIGKILL)
        if text in " ".join(statement.split()):
            done.append(statement)
    done = []
    event.listen(Engine, "before_cursor_execute", look)

# Nobody cuts the power.
event.listen(Engine, "connect", lambda opened, _: opened.execute("PRAGMA synchronous = OFF"))
migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
head = ScriptDirectory(str(migrations)).get_current_head()
for name, text in zip(sys.argv[1::2], sys.argv[2::2]):
    Path(name).mkdir()
    pid = os.fork()
    if pid == 0:
        kill_after(text.format(head=head))
        os.chdir(name)
        mlflow.MlflowClient("sqlite:///mlflow.db")
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL, name
"""


def make(folder):
    """Makes all of them, in a folder each."""
    moments = [word for moment in (HALF_MADE | OTHERS).items() for word in moment]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    subprocess.run(
        [sys.executable, "-c", _PROGRAM, *moments],
        cwd=folder, env=environment, check=True, capture_output=True,
    )  # fmt: skip


_WRITER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
row = "INSERT INTO experiments (experiment_id, name) VALUES (?, ?)"
connection.executemany(row, ((5 + n, f"{n} " * 200) for n in range(2000)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_journal(path):
    """Has a process killed in the middle of a change to a database."""
    killed = subprocess.run([sys.executable, "-c", _WRITER, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0
