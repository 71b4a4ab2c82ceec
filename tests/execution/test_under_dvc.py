import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline import cli
from pipeline.errors import PendingError
from pipeline.execution import under_dvc
from pipeline.execution.under_dvc import asks_for_force, is_forced
from tests.networks import PARAMS


@pytest.mark.parametrize(
    ("told", "name"),
    [("train@no_norm", "train@no_norm"), ("../dvc.yaml:train@no_norm", "train@no_norm")],
)
def test_dvc_tells_a_stage_its_name(monkeypatch, told, name):
    monkeypatch.setenv("DVC_STAGE", told)
    assert under_dvc.stage() == name


def test_by_hand_there_is_no_stage_no_dvc_and_no_force(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert under_dvc.stage() is None
    assert under_dvc.dvc_process() is None
    assert not is_forced()


@pytest.mark.parametrize(
    ("told", "forced"),
    [
        ("python /bin/dvc repro", False),
        ("python /bin/dvc repro -f", True),
        ("python -m dvc repro --force", True),
        ("dvc repro -sf train@no_norm", True),
        ("dvc --cd folder repro train@no_norm --force", True),
        ("dvc exp run --temp -f -S training.seeds=30", True),
        ("dvc exp run --temp -S training.seeds=30", False),
        # Letters of other options and their values.
        ("dvc repro --force-downstream", False),
        ("dvc exp run -n fast-f -S network.activation=-f", False),
        ("dvc exp run -Sform=1 -n f", False),
        ("dvc exp exec-run --infofile .dvc/tmp/exps/run/f.run", False),
        ("sh -c dvc-of-mine --force", False),
        ("/usr/bin/python3.11 -X utf8 -m dvc repro -f", True),
        ("cp --force dvc elsewhere", False),
        ("", False),
    ],
)
def test_a_command_line_is_read_as_dvc_reads_it(told, forced):
    assert asks_for_force(told.split()) is forced


@pytest.mark.parametrize(("options", "forced"), [([], "False"), (["-f"], "True")])
def test_force_is_found_in_the_process_that_started_the_stage(tmp_path, options, forced):
    shell = f'"{sys.executable}" stage.py; true'
    program = "from pipeline.execution.under_dvc import is_forced\nprint(is_forced())\n"
    (tmp_path / "stage.py").write_text(program)
    (tmp_path / "dvc").write_text(f"import os\nos.system({shell!r})\n")

    ended = subprocess.run(
        [sys.executable, "dvc", "repro", *options],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={
            "PATH": os.environ["PATH"], "DVC_STAGE": "train@no_norm",
            "PYTHONPATH": under_dvc.__file__.rpartition("/pipeline/")[0],
        },
    )  # fmt: skip

    assert ended.stdout == f"{forced}\n"


@pytest.fixture
def stage(project, monkeypatch):
    """A stage that is up to date, but for its output, which DVC removes first."""
    (project / "dvc.yaml").write_text("stages: {a: {cmd: x, deps: [in], outs: [out]}}")
    (project / "in").write_text("1")
    (project / "out").write_text("1")
    with Repo.init(no_scm=True) as repo:
        repo.commit(force=True)
    (project / "out").unlink()
    monkeypatch.setenv("DVC_STAGE", "a")
    return project


# As in a queue, where no command line tells.
def test_a_stage_that_dvc_had_no_other_reason_to_run_was_forced(stage):
    assert is_forced()

    (stage / "in").write_text("2")
    assert not is_forced()


def test_a_stage_whose_output_is_not_in_the_cache_was_run_for_that(stage):
    for path in (stage / ".dvc/cache/files").rglob("*"):
        if path.is_file():
            path.unlink()

    assert not is_forced()


@pytest.mark.usefixtures("stage")
def test_a_stage_that_dvc_has_never_run_was_not_forced(monkeypatch):
    Path("dvc.lock").unlink()
    assert not is_forced()
    monkeypatch.setenv("DVC_STAGE", "b")
    assert not is_forced()


def test_without_a_repository_of_dvc_nothing_was_forced(project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "a")
    assert not is_forced()
    assert not list(project.iterdir())


WAITING = """\
stages:
  a:
    cmd: touch begun; until [ -e enough ]; do sleep 0.05; done; touch out
    outs: [out]
"""
MISSING = "out is not here: `dvc repro` makes it"


@pytest.fixture
def dvc_at_work(project):
    """DVC while it runs a stage here."""
    (project / "dvc.yaml").write_text(WAITING)
    Repo.init(no_scm=True).close()
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", "a"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while not (project / "begun").exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield process
        (project / "enough").touch()
    assert process.returncode == 0


@pytest.mark.slow
def test_of_what_is_missing_it_is_told_that_dvc_makes_it(dvc_at_work, monkeypatch, capsys):
    running = "`dvc repro --quiet a`, which is running now,"
    again = "; try again when it has ended"
    assert under_dvc.made_meanwhile(MISSING) == f"out is not here: {running} makes it{again}"
    told = under_dvc.made_meanwhile("a was trained on other data: `dvc repro` trains it again")
    assert told == f"a was trained on other data: {running} trains it again{again}"
    for other in (
        "out is damaged: empty; remove it, and `dvc repro` makes it again",
        "commit 38c8a63 has no runs: check it out and run `dvc repro`",
    ):
        assert under_dvc.made_meanwhile(other) == ""
    # Nobody waits for a DVC that waits for him.
    with monkeypatch.context() as patch:
        patch.setenv("DVC_STAGE", "a")
        assert under_dvc.made_meanwhile(MISSING) == ""

    Path("params.yaml").write_text(PARAMS)
    monkeypatch.setattr(sys, "argv", ["pipeline", "compare", "batch_norm", "no_norm"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == PendingError.exit_code
    assert f"manifest.json is not here: {running} makes it{again}\n" in capsys.readouterr().err
    assert dvc_at_work.poll() is None


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["reused", "none"])
def test_a_dvc_that_was_killed_makes_nothing(project, pid):
    assert under_dvc.made_meanwhile(MISSING) == ""
    lock = project / under_dvc.RWLOCK
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"read": {}, "write": {"out": {"pid": pid, "cmd": "dvc repro"}}}))
    assert under_dvc.made_meanwhile(MISSING) == ""


@pytest.mark.parametrize("content", ["", "[]", '{"write": 1}', '{"write": {"out": 1}}', "\xff"])
def test_a_damaged_lock_of_dvc_does_not_matter(project, content):
    lock = project / under_dvc.RWLOCK
    lock.parent.mkdir(parents=True)
    lock.write_text(content, encoding="latin-1")
    assert under_dvc.made_meanwhile(MISSING) == ""
