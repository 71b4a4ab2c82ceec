"""A small DVC repository."""

import shutil
from pathlib import Path

import pytest

from tests.health.dvc import dvc

PIPELINE = """\
stages:
  a:
    cmd: python -c "print(1)" > a.txt
    outs: [a.txt]
  b:
    cmd: mkdir -p b && cp a.txt b/one && echo 2 > b/two
    deps: [a.txt]
    outs: [b]
"""


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """A DVC repository without git, with a file and a folder in its cache."""
    folder = tmp_path_factory.mktemp("dvc")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert dvc("init", "--no-scm", "--quiet") == 0
        Path("dvc.yaml").write_text(PIPELINE)
        assert dvc("repro", "--quiet") == 0
    return folder


@pytest.fixture
def repository(reproduced, project):
    return shutil.copytree(reproduced, project, dirs_exist_ok=True)
