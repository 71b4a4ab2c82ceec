"""Drills: faults made on purpose, and what is promised to hold nevertheless.

A drill is a test with a promise, `@pytest.mark.promise("...")`. Those that are too long for
`make test` carry `@pytest.mark.drill`. `make drills` runs them all and writes what came out, with
the figures that they counted, to docs/RELIABILITY.md.
"""

import subprocess
from pathlib import Path

import pytest

from tests.faults.page import Drill, page

_DRILL = "drill"


def pytest_addoption(parser):
    parser.addoption("--page", type=Path, help="where to write what came out of the drills")


@pytest.fixture
def count(record_property):
    """Notes figures that add up over the cases of a drill: `count(kills=20)`."""
    return lambda **figures: record_property("counts", figures)


@pytest.fixture
def peak(record_property):
    """Notes figures of which the largest is told: `peak(MB=12.5)`."""
    return lambda **figures: record_property("peaks", figures)


@pytest.fixture
def small_disk(tmp_path_factory):
    """Mounts file systems of their own: `small_disk(kilobytes=100)` returns the folder of one.

    With `files`, contents by path, these are there already; with `read_only` nothing can be added.
    """
    mounted = []

    def mount(*, kilobytes, files=None, read_only=False):
        folder = tmp_path_factory.mktemp("disk")
        size = f"size={kilobytes}k"
        _mount("-t", "tmpfs", "-o", size, "tmpfs", folder)
        mounted.append(folder)
        for name, content in (files or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        if read_only:
            _mount("-o", f"remount,ro,{size}", folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(*arguments):
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {getattr(error, 'stderr', '') or error}")


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
    path.write_text(page(drills.values()), encoding="utf-8")
    terminalreporter.write_line(f"written: {path}")
