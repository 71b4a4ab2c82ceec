"""What DVC knows of experiments that run, and the interface by which it is read."""

import subprocess
import sys
import time
from pathlib import Path

import dvc
import pytest
from dvc.repo import Repo

from pipeline.errors import ArgumentError, MissingInputError, PendingError
from pipeline.lookup import experiments, listing
from tests.commands.repositories import git, save_experiment, start

# The stage lasts until a file appears in the main checkout, which DVC names in DVC_ROOT.
STAGE = """\
stages:
  wait:
    cmd: touch $DVC_ROOT/begun; until [ -e $DVC_ROOT/enough ]; do sleep 0.05; done; touch out
    params:
    - rate
    outs:
    - out
"""
WAITED_SECONDS = 60


@pytest.fixture
def repository(project):
    start()
    Repo.init().close()
    Path("dvc.yaml").write_text(STAGE)
    Path("params.yaml").write_text("rate: 1\n")
    Path(".gitignore").write_text("/begun\n/enough\n/out\n")
    git("add", ".")
    git("commit", "-m", "First")
    return project


@pytest.mark.slow
def test_an_experiment_run_by_temp_is_found_while_it_runs(repository):
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", "aside", "-S", "rate=2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + WAITED_SECONDS
    while not (repository / "begun").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    try:
        with pytest.raises(PendingError, match=r"experiment aside is running: `dvc exp show` says"):
            experiments.find("aside")
    finally:
        (repository / "enough").touch()
        process.communicate(timeout=WAITED_SECONDS)

    assert process.returncode == 0
    # It has results now, but not those that training leaves.
    with pytest.raises(MissingInputError, match=r"DVC experiment aside, commit \w+ has no runs"):
        experiments.find("aside")


def test_experiments_that_would_be_compared_together_are_counted(repository, monkeypatch):
    baseline = git("rev-parse", "HEAD")
    assert listing.how_many_together() == 1
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", baseline)
    monkeypatch.setenv("DVC_EXP_NAME", "this")
    assert listing.how_many_together() == 1

    Path("out").touch()
    save_experiment("earlier")
    with Repo() as repo:
        repo.experiments.run(queue=True, name="waiting", params=["rate=2"])
        repo.experiments.run(queue=True, name="this", params=["rate=3"])
    assert listing.how_many_together() == 3
    # In a queue it runs in a copy of the project.
    monkeypatch.setenv("DVC_ROOT", str(repository))
    (repository / "elsewhere").mkdir()
    monkeypatch.chdir(repository / "elsewhere")
    assert listing.how_many_together() == 3
    monkeypatch.chdir(repository)
    git("commit", "--allow-empty", "-m", "Second")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", git("rev-parse", "HEAD"))
    assert listing.how_many_together() == 1


def test_looking_for_a_queue_does_not_make_one(repository):
    with pytest.raises(ArgumentError, match="is called 'nothing'; DVC has no experiments"):
        experiments.find("nothing")
    assert not (repository / ".dvc/tmp/exps").exists()


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("queue", "names"),
    [
        ("celery_queue", ["wdir", "iter_queued", "iter_active", "iter_failed"]),
        ("tempdir_queue", ["iter_active"]),
    ],
)
def test_dvc_has_the_queues_that_it_does_not_document(queue, names):
    with Repo() as repo:
        asked = getattr(repo.experiments, queue, None)
        missing = [name for name in names if not hasattr(asked, name)]
    assert not missing, (
        f"DVC {dvc.__version__} has no {queue}.{missing[0]} any more: by it `compare` tells of "
        "experiments that wait, run or failed (pipeline/lookup/listing.py)"
    )
