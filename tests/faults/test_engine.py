"""Many machines

Runs that train on two nodes of a Ray cluster, of which one is lost, or the process that watches.
Whatever happens, `runs/` has the bytes of a training by threads in which nothing did.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests import nodes
from tests.faults.servers import wait_for

pytest.importorskip("ray", reason="Ray is not installed")

pytestmark = pytest.mark.drill

SEEDS, EPOCHS, VARIANT = 4, 300, "no_norm"
TRAIN = (sys.executable, "-m", "pipeline", "train", VARIANT)
RUNS = f"runs/{VARIANT}"


@pytest.fixture(scope="module")
def new_clone(make_clone):
    def new():
        clone = make_clone(training__epochs=EPOCHS, training__seeds=SEEDS)
        for stage in ("download", "prepare"):
            clone.run(sys.executable, "-m", "pipeline", stage)
        return clone

    return new


@pytest.fixture(scope="module")
def undisturbed(new_clone):
    """What threads make."""
    clone = new_clone()
    clone.run(*TRAIN)
    return clone.hashes(RUNS)


@pytest.fixture
def clone(new_clone):
    return new_clone()


@pytest.fixture
def cluster():
    with nodes.cluster() as made:
        yield made


@pytest.fixture
def start(cluster):
    """Starts training on the cluster, in a process that is the first of its group."""
    started = []

    def start(clone):
        # More at once than a test's process has by default.
        environment = clone.environment | {"RAY_ADDRESS": cluster.address}
        environment.pop("BNLAB_WORKERS")
        started.append(
            subprocess.Popen(
                TRAIN,
                cwd=clone.folder, env=environment, start_new_session=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def kept(clone):
    """Returns how many epochs are kept of each run."""
    paths = sorted((clone.folder / ".bnlab/checkpoints").glob("*/[0-9]*.npz"))
    return {path.parent.name: int(path.stem) for path in paths}


def lost(said):
    """Returns the lines that tell of a loss; there are no others than these and the epochs'."""
    lines = said.splitlines()
    told = [line for line in lines if line.startswith("WARNING: ")]
    assert len([line for line in lines if ": seed " in line]) == len(lines) - len(told)
    return told


def ended_well(process, clone, undisturbed):
    """Returns what it said, but for the first line, that so few seeds give no verdict."""
    out, said = process.communicate(timeout=300)
    assert (process.returncode, out) == (0, ""), said
    few, _, said = said.partition("\n")
    assert f"{SEEDS} pairs cannot give a verdict" in few
    assert clone.hashes(RUNS) == undisturbed
    # Each epoch is told, and none twice: more than all would be counted.
    *_, last = (line for line in said.splitlines() if not line.startswith("WARNING: "))
    assert last.endswith(f"({SEEDS * EPOCHS} of {SEEDS * EPOCHS})")
    return said


@pytest.mark.promise(
    "Workers killed with SIGKILL: a line for each, their runs go on from the last epoch that was "
    "told, no epoch is told twice, the same bytes"
)
def test_workers_killed(clone, cluster, start, undisturbed, count):  # noqa: ARG001
    process = start(clone)
    for epochs in (1, EPOCHS):
        wait_for(lambda: sum(kept(clone).values()) > epochs)  # noqa: B023
        nodes.workers()[0].kill()

    said = ended_well(process, clone, undisturbed)

    count(workers_killed=2)
    assert len(lost(said)) == 2
    assert all("its worker was lost; it goes on after epoch" in line for line in lost(said))


@pytest.mark.promise(
    "A node removed and another added while training: the same bytes, no epoch is told twice"
)
def test_a_node_removed(clone, cluster, start, undisturbed, count):
    process = start(clone)
    wait_for(lambda: len(kept(clone)) > 1)

    cluster.remove_node(max(cluster.worker_nodes, key=id), allow_graceful=False)
    nodes.add(cluster)

    said = ended_well(process, clone, undisturbed)
    count(nodes_removed=1, nodes_added=1)
    assert len(lost(said)) == 1
    assert "its node was lost; it goes on after epoch" in lost(said)[0]


@pytest.mark.promise(
    "The driver killed with SIGKILL: its workers end, what was finished is not trained again, the "
    "same command goes on to the same bytes"
)
def test_the_driver_killed(clone, start, undisturbed, count):
    process = start(clone)
    wait_for(lambda: EPOCHS in kept(clone).values())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = kept(clone)
    count(drivers_killed=1, runs_finished=list(before.values()).count(EPOCHS))

    wait_for(lambda: not nodes.workers())
    said = ended_well(start(clone), clone, undisturbed)

    # The epochs that a checkpoint holds are told again, all at once; there is no other line.
    assert len(said.splitlines()) == 4
    assert not kept(clone)


@pytest.mark.promise(
    "INT ends training within seconds with 130 and one line, whatever the workers do; the same "
    "command goes on to the same bytes"
)
def test_the_driver_interrupted(clone, start, undisturbed, peak):
    process = start(clone)
    wait_for(lambda: kept(clone))
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    peak(seconds_to_the_end=time.monotonic() - asked)

    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("error: ended by SIGINT; what was done is kept")
    ended_well(start(clone), clone, undisturbed)


@pytest.mark.promise(
    "Two drivers on the same cells: in one checkout the second is refused with 75; from two "
    "checkouts both end with the same bytes"
)
def test_two_drivers(clone, new_clone, start, undisturbed, count):
    other = new_clone()
    first, second = start(clone), start(other)
    # Either may be given both nodes first.
    wait_for(lambda: list((clone.folder / ".bnlab/locks").glob("*")))
    wait_for(lambda: kept(clone) or kept(other))
    refused = start(clone)
    _, said = refused.communicate(timeout=100)

    assert refused.returncode == 75
    assert f"is being trained by process {first.pid} " in said
    ended_well(first, clone, undisturbed)
    ended_well(second, other, undisturbed)
    count(drivers=2, refused=1)


@pytest.mark.promise(
    "A node whose disk is full sets up no worker: it is left out, in one line, and the others make "
    "the same bytes"
)
def test_a_node_with_a_full_disk(clone, cluster, start, undisturbed, mount, count):
    disk = mount(Path(cluster.head_node.temp_dir) / "full", "size=30m")
    nodes.add(cluster, disk)
    with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="space"):
        while True:
            count(bytes=filler.write(bytes(1024)))

    said = ended_well(start(clone), clone, undisturbed)

    assert [line for line in lost(said) if "sets up no worker" in line]
