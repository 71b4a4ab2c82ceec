"""DVC as somebody else runs it."""

import subprocess

from tests.forks import python


def dvc(*arguments):
    """Returns the exit code of a command of DVC's."""
    program = [python.at_once(), "-m", "dvc", *arguments]
    return subprocess.run(program, check=False, capture_output=True).returncode
