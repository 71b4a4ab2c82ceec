import json
import math
import os
import platform
import subprocess
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.provenance.lineage import (
    Lineage,
    present_lineage,
    read_journal,
    write_journal,
)
from pipeline.provenance.processor import present_processor

COMMIT, BRANCH = "mlflow.source.git.commit", "mlflow.source.git.branch"


@pytest.fixture
def git(project, monkeypatch):
    """Runs git in an empty repository, without the settings of the user or of a hook."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")

    def run(*arguments):
        ended = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
        return ended.stdout.strip()

    run("init", "--quiet", "--initial-branch", "wip")
    (project / "params.yaml").write_text("a: 1\n")
    return run


@pytest.fixture
def committed(git, project):
    """The same, after a commit of a parameter, a report and a file without a final newline."""
    (project / "reports").mkdir()
    (project / "reports" / "report.md").write_text("# Better\n")
    (project / "loose.txt").write_bytes(b"na\xefve\r\nlast")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    return git


def test_a_run_names_its_commit_and_branch(committed):
    tags = present_lineage().tags

    assert tags[COMMIT] == committed("log", "-1", "--format=%H")
    assert tags[BRANCH] == "wip"
    assert tags["git.dirty"] == "false"
    assert present_lineage().patch == b""


def test_a_run_names_what_it_ran_with(committed, project):
    assert committed
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    (project / "requirements.lock").write_text("numpy==2.0\n")

    tags = present_lineage(threads=2).tags

    assert tags["dvc.lock.sha256"] == sha256(b"schema: '2.0'\n").hexdigest()
    assert tags["requirements.lock.sha256"] == sha256(b"numpy==2.0\n").hexdigest()
    assert tags["python.version"] == platform.python_version()
    assert tags["tensorflow.version"] == version("tensorflow")
    assert tags["keras.version"] == version("keras")
    assert tags["cpu.type"] == present_processor().name != ""
    assert present_processor().tags.items() <= tags.items()
    assert tags["cpu.count"] == str(os.cpu_count())
    assert tags["threads"] == "2"


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "params.yaml").write_text("a: 2\n"),
        lambda root: (root / "params.yaml").unlink(),
        lambda root: (root / "loose.txt").write_bytes(b"na\xefve\r\nlast line"),
        lambda root: (root / "new.bin").write_bytes(bytes(range(256))),
        lambda root: (root / "a name with spaces").write_text("untracked"),
    ],
    ids=["changed", "removed", "bytes that are no UTF-8", "new binary file", "new file"],
)
def test_commit_and_patch_restore_the_checkout(committed, project, tmp_path_factory, change):
    change(project)
    expected = {p.name: p.read_bytes() for p in project.iterdir() if p.is_file()}

    lineage = present_lineage()

    assert lineage.tags["git.dirty"] == "true"
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "worktree"
    committed("worktree", "add", "--quiet", "--detach", str(elsewhere), lineage.tags[COMMIT])
    subprocess.run(["git", "apply", "-"], input=lineage.patch, cwd=elsewhere, check=True)
    found = {p.name: p.read_bytes() for p in elsewhere.iterdir() if p.is_file()}
    assert {name: found[name] for name in found if name != ".git"} == expected


@pytest.mark.parametrize(
    "setting",
    [
        ("diff.noprefix", "true"), ("diff.mnemonicPrefix", "true"), ("color.ui", "always"),
        ("diff.external", "echo"),
    ],
)  # fmt: skip
def test_the_users_settings_do_not_reach_the_patch(committed, project, setting):
    (project / "params.yaml").write_text("a: 2\n")
    expected = present_lineage().patch

    committed("config", *setting)

    assert present_lineage().patch == expected
    assert b"--- a/params.yaml" in expected


def test_where_git_refuses_the_checkout_is_not_called_clean(committed, project):
    (project / "params.yaml").write_text("a: 2\n")
    # A repository without commits inside another cannot be added to it.
    (project / "inner").mkdir()
    committed("-C", "inner", "init", "--quiet")

    assert "git.dirty" not in present_lineage().tags


def test_taking_the_patch_leaves_the_repository_as_it_is(committed, project):
    (project / "params.yaml").write_text("a: 2\n")
    (project / "new.txt").write_text("new\n")
    committed("add", "new.txt")
    before = committed("status", "--porcelain"), committed("count-objects")

    assert present_lineage().patch

    assert (committed("status", "--porcelain"), committed("count-objects")) == before


def test_the_patch_is_of_the_whole_checkout_wherever_one_stands(committed, project, monkeypatch):
    (project / "params.yaml").write_text("a: 2\n")
    expected = present_lineage().patch

    monkeypatch.chdir(project / "reports")

    assert expected == present_lineage().patch != b""
    assert committed


def test_results_do_not_make_a_checkout_dirty(committed, project):
    (project / "reports" / "report.md").write_text("# Worse\n")
    (project / "reports" / "new.png").write_bytes(b"png")

    assert present_lineage().tags["git.dirty"] == "false"
    assert committed


def test_what_is_ignored_does_not_make_a_checkout_dirty(committed, project):
    (project / ".git" / "info" / "exclude").write_text("*.npz\n")
    (project / "data.npz").write_bytes(b"0")

    assert present_lineage().tags["git.dirty"] == "false"
    assert committed


def test_a_new_file_too_large_for_a_patch_is_named(committed, project):
    (project / "large.bin").write_bytes(bytes(5_000_001))
    (project / "params.yaml").write_text("a: 2\n")

    lineage = present_lineage()

    assert lineage.tags["git.patch.left_out"] == "large.bin"
    assert b"large.bin" not in lineage.patch
    assert b"a: 2" in lineage.patch
    assert committed


def test_a_detached_checkout_is_on_the_branches_that_have_its_commit(committed):
    committed("branch", "other")
    committed("checkout", "--quiet", "--detach")

    assert present_lineage().tags[BRANCH] == "other, wip"


@pytest.mark.usefixtures("git")
def test_a_repository_without_commits_has_no_commit():
    tags = present_lineage().tags

    assert COMMIT not in tags
    assert "git.dirty" not in tags


@pytest.mark.usefixtures("project")
def test_without_a_repository_there_is_no_commit():
    assert not {COMMIT, BRANCH, "git.dirty"} & present_lineage().tags.keys()


@pytest.mark.usefixtures("committed")
def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")

    assert not {COMMIT, BRANCH, "git.dirty"} & present_lineage().tags.keys()


@pytest.mark.usefixtures("project")
def test_a_dvc_experiment_is_named(monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "rough-moth")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "4f2a")

    tags = present_lineage().tags

    assert tags["dvc.experiment"] == "rough-moth"
    assert tags["dvc.baseline"] == "4f2a"


LINEAGE = Lineage({"threads": "2"}, b"diff\xff\r\n")


@pytest.mark.usefixtures("project")
def test_the_lineage_that_training_wrote_is_read_back():
    write_journal("f1", LINEAGE)

    assert read_journal("f1") == LINEAGE
    assert read_journal("f2") is None


def test_the_journal_tells_when_a_run_was_made(project):
    write_journal("f1", replace(LINEAGE, started=1.5, ended=3.25))

    read = read_journal("f1")
    assert (read.started, read.ended) == (1.5, 3.25)
    # As an earlier version wrote it.
    path = project / ".bnlab/lineage/f1.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({name: kept[name] for name in ("tags", "patch_sha256")}))
    assert read_journal("f1") == LINEAGE


@pytest.mark.usefixtures("project")
def test_a_run_made_a_second_time_keeps_its_first_lineage():
    write_journal("f1", LINEAGE)
    write_journal("f1", Lineage({"threads": "1"}))

    assert read_journal("f1") == LINEAGE


@pytest.mark.usefixtures("project")
def test_a_run_that_came_out_with_other_weights_leaves_its_own_lineage():
    again = Lineage({"threads": "1"}, weights_sha256="b")
    write_journal("f1", replace(LINEAGE, weights_sha256="a"))

    write_journal("f1", Lineage({"threads": "1"}))
    write_journal("f1", replace(again, weights_sha256="a"))
    assert read_journal("f1") == replace(LINEAGE, weights_sha256="a")

    write_journal("f1", again)
    assert read_journal("f1") == again


@pytest.mark.usefixtures("project")
def test_weights_can_be_noted_when_they_are_written():
    write_journal("f1", LINEAGE)
    write_journal("f1", Lineage({"threads": "1"}, weights_sha256="a"))

    assert read_journal("f1") == replace(LINEAGE, weights_sha256="a")


def test_a_damaged_journal_gives_way_to_that_of_the_next_training(project):
    write_journal("f1", LINEAGE)
    (project / ".bnlab/lineage/f1.json").write_text("")

    write_journal("f1", LINEAGE)

    assert read_journal("f1") == LINEAGE


def test_the_journal_outlives_the_folder_of_a_dvc_experiment(
    project, tmp_path_factory, monkeypatch
):
    monkeypatch.chdir(tmp_path_factory.mktemp("temporary"))
    monkeypatch.setenv("DVC_ROOT", str(project))
    write_journal("f1", LINEAGE)

    assert not list(Path.cwd().iterdir())
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT")
    assert read_journal("f1") == LINEAGE


@pytest.mark.parametrize("when", ["soon", [1], math.nan, True])
def test_a_journal_with_an_invalid_time_is_reported(project, when):
    write_journal("f1", LINEAGE)
    path = project / ".bnlab/lineage/f1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": when}))

    with pytest.raises(DataError, match=r"f1\.json is damaged"):
        read_journal("f1")


@pytest.mark.parametrize("content", ["", "{}", "[]", json.dumps({"tags": {}, "patch_sha256": "0"})])
def test_a_damaged_journal_is_reported(project, content):
    write_journal("f1", LINEAGE)
    (project / ".bnlab/lineage/f1.json").write_text(content)

    with pytest.raises(DataError, match=r"f1\.json is damaged"):
        read_journal("f1")
