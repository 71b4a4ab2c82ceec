"""DVC

Its locks, its cache and its queue, in a project on scikit-learn's digits.
"""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.health import dvc_cache
from pipeline.tracking.store import FINGERPRINT

pytestmark = [pytest.mark.drill, pytest.mark.slow]

SEEDS = 2
MADE = ("dvc.lock", "data", "evaluation", "reports", "runs")
DOCTOR = (sys.executable, "-m", "pipeline", "doctor")
LOCK, RWLOCK = Path("dvc.lock"), Path(".dvc/tmp/rwlock")
CACHE = Path(".dvc/cache/files/md5")
WAITED_SECONDS = 400
# Long enough to be killed on the way.
QUEUED = (
    "dvc", "exp", "run", "--queue", "-n", "killed",
    "-S", "variants.batch_norm.momentum=0.9",
    "-S", "+variants.batch_norm.training.epochs=400",
)  # fmt: skip


@pytest.fixture(scope="module")
def clone(make_clone):
    """A project made by two `dvc repro` that were begun at once, and committed."""
    clone = make_clone(training__epochs=1, training__seeds=SEEDS)
    both = [
        subprocess.Popen(
            ["dvc", "repro"], cwd=clone.folder, env=clone.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    clone.at_once = [(one.communicate(timeout=WAITED_SECONDS)[0], one.returncode) for one in both]
    clone.after = clone.run("dvc", "repro").stdout
    clone.made = clone.hashes(*MADE)
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    clone.run("git", "add", "-A")
    clone.run("git", *identity, "commit", "-qm", "Made")
    yield clone
    for process in processes(clone):
        process.kill()


def processes(clone):
    """Returns what runs in the clone, or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(clone.folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def cached(clone):
    return sorted(path for path in (clone.folder / CACHE).glob("*/*") if path.is_file())


def flip(path, place):
    """Flips a bit of a byte, as a disk may, and leaves the file's mode as it was."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    path.chmod(mode)


def test_as_it_should_be(clone):
    """Not a promise, but what the others stand on."""
    assert clone.run(*DOCTOR).stdout.startswith("all is well")
    assert len(clone.finished_runs()[1]) == 2 * SEEDS


@pytest.mark.promise("Of two `dvc repro` at once one says that it is busy, or both end well")
def test_two_at_once_leave_all_whole(clone, count):
    codes = [code for _, code in clone.at_once]
    refused = [told for told, code in clone.at_once if code]
    assert 0 in codes, clone.at_once
    assert set(codes) <= {0, 255}
    assert all("is busy" in told or "Unable to acquire lock" in told for told in refused), refused
    assert "Running stage" not in clone.after
    _, trained, every = clone.finished_runs()
    assert len({run.data.tags[FINGERPRINT] for run in every}) == len(every) == len(trained) + 1
    count(refused=len(refused), runs_whole=len(trained))


@pytest.mark.promise("A flipped byte in any file of DVC's cache is told by `doctor`")
def test_every_flipped_byte_is_told(clone, monkeypatch, count):
    monkeypatch.chdir(clone.folder)
    places = np.random.default_rng(0)
    assert dvc_cache.finding() is None
    for path in cached(clone):
        place = int(places.integers(path.stat().st_size))
        flip(path, place)
        assert str(path.relative_to(clone.folder)) in dvc_cache.finding().what
        flip(path, place)
        count(bytes_flipped=1)
    assert dvc_cache.finding() is None


@pytest.mark.promise(
    "What DVC restores from a damaged cache, in silence, `doctor --fix` takes away, and "
    "`dvc repro --force` makes the bytes that were there before"
)
def test_what_was_restored_from_a_damaged_cache_is_made_again(clone, count):
    weights = Path("runs/no_norm/seed-01/model.weights.h5")
    whole = (clone.folder / weights).read_bytes()
    (kept,) = [path for path in cached(clone) if path.read_bytes() == whole]
    flip(kept, len(whole) // 2)
    (clone.folder / weights).unlink()
    clone.run("dvc", "checkout")
    restored = (clone.folder / weights).read_bytes()
    assert sum(a != b for a, b in zip(restored, whole, strict=True)) == 1
    assert "up to date" in clone.run("dvc", "status", "dvc.yaml").stdout

    told = clone.run(*DOCTOR, check=False)
    mended = clone.run(*DOCTOR, "--fix").stdout
    clone.run("dvc", "repro", "--force")

    assert told.returncode == 1
    assert str(kept.relative_to(clone.folder)) in told.stdout
    assert f"restored from there: {weights}." in told.stdout
    assert mended.startswith("mended: DVC's cache is damaged")
    assert (clone.folder / weights).read_bytes() == kept.read_bytes() == whole
    assert clone.hashes(*MADE) == clone.made
    assert [path.read_bytes() for path in (clone.folder / ".dvc/tmp/damaged").iterdir()] == [
        restored
    ]
    count(bytes_flipped=1)


@pytest.mark.promise("A damaged file of the cache that nobody has restored yet is made again")
def test_what_is_damaged_in_the_cache_alone_is_made_again(clone):
    whole = (clone.folder / "evaluation/no_norm/test.csv").read_bytes()
    (kept,) = [path for path in cached(clone) if path.read_bytes() == whole]
    flip(kept, 0)

    assert clone.run(*DOCTOR, check=False).returncode == 1
    clone.run(*DOCTOR, "--fix")
    clone.run("dvc", "repro")

    assert kept.read_bytes() == whole
    assert clone.hashes(*MADE) == clone.made
    assert "all is well" in clone.run(*DOCTOR).stdout


@pytest.mark.promise(
    "Emptied, or cut so that it means nothing, `dvc.lock` or `rwlock` stops DVC with a message; "
    "`doctor` tells it, `--fix` mends it, and there is nothing to be made again"
)
@pytest.mark.parametrize(
    ("name", "last"),
    [(LOCK, b""), (LOCK, b"evaluate:\n    cm"), (RWLOCK, b""), (RWLOCK, b'"pid": 1')],
    ids=["lock-emptied", "lock-cut", "rwlock-emptied", "rwlock-cut"],
)
def test_truncated_locks_are_mended(clone, name, last, count):
    path = clone.folder / name
    if name == RWLOCK:
        # As a `dvc repro` has it that is at work.
        path.write_text('{"write": {"runs/no_norm": {"pid": 1, "cmd": "dvc repro"}}, "read": {}}')
    whole = path.read_bytes()
    cut = whole[: whole.index(last) + len(last)]
    path.write_bytes(cut)

    stopped = clone.run("dvc", "repro", check=False)
    told = clone.run(*DOCTOR, check=False)
    still = path.read_bytes()
    mended = clone.run(*DOCTOR, "--fix")
    after = clone.run("dvc", "repro").stdout

    assert stopped.returncode == 255
    assert name.name in stopped.stderr
    assert told.returncode == 1
    assert f"wrong: {name} is damaged" in told.stdout
    assert still == cut
    assert mended.stdout.startswith(f"mended: {name} is damaged")
    assert "Running stage" not in after
    assert clone.hashes(*MADE) == clone.made
    if name == LOCK:
        copy = clone.folder / "dvc.lock.damaged"
        assert copy.read_bytes() == cut
        copy.unlink()
    count(cuts=1)


@pytest.mark.promise(
    "Cut so that DVC can still read it, `dvc.lock` is completed: what it lacks is made again, and "
    "comes out the same"
)
@pytest.mark.parametrize("last", [b"track:\n    cmd: python -m pipeline", b"path: mlflow.tracked"])
def test_a_lock_that_lacks_its_end_is_completed(clone, last, count):
    path = clone.folder / LOCK
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(last) + len(last)])

    clone.run("dvc", "repro")

    assert clone.hashes(*MADE) == clone.made
    count(cuts=1)


@pytest.mark.promise(
    "A queued experiment whose worker was killed stays `Running` for DVC; after `dvc queue kill` "
    "and `dvc queue remove` it can be queued again, and each run is in MLflow once"
)
def test_the_task_of_a_killed_worker_is_run_again(clone, count):
    clone.run(*QUEUED)
    start(clone)
    wait_until(clone, lambda: in_mlflow(clone, "RUNNING"))
    tree = processes(clone)
    assert any("queue-worker" in process.cmdline() for process in tree)
    assert any("train" in process.cmdline() for process in tree)
    for process in tree:
        process.kill()
    psutil.wait_procs(tree, timeout=30)
    left = in_mlflow(clone, "RUNNING")

    # Nobody works, and DVC does not know.
    assert "Running" in clone.run("dvc", "queue", "status").stdout
    clone.run("dvc", "queue", "kill", "killed")
    assert "Failed" in clone.run("dvc", "queue", "status").stdout
    clone.run("dvc", "queue", "remove", "killed")
    clone.run(*QUEUED)
    start(clone)
    wait_until(clone, lambda: "Success" in clone.run("dvc", "queue", "status").stdout)

    _, trained, every = clone.finished_runs()
    assert len({run.data.tags[FINGERPRINT] for run in every}) == len(every)
    again = [run for run in trained if run.data.params.get("momentum") == "0.9"]
    assert sorted(run.data.params["seed"] for run in again) == ["0", "1"]
    # What had been begun was taken up, not begun a second time.
    assert set(left) <= {run.info.run_id for run in again}
    assert clone.hashes(*MADE) == clone.made
    count(processes_killed=len(tree), runs_taken_up=len(left))


def start(clone):
    subprocess.run(
        ["dvc", "queue", "start", "-j", "1"],
        cwd=clone.folder, env=clone.environment, check=True,
        # It leaves a worker behind, which would hold a pipe open for as long as it lives.
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def in_mlflow(clone, status):
    """Returns the ids of MLflow's runs in a state, without an MLflow that would keep it open."""
    connection = sqlite3.connect(clone.folder / "mlflow.db")
    rows = connection.execute("SELECT run_uuid FROM runs WHERE status = ?", (status,)).fetchall()
    connection.close()
    return [run_id for (run_id,) in rows]


def wait_until(clone, condition):
    until = time.monotonic() + WAITED_SECONDS
    while not condition():
        if time.monotonic() > until:
            pytest.fail(clone.run("dvc", "queue", "status").stdout)
        time.sleep(0.2)
