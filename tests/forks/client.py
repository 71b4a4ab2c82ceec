"""Stands in for Python: a fork of the server runs the command, and this is its process to others.

    python -I -S client.py SOCKET -m pipeline|dvc ARGUMENTS... | -c PROGRAM ARGUMENTS...

Whatever else Python is asked for, it does itself.
"""

import json
import os
import signal
import socket
import sys

place, *arguments = sys.argv[1:]
if arguments[:1] != ["-c"] and arguments[:2] not in (["-m", "pipeline"], ["-m", "dvc"]):
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606  That is the command.

server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect(place)
# Without pathlib, which would take as long as all else here.
request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: server.send(bytes([number])))
code = int(server.recv(16))
if code < 0:
    if -code not in {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
