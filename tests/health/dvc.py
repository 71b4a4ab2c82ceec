"""DVC as somebody else runs it."""

import subprocess
import sys


def dvc(*arguments):
    """Returns the exit code of a command of DVC's."""
    program = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(program, check=False, capture_output=True).returncode
