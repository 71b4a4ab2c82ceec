import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.execution.under_dvc import RWLOCK
from pipeline.health import dvc_state
from pipeline.health.dvc_state import LOCK
from tests.health.dvc import dvc

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]


def findings(*, at_work=False):
    return list(dvc_state.findings(at_work=at_work))


def commit():
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", "add", "--force", "dvc.lock"], check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message", "x"], check=True)


def test_files_that_dvc_wrote_are_well(repository):
    assert (repository / RWLOCK).exists()
    assert (repository / LOCK).exists()
    assert not findings()


def test_without_dvc_nothing_is_reported(project):
    assert not findings()
    assert not list(project.iterdir())


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b'{"write": {"a.tx', "not JSON"),
        (b"\0\0\xff", "not JSON"),
        (b"[]", "expected a dictionary"),
        (b'{"write": {"a.txt": {"pid": "7"}}}', "expected int"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_a_damaged_rwlock_is_removed(content, fault):
    RWLOCK.write_bytes(content)

    (finding,) = findings()
    assert f"{RWLOCK} is damaged ({fault}" in finding.what
    assert RWLOCK.read_bytes() == content

    finding.mend()
    assert not RWLOCK.exists()
    assert not findings()


@pytest.mark.usefixtures("repository")
def test_dvc_stops_at_a_damaged_rwlock_and_works_without_it():
    RWLOCK.write_bytes(b"")
    assert dvc("repro") == 255

    findings()[0].mend()
    assert dvc("repro") == 0


@pytest.mark.parametrize("name", ["lock", "rwlock.lock", "btime"])
def test_dvc_works_with_any_other_file_emptied(repository, name):
    (repository / ".dvc" / "tmp" / name).write_bytes(b"")

    assert dvc("status") == 0
    assert not findings()


def damages(whole):
    """Returns what a crash or an editor may leave of a dvc.lock, and how doctor describes it."""
    return [
        (b"", "empty"),
        (b"\n", "empty"),
        (whole[: whole.index(b"cmd") + 2], ""),
        (whole[: whole.index(b"size:") + 5], "expected int"),
        (b"{", "not YAML"),
        (b"\xff\xfe", "not YAML"),
        (b"[]", "expected a dictionary"),
        (whole.replace(b"2.0", b"9.9"), "invalid schema version"),
    ]


@pytest.mark.usefixtures("repository")
def test_a_damaged_dvc_lock_is_set_aside_and_dvc_works():
    whole = LOCK.read_bytes()
    for content, fault in damages(whole):
        LOCK.write_bytes(content)
        (finding,) = findings()
        assert f"dvc.lock is damaged ({fault}" in finding.what
        assert LOCK.read_bytes() == content

        finding.mend()
        assert not LOCK.exists()
        assert not findings()
        LOCK.write_bytes(whole)


@pytest.mark.parametrize("content", [b"", b"schema: '2.0'\nstages:\n  a:\n    cm"])
@pytest.mark.usefixtures("repository")
def test_dvc_stops_at_a_damaged_dvc_lock_and_works_once_mended(content):
    LOCK.write_bytes(content)
    assert dvc("repro") == 255

    findings()[0].mend()
    assert Path("dvc.lock.damaged").read_bytes() == content
    assert dvc("repro") == 0


@pytest.mark.usefixtures("repository")
def test_the_committed_dvc_lock_is_restored():
    commit()
    whole = LOCK.read_bytes()
    for content in (b"", b"{"):
        LOCK.write_bytes(content)
        (finding,) = findings()
        assert "restores the committed one" in finding.remedy
        finding.mend()
        assert LOCK.read_bytes() == whole
    assert Path("dvc.lock.damaged").read_bytes() == b""
    assert Path("dvc.lock.damaged-2").read_bytes() == b"{"


@pytest.mark.usefixtures("repository")
def test_a_committed_dvc_lock_that_is_damaged_too_is_not_restored():
    LOCK.write_bytes(b"{")
    commit()

    findings()[0].mend()

    assert not LOCK.exists()


def test_the_dvc_lock_of_an_enclosing_checkout_is_not_used(repository, monkeypatch):
    commit()
    inner = repository / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    LOCK.write_bytes(b"")

    findings()[0].mend()

    assert not LOCK.exists()


@pytest.mark.usefixtures("repository")
def test_an_unfinished_merge_is_left_to_the_user():
    LOCK.write_bytes(b"<<<<<<< HEAD\n" + LOCK.read_bytes() + b"=======\n>>>>>>> other\n")

    (finding,) = findings()

    assert "unfinished merge" in finding.what
    assert "git checkout --ours dvc.lock reports" in finding.remedy
    assert finding.mend is None


@pytest.mark.usefixtures("repository")
def test_nothing_is_mended_while_dvc_is_at_work():
    RWLOCK.write_bytes(b"")
    LOCK.write_bytes(b"")

    for finding in findings(at_work=True):
        assert finding.mend is None
        assert "DVC is at work here" in finding.remedy


def test_dvc_is_at_work_while_its_process_lives_in_this_checkout(project, tmp_path_factory):
    # A stand-in that waits: `python -m dvc` takes it from the current folder.
    for folder in (project / "below", tmp_path_factory.mktemp("elsewhere")):
        folder.mkdir(exist_ok=True)
        (folder / "dvc.py").write_text("print(flush=True); input()")
        program = [sys.executable, "-X", "utf8", "-m", "dvc", "repro"]
        with subprocess.Popen(
            program, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            assert dvc_state.is_at_work() == (folder.parent == project)
            process.communicate(b"\n")
        assert not dvc_state.is_at_work()
