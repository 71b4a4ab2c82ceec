"""A `python` that starts at once: most of what a command takes is importing what it stands on.

`start` makes a folder to be put first on PATH. The `python` and the `dvc` in it are client.py,
which has server.py run the command. Tests that are about the process itself (its imports, its end,
its signals) start `sys.executable`, which is Python as it is.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# The variable that names the folder.
FORKS = "BNLAB_FORKS"


def at_once():
    """Returns the path of that `python`; of Python itself, where there are no forks."""
    return f"{os.environ[FORKS]}/python" if FORKS in os.environ else sys.executable


def start():
    """Returns the folder, and what ends the server and removes the folder."""
    # Not where tests keep their files: a socket's path may have a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="bnlab-"))
    place = folder / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(place))
        listening.listen()
        server = subprocess.Popen(
            [sys.executable, HERE / "server.py", str(listening.fileno())],
            pass_fds=[listening.fileno()], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
    client = f'"{sys.executable}" -I -S "{HERE / "client.py"}" "{place}"'
    for name, module in (("python", ""), ("dvc", "-m dvc ")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {client} {module}"$@"\n', encoding="utf-8")
        program.chmod(0o755)

    def end():
        server.stdin.close()
        server.wait()
        shutil.rmtree(folder)

    return folder, end
