"""Runs DVC as a user does."""

import subprocess

from tests.forks import python


def dvc(*arguments):
    """Returns the exit code of a DVC command."""
    program = [python.at_once(), "-m", "dvc", *arguments]
    return subprocess.run(program, check=False, capture_output=True).returncode
