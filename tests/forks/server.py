"""Runs Python's commands in forks of a process that has imported TensorFlow and MLflow already.

Importing them takes five and three seconds of a processor. Until they are used they start no
thread and open no file, so that a fork does what a new process would. Nothing of this project is
imported before the fork.

    python server.py SOCKET

The socket is a number of one that listens. The server imports when it is first asked, and ends when
its stdin does: with whoever started it.
"""

import atexit
import builtins
import functools
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
    # By what tells that a command has ended: who asked for it, and its process.
    running = {}
    while True:
        connections = [connection for connection, _ in running.values()]
        ready, _, _ = select.select([listening, sys.stdin, *running, *connections], [], [])
        if sys.stdin in ready:
            return None
        for ended, (connection, pid) in list(running.items()):
            if ended in ready:
                tell_the_end(connection, pid)
                os.close(ended)
                del running[ended]
            elif connection in ready:
                # A signal; of a client that was killed itself, nothing.
                number = connection.recv(1)
                os.kill(pid, number[0] if number else signal.SIGKILL)
        if listening in ready:
            connection, _ = listening.accept()
            request, files, _, _ = socket.recv_fds(connection, 1 << 18, 3)
            import_all()
            pid = os.fork()
            if pid == 0:
                for one in (listening, connection, *connections):
                    one.close()
                return json.loads(request), files
            for file in files:
                os.close(file)
            running[os.pidfd_open(pid)] = connection, pid


@functools.cache
def import_all():
    for name in HEAVY:
        importlib.import_module(name)
    # What is there already is looked through by no fork, and so is copied by none.
    gc.freeze()


def tell_the_end(connection, pid):
    _, status = os.waitpid(pid, 0)
    with suppress(ConnectionError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    connection.close()


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


def leave():
    """Ends the process where Python would begin to take apart all that was ever imported.

    To do so it writes to it, so that a fork first copies it.
    """
    for file in (sys.stdout, sys.stderr):
        with suppress(OSError):
            file.flush()
    os._exit(ended_with)


ended_with = 0
# Registered first, it is called last, once threads have ended and all others were called.
atexit.register(leave)
try:
    if command := main(socket.socket(fileno=int(sys.argv[1]))):
        become(*command)
except SystemExit as end:
    told = end.code or 0
    ended_with = told if isinstance(told, int) else 1
    raise
except BaseException:
    ended_with = 1
    raise
