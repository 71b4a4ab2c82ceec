import os
import pty
import subprocess
import sys

import pytest

SAYING = [sys.executable, "-c", "from pipeline.commands import waits; waits.tell('drawing')"]


@pytest.mark.slow
def test_a_wait_is_told_on_a_terminal():
    ours, theirs = pty.openpty()
    subprocess.run(SAYING, stderr=theirs, check=True)
    os.close(theirs)
    assert os.read(ours, 100) == b"drawing ...\r\n"


@pytest.mark.slow
def test_a_wait_is_not_told_in_a_log():
    assert subprocess.run(SAYING, capture_output=True, check=True).stderr == b""
