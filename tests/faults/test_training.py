"""Training

Every run is kept at the end of each epoch (weights, optimiser, scores so far, hashes of all of it),
two checkpoints back, beside the tracking store. What was broken off goes on from there.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

SEEDS, EPOCHS = 3, 400
PARAMETERS = {
    "training__epochs": EPOCHS, "training__seeds": SEEDS, "tracking__experiment": "faults",
}  # fmt: skip
WAITED_SECONDS = 60
KILLS = 20
TRAIN = (sys.executable, "-m", "pipeline", "train")
MADE = ("runs", "evaluation", "reports", "dvc.lock")


def made(clone):
    """What the stages made, but for when it was trained."""
    files = clone.hashes(*MADE)
    del files["reports/lineage.json"]
    return files


@pytest.fixture(scope="module")
def undisturbed(make_clone):
    """A clone in which nothing went wrong."""
    clone = make_clone(
        training__epochs=EPOCHS, training__seeds=SEEDS, tracking__experiment="faults"
    )
    clone.run("dvc", "repro", **watched(clone))
    return clone


def watched(clone, last=-1):
    """Returns the environment in which changes to the clone's files are counted.

    With the one whose number is `last`, all processes that are at work are killed.
    """
    counter = clone.folder.parent / "changes"
    counter.unlink(missing_ok=True)
    return {
        "PYTHONPATH": str(Path(__file__).with_name("killing")),
        "BNLAB_WATCHED": f"{clone.folder}/",
        "BNLAB_CHANGES": str(counter),
        "BNLAB_LAST_CHANGE": str(last),
    }


def changes(clone):
    """Returns how many were counted."""
    return (clone.folder.parent / "changes").stat().st_size


@pytest.fixture
def clone(make_clone):
    """Another like it, with prepared data."""
    clone = make_clone(
        training__epochs=EPOCHS, training__seeds=SEEDS, tracking__experiment="faults"
    )
    clone.run("dvc", "repro", "prepare")
    return clone


@pytest.fixture
def start(clone):
    """Starts a process at the head of a group of its own, to be killed as a whole or alone."""
    started = []

    def start(*command, **variables):
        started.append(
            subprocess.Popen(
                command,
                cwd=clone.folder, env=clone.environment | variables, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        kill(process)


def kill(process):
    """Ends a process and all that it started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=WAITED_SECONDS)


def checkpoints(clone):
    """Returns the files by the run that they are of, the newest last."""
    found = {}
    for path in sorted((clone.folder / ".bnlab/checkpoints").glob("*/[0-9]*.npz")):
        found.setdefault(path.parent.name, []).append(path)
    return found


def epochs(clone):
    """Returns how many epochs of each run are kept."""
    return {run: int(paths[-1].stem) for run, paths in checkpoints(clone).items()}


def wait(condition):
    until = time.monotonic() + WAITED_SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def wait_for_checkpoints(clone, runs=1):
    wait(lambda: len([epoch for epoch in epochs(clone).values() if epoch > 1]) >= runs)


def statuses(clone):
    """Returns the status of each run in MLflow by its name."""
    listed = """if True:
        import mlflow
        client = mlflow.MlflowClient("sqlite:///mlflow.db")
        (experiment,) = [e for e in client.search_experiments() if e.name == "faults"]
        for run in client.search_runs([experiment.experiment_id]):
            print(run.info.run_name, run.info.status)
    """
    said = clone.run(sys.executable, "-c", listed).stdout
    return dict(line.split() for line in said.splitlines())


@pytest.mark.drill
@pytest.mark.promise(
    "`dvc repro` killed with SIGKILL at random moments, told by what it has done, again and again: "
    "the end is the same to the byte, no epoch that was kept is lost, and no finished run of a "
    "variant that is not finished is trained again."
)
def test_killed_at_random_moments(clone, start, undisturbed, count):
    moments = random.Random(0)  # noqa: S311
    process = start("dvc", "repro", **watched(clone))
    wait_for_checkpoints(clone)
    kill(process)
    # Half the moments come before training. The others together reach from its start to its end.
    to_training = changes(clone)
    later = (changes(undisturbed) - to_training) // (KILLS // 2) * 2
    before, trained_on = epochs(clone), 0
    for number in range(KILLS):
        finished = {run for run, epoch in before.items() if epoch == EPOCHS}
        kept = {
            path: path.stat().st_mtime_ns for run in finished for path in checkpoints(clone)[run]
        }
        early, late = moments.randint(1, to_training), to_training + moments.randint(1, later)
        last = late if number % 2 else early
        process = start("dvc", "repro", **watched(clone, last))
        process.communicate(timeout=10 * WAITED_SECONDS)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        now = epochs(clone)
        count(kills=1, of_these_while_training=int(sum(now.values()) > sum(before.values())))
        # A variant that is done takes its checkpoints away.
        assert all(now[run] >= epoch for run, epoch in before.items() if run in now)
        assert all(path.stat().st_mtime_ns == then for path, then in kept.items() if path.exists())
        trained_on += sum(now.values()) > sum(before.values())
        before = now

    clone.run("dvc", "repro")

    assert trained_on > 3, "the kills came too early"
    assert made(clone) == made(undisturbed)
    _, trained, _ = clone.finished_runs()
    assert len(trained) == 2 * SEEDS
    assert not list((clone.folder / ".bnlab/checkpoints").glob("*/*"))


@pytest.mark.drill
@pytest.mark.promise(
    "TERM and INT end training after an epoch: it is kept, the runs in MLflow are KILLED, exit "
    "code 143 or 130, one line; `train` goes on from there to the same end."
)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_asked_to_end(clone, start, undisturbed, count, number, code):
    process = start(*TRAIN, "no_norm")
    wait_for_checkpoints(clone)

    process.send_signal(number)
    _, said = process.communicate(timeout=WAITED_SECONDS)

    count(signals=1)
    assert process.returncode == code
    last = said.splitlines()[-1]
    assert last == (
        f"error: ended by {number.name}; what was done is kept, and the same command goes on from "
        "there"
    )
    assert "Traceback" not in said
    assert set(statuses(clone).values()) == {"KILLED"}
    kept = sum(epochs(clone).values())
    assert 0 < kept < SEEDS * EPOCHS
    said = clone.run(*TRAIN, "no_norm").stderr
    done = map(int, re.findall(r"seed \d goes on: (\d+) epochs were done before", said))
    assert sum(done) == kept
    assert clone.hashes("runs/no_norm") == undisturbed.hashes("runs/no_norm")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.drill
@pytest.mark.promise(
    "A checkpoint that is cut, flipped or emptied: one warning, the one before is taken, the same "
    "end; both damaged: from the start, the same end."
)
@pytest.mark.parametrize(("damage", "damaged"), [(cut, 1), (flip, 1), (empty, 1), (flip, 2)])
def test_damaged_checkpoints(clone, start, undisturbed, count, damage, damaged):
    process = start(*TRAIN, "batch_norm")
    wait_for_checkpoints(clone)
    kill(process)
    paths = [path for run in checkpoints(clone).values() for path in run[-damaged:]]
    for path in paths:
        damage(path)

    said = clone.run(*TRAIN, "batch_norm").stderr

    count(checkpoints=len(paths))
    warnings = [line for line in said.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == len(paths)
    assert all("a checkpoint is of no use" in line for line in warnings)
    assert clone.hashes("runs/batch_norm") == undisturbed.hashes("runs/batch_norm")


@pytest.mark.drill
@pytest.mark.promise(
    "The disk fills up while training: exit code 74, one line, the checkpoints before are whole, "
    "nothing half-written is left; with room again it goes on to the same end."
)
def test_full_disk(clone, start, undisturbed, mount, count):
    disk = mount(clone.folder / ".bnlab/checkpoints", "size=1m")
    process = start(*TRAIN, "no_norm")
    wait_for_checkpoints(clone)

    with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="space"):
        while True:
            count(bytes=filler.write(bytes(1024)))
    _, said = process.communicate(timeout=WAITED_SECONDS)

    assert process.returncode == 74
    assert said.splitlines()[-1].endswith("cannot be written: No space left on device")
    assert "Traceback" not in said
    (disk / "filler").unlink()
    assert {path.suffix for path in disk.glob("*/*")} == {".npz"}
    again = clone.run(*TRAIN, "no_norm").stderr
    assert "WARNING" not in again
    assert clone.hashes("runs/no_norm") == undisturbed.hashes("runs/no_norm")


def training(process):
    """Returns the process that trains, which DVC has started."""
    (found,) = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "train" in child.cmdline() and Path(child.exe()).name.startswith("python")
    ]
    return found


@pytest.mark.drill
@pytest.mark.promise(
    "DVC killed, its training left alone: while it lasts, another is refused with 75 and its "
    "number; it ends by itself within an epoch of each worker; `dvc repro` goes on."
)
def test_dvc_killed(clone, start, undisturbed, count):
    process = start("dvc", "repro")
    wait_for_checkpoints(clone)
    child = training(process)
    variant = child.cmdline()[-1]
    child.suspend()

    refused = clone.run(*TRAIN, variant, check=False)
    process.kill()
    process.wait(WAITED_SECONDS)
    before = sum(epochs(clone).values())
    child.resume()
    child.wait(WAITED_SECONDS)

    assert refused.returncode == 75
    assert f"is being trained by process {child.pid} " in refused.stderr.splitlines()[-1]
    more = sum(epochs(clone).values()) - before
    # One worker (see `make_clone`): the epoch under way when it was stopped, and no other.
    assert more <= 1
    count(epochs_after_the_end_of_DVC=more)
    clone.run("dvc", "repro")
    assert made(clone) == made(undisturbed)
