"""The `python` that starts at once does what Python does, as far as somebody outside can see."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.forks import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are no forks here")


@pytest.fixture(params=[sys.executable, python.at_once()], ids=["python", "fork"])
def start(request, tmp_path):
    def start(*arguments, **variables):
        return subprocess.Popen(
            [request.param, *arguments], cwd=tmp_path, env=os.environ | variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


def test_a_program_has_arguments_folder_environment_and_files_of_its_own(start, tmp_path):
    (tmp_path / "beside.py").write_text("value = 'beside'\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "further.py").write_text("value = 'further'\n")
    program = (
        "import beside, further, os, sys\n"
        "print(sys.argv, beside.value, further.value, os.getcwd(), os.environ['TOLD'])\n"
        "print(input(), file=sys.stderr)\n"
    )

    started = start("-c", program, "a", "b c", TOLD="outside", PYTHONPATH=str(elsewhere))

    out, error = started.communicate("asked\n")
    assert out == f"['-c', 'a', 'b c'] beside further {tmp_path} outside\n"
    assert error == "asked\n"
    assert started.returncode == 0


@pytest.mark.parametrize(
    ("program", "code", "told"),
    [
        ("raise SystemExit(66)", 66, ""),
        ("raise SystemExit('over')", 1, "over\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
        ("import atexit, sys; atexit.register(print, 'the end', file=sys.stderr)", 0, "the end\n"),
        ("import threading; threading.Timer(0.1, lambda: 1 / 0).start()", 0, "by zero\n"),
    ],
)
def test_it_ends_as_the_program_does(start, program, code, told):
    started = start("-c", program)

    _, error = started.communicate()
    assert started.returncode == code
    assert error.endswith(told)


def test_signals_reach_the_program(start):
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    started = start("-c", program)
    assert started.stdout.readline() == "ready\n"

    started.terminate()

    started.communicate()
    assert started.returncode == 75


def test_it_is_killed_with_the_program(start, tmp_path):
    program = (
        "import pathlib, time\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    pathlib.Path('alive').write_text('yes')\n"
        "    time.sleep(0.01)"
    )
    started = start("-c", program)
    assert started.stdout.readline() == "ready\n"

    started.kill()

    started.communicate()
    alive = tmp_path / "alive"
    until = time.monotonic() + 10
    while True:
        alive.unlink(missing_ok=True)
        time.sleep(0.2)
        if not alive.exists():
            break
        assert time.monotonic() < until
    assert started.returncode == -signal.SIGKILL


def test_a_module_is_that_of_the_folder(start, tmp_path):
    package = tmp_path / "pipeline"
    package.mkdir()
    (package / "__main__.py").write_text("import sys; print('this one', __name__, sys.argv[1:])\n")

    started = start("-m", "pipeline", "train")

    assert started.communicate() == ("this one __main__ ['train']\n", "")
