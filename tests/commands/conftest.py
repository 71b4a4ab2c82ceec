import json
import shutil
import sys

import pytest

from pipeline import cli


@pytest.fixture
def command(project, monkeypatch, capsys):
    """Runs the command in the current folder; returns exit code, stdout and stderr."""
    assert project

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pipeline", "compare", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


@pytest.fixture
def compare(command, repository, monkeypatch):
    """Runs the command in the test file's own repository."""
    monkeypatch.chdir(repository)
    shutil.rmtree("comparisons", ignore_errors=True)
    return command


@pytest.fixture
def record(compare):
    """Returns what `--json` prints."""

    def read(*arguments):
        code, out, err = compare(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out, parse_constant=pytest.fail)

    return read
