"""Runs Python's commands in forks of a process that has imported TensorFlow and MLflow already.

Importing them takes five and three seconds of a processor. Until they are used they start no
thread and open no file, so that a fork does what a new process would. Nothing of this project is
imported before the fork.

    python server.py SOCKET

The socket is a number of one that listens. The server imports when it is first asked, and ends when
its stdin does: with whoever started it.
"""

import builtins
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress

HEAVY = (
    "dvc.cli.parser", "dvc.repo.experiments.queue.celery", "keras", "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store", "pandas", "scipy.stats", "tensorflow",
)  # fmt: skip


def main(listening):
    """Serves until stdin ends; in a fork that is to run a command, returns what was asked."""
    is_loaded = False
    while True:
        asked, _, _ = select.select([listening, sys.stdin], [], [])
        if listening not in asked:
            return None
        connection, _ = listening.accept()
        if not is_loaded:
            for name in HEAVY:
                importlib.import_module(name)
            gc.freeze()
            is_loaded = True
        if os.fork() == 0:
            listening.close()
            return attend(connection)
        connection.close()
        with suppress(ChildProcessError):
            while any(os.waitpid(-1, os.WNOHANG)):
                pass


def attend(connection):
    """Forks once more, for the command; hands it signals, and says how it ended."""
    request, files, _, _ = socket.recv_fds(connection, 1 << 18, 3)
    pid = os.fork()
    if pid == 0:
        connection.close()
        return json.loads(request), files
    for file in (*files, 0, 1, 2):
        os.close(file)
    ended = os.pidfd_open(pid)
    while ended not in select.select([connection, ended], [], [])[0]:
        # Whoever asked, and was killed, sends nothing.
        number = connection.recv(1)
        os.kill(pid, number[0] if number else signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def become(asked, files):
    """Runs a command as this process."""
    for place, file in enumerate(files):
        os.dup2(file, place)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [asked["folder"], *filter(None, path)]
    how, what, *arguments = asked["arguments"]
    sys.argv = [how, *arguments]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__", "__builtins__": builtins})  # noqa: S102  As `-c` does.


if command := main(socket.socket(fileno=int(sys.argv[1]))):
    become(*command)
