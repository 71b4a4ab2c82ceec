"""Drills: faults made on purpose, and what is promised to hold nevertheless.

A drill is a test with a promise, `@pytest.mark.promise("...")`. Those that are too long for
`make test` carry `@pytest.mark.drill`. `make drills` runs them all and writes what came out, with
the figures that they counted, to docs/RELIABILITY.md; of a part of them, their sections alone.
"""

import ast
import subprocess
from pathlib import Path

import pytest

from tests.faults.page import Drill, page

_DRILL = "drill"


@pytest.fixture
def count(record_property):
    """Notes figures that add up over the cases of a drill: `count(kills=20)`."""
    return lambda **figures: record_property("counts", figures)


@pytest.fixture
def peak(record_property):
    """Notes figures of which the largest is told: `peak(MB=12.5)`."""
    return lambda **figures: record_property("peaks", figures)


@pytest.fixture
def mount():
    """Mounts a small file system on a folder: `mount(folder, "size=40k")`.

    Once more, `mount(folder, "ro")` or `mount(folder, "rw,size=1m")`, changes what it is like.
    """
    mounted = []

    def mount(folder, options):
        if folder in mounted:
            options = f"remount,{options}"
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no file system can be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in set(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(autouse=True)
def _promise(request, record_property):
    if promise := request.node.get_closest_marker("promise"):
        area, _, about = request.module.__doc__.partition("\n")
        record_property(_DRILL, (area, about, request.function.__name__, *promise.args))


def pytest_terminal_summary(terminalreporter, config):
    """Writes the page, when asked to."""
    path = config.getoption("--page")
    if path is None:
        return
    drills = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            properties = report.user_properties
            for told in [value for name, value in properties if name == _DRILL]:
                drill = drills.setdefault(told, Drill(*told))
                drill.add(outcome, report.duration, report.longrepr, properties)
    path.parent.mkdir(exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    files = Path(__file__).parent.glob("test_*.py")
    documents = [ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for file in files]
    areas = [document.partition("\n")[0] for document in documents]
    path.write_text(page(drills.values(), before, areas), encoding="utf-8")
    terminalreporter.write_line(f"written: {path}")
