import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.errors import InterruptedTrainingError
from pipeline.execution import interruption
from pipeline.execution.interruption import Interruption
from pipeline.execution.under_dvc import dvc_process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_heeded_at_the_next_check(number, code):
    heeded = pytest.raises(InterruptedTrainingError, match=f"ended by {number.name}")
    with heeded as told, Interruption() as asked:
        asked.check()
        os.kill(os.getpid(), number)
        asked.check()
        pytest.fail("it was not heeded")

    assert told.value.exit_code == code


TWICE = """
import os, signal, sys, time
from pipeline.execution.interruption import Interruption
with Interruption():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(9)
"""


def test_the_first_signal_is_answered_and_a_second_ends_at_once():
    checkout = interruption.__file__.rpartition("/pipeline/")[0]

    ended = subprocess.run(
        [sys.executable, "-c", TWICE],
        env={"PYTHONPATH": checkout}, capture_output=True, text=True, check=False, timeout=9,
    )  # fmt: skip

    assert ended.returncode == 143
    assert ended.stderr == "ending after this epoch; once more ends it at once\n"


def test_a_signal_after_the_last_check_is_not_lost():
    with pytest.raises(InterruptedTrainingError, match="ended by SIGINT"), Interruption() as asked:
        asked.check()
        os.kill(os.getpid(), signal.SIGINT)


def test_where_some_work_fails_all_of_it_ends():
    asked = Interruption()
    asked.fail()

    with pytest.raises(InterruptedTrainingError, match="other work failed"):
        asked.check()


def test_afterwards_signals_are_whose_they_were():
    before = signal.getsignal(signal.SIGTERM)

    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before

    assert signal.getsignal(signal.SIGTERM) == before


@pytest.fixture
def under_dvc(tmp_path):
    """Starts a program that is called dvc; it starts a shell, and that a program of ours."""
    started = []

    def start(script):
        (tmp_path / "dvc").write_text("import subprocess, sys\nsubprocess.run(sys.argv[1:])\n")
        shell = ["sh", "-c", f'"{sys.executable}" script.py; true']
        (tmp_path / "script.py").write_text(script)
        started.append(
            subprocess.Popen(
                [sys.executable, str(tmp_path / "dvc"), *shell],
                cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                env={
                    "PATH": os.environ["PATH"], "DVC_STAGE": "train@no_norm",
                    "PYTHONPATH": interruption.__file__.rpartition("/pipeline/")[0],
                },
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=20)


WATCHING = """
import time
from pipeline.execution.interruption import Interruption
from pipeline.errors import InterruptedTrainingError
with Interruption() as asked:
    print("watching", flush=True)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            asked.check()
        except InterruptedTrainingError as error:
            print(error.exit_code, error, flush=True)
            break
        time.sleep(0.05)
"""


def test_work_ends_when_the_dvc_that_started_it_is_killed(under_dvc):
    dvc = under_dvc(WATCHING)
    assert dvc.stdout.readline() == "watching\n"
    assert len(psutil.Process(dvc.pid).children(recursive=True)) == 2
    time.sleep(0.2)

    dvc.kill()

    assert dvc.stdout.readline().startswith("143 DVC, which started this, is gone; ")


def test_work_that_dvc_did_not_start_watches_nobody(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)

    assert dvc_process() is None
