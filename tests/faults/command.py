"""The command line as somebody else runs it: in a process of its own, in a project of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.networks import DENSE

CHECKOUT = Path(__file__).parents[2]
PARAMS = (CHECKOUT / "params.yaml").read_text(encoding="utf-8").replace("networks/dense.py", DENSE)
DIGITS = PARAMS.replace("dataset: mnist ", "dataset: digits ").replace(": 5000", ": 200")


def start(*arguments, before="", **variables):
    """Starts `python -m pipeline` in the current folder, after the statements of `before`."""
    program = ["-m", "pipeline"]
    if before:
        program = ["-c", f"{before}\nfrom pipeline.cli import main\nmain()"]
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)} | variables,
    )  # fmt: skip


def ended(process, seconds=100):
    """Returns the exit code and the lines on stderr; on stdout there is nothing."""
    out, error = process.communicate(timeout=seconds)
    assert out == ""
    return process.returncode, error.splitlines()


def run(*arguments, **options):
    """Returns exit code and lines on stderr of a command that is run to its end."""
    return ended(start(*arguments, **options))


# Statements for `before`: as the process ends, the most memory it had goes to the file `peak`, in
# kB. What the operating system counts for children begins with what their parent had.
NOTE_THE_PEAK = """
import atexit, re, pathlib
@atexit.register
def note():
    status = pathlib.Path("/proc/self/status").read_text()
    pathlib.Path("peak").write_text(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
"""
