import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import PendingError
from pipeline.execution import checkpoints
from pipeline.execution.checkpoints import Checkpoints
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest
from pipeline.training.trainer import Snapshot

MANIFEST = Manifest("no_norm", {"normalization": "none"}, (0, 3), "da7a", "c0de")


def snapshot(epochs, seed=3):
    """A run after some epochs; a loss that is no number and a float64 that is long are among it."""
    history = [
        EpochScores(seed, at, Scores(float("nan") if at else 1 / 3, 0.1 * at), Scores(2.5, 0.2))
        for at in range(epochs)
    ]
    rng = np.random.default_rng(epochs)
    # More than a hundred, as of seven layers: their order is not that of their names as text.
    state = (np.array(epochs, np.int64), *(rng.random(2 + i % 3, np.float32) for i in range(101)))
    return Snapshot(tuple(history), state)


def assert_same(restored, expected):
    assert str(restored.history) == str(expected.history)
    for value, same in zip(restored.state, expected.state, strict=True):
        assert value.dtype == same.dtype
        np.testing.assert_array_equal(value, same)


def files(project):
    return sorted((project / ".bnlab/checkpoints" / MANIFEST.fingerprint(3)).iterdir())


@pytest.fixture
def kept(project):  # noqa: ARG001
    """Checkpoints of a run after its seventh epoch."""
    with Checkpoints(MANIFEST) as taken:
        for epochs in range(1, 8):
            taken.keep(3, snapshot(epochs))
        yield taken


def test_what_was_kept_last_is_restored(kept):
    assert_same(kept.restore(3), snapshot(7))


def test_a_run_of_which_nothing_was_kept_has_no_snapshot(kept):
    assert kept.restore(0) is None
    assert not kept.has(0)
    assert kept.has(3)


@pytest.mark.usefixtures("kept")
def test_the_last_two_are_kept_and_nothing_else(project):
    assert [path.name for path in files(project)] == ["000006.npz", "000007.npz"]


def test_runs_that_are_done_leave_no_checkpoints(kept):
    kept.remove()

    assert kept.restore(3) is None


@pytest.mark.usefixtures("kept")
def test_a_forced_training_goes_on_with_nothing_but_one_that_was_forced_too():
    forced = Checkpoints(MANIFEST, forced=True)
    assert not forced.has(3)
    assert forced.restore(3) is None

    forced.keep(3, snapshot(2))

    assert_same(Checkpoints(MANIFEST, forced=True).restore(3), snapshot(2))
    assert_same(Checkpoints(MANIFEST).restore(3), snapshot(7))


@pytest.mark.parametrize("forced", [False, True])
def test_when_runs_are_done_no_checkpoints_are_left_of_either_kind(kept, project, forced):
    kept.keep(0, snapshot(1, seed=0))
    Checkpoints(MANIFEST, forced=True).keep(3, snapshot(2))

    Checkpoints(MANIFEST, forced=forced).remove()

    assert not list((project / ".bnlab/checkpoints").iterdir())


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    # Within the first array, which zip's own check sums cover too.
    content[200] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def put_anothers(path):
    with Checkpoints(replace(MANIFEST, code_sha256="other")) as other:
        other.keep(3, snapshot(7))
        other._folder(3).joinpath("000007.npz").replace(path)


def forge(path):
    """Changes a value and keeps zip's check sums right, and the manifest as it was."""
    with np.load(path) as file:
        arrays = dict(file)
    arrays["state_1"][0] += 1
    np.savez(path, **arrays)


DAMAGES = [truncate, flip, empty, put_anothers, forge]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_one_that_is_damaged_is_told_and_the_one_before_restored(kept, project, caplog, damage):
    damage(files(project)[-1])

    assert_same(kept.restore(3), snapshot(6))

    (warning,) = caplog.messages
    assert "no_norm, seed 3: a checkpoint is of no use: 000007.npz: " in warning
    assert len(warning.splitlines()) == 1


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_when_both_are_damaged_the_run_begins_anew(kept, project, caplog, damage):
    for path in files(project):
        damage(path)

    assert kept.restore(3) is None
    assert len(caplog.messages) == 2
    kept.keep(3, snapshot(1))
    assert_same(kept.restore(3), snapshot(1))
    assert [path.name for path in files(project)] == ["000001.npz"]


@pytest.mark.usefixtures("kept")
def test_a_run_is_not_gone_on_with_under_another_tensorflow(monkeypatch, caplog):
    monkeypatch.setattr(
        checkpoints,
        "present_versions",
        lambda: {"tensorflow.version": "2.99", "keras.version": "3"},
    )

    # Only reads: the right to train is the other's.
    assert Checkpoints(MANIFEST).restore(3) is None
    assert "made with other packages" in caplog.messages[0]


@pytest.mark.usefixtures("kept")
def test_in_an_experiments_own_folder_they_are_those_of_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "aside").mkdir()
    monkeypatch.chdir(tmp_path / "aside")

    assert_same(Checkpoints(MANIFEST).restore(3), snapshot(7))


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(project):
    """Another process that has the right to train."""
    with Checkpoints(MANIFEST):
        (lock,) = (project / ".bnlab/locks").iterdir()
    (project / "hold.py").write_text(HOLD)
    with subprocess.Popen(
        [sys.executable, "hold.py", lock],
        cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "held\n"
        yield process


# Other seeds, too: those of one training are among those of another.
@pytest.mark.parametrize("seeds", [(0, 3), (3, 4)])
def test_who_may_not_train_learns_which_process_does(holder, seeds):
    with pytest.raises(PendingError) as refused:
        Checkpoints(replace(MANIFEST, seeds=seeds)).__enter__()

    told = f"no_norm is being trained by process {holder.pid} (hold.py "
    assert str(refused.value).startswith(told)
    assert str(refused.value).endswith("): wait for it, or end it")
    assert holder.pid != os.getpid()


def test_the_right_to_train_passes_on(kept):
    kept.__exit__(None, None, None)

    with Checkpoints(MANIFEST), pytest.raises(PendingError):
        Checkpoints(MANIFEST).__enter__()
