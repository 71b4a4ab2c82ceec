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
