import functools
import hashlib
import platform
import re
import shutil
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import (
    ArgumentError,
    InterruptedTrainingError,
    ParamsError,
    PendingError,
    PipelineError,
    UnavailableError,
)
from pipeline.examples.dataset import Dataset, Examples
from pipeline.execution.engines import Threads, Watcher, engine
from pipeline.params import Optimizer, Training, Variant
from pipeline.provenance.lineage import present_machine
from pipeline.studies.run import _trials
from pipeline.training.network_file import network_class
from pipeline.training.normalization import BatchNorm, NoNorm
from pipeline.training.trainer import Task, Trainer
from tests import nodes

pytest.importorskip("ray", reason="Ray is not installed")
from ray.exceptions import NodeDiedError, WorkerCrashedError

from pipeline.execution import ray_engine

pytestmark = pytest.mark.slow

NETWORKS = Path("networks").resolve()
NETWORK, FAILS = "networks/dense.py", "networks/fails.py"
SEEDS, EPOCHS = 3, 4


class Told(Watcher):
    """Notes what it is told; has a snapshot of some seeds."""

    def __init__(self, snapshots=()):
        self.epochs, self.kept, self.machines, self.ended = [], [], {}, []
        self.snapshots = dict(snapshots)

    def begin(self, seed):
        return self.snapshots.get(seed)

    def keep(self, seed, snapshot):
        self.kept.append((seed, snapshot))

    def tell(self, scores):
        self.epochs.append((scores.seed, scores.epoch))

    def trained_on(self, seed, machine):
        self.machines[seed] = machine

    def end(self, seed):
        self.ended.append(seed)


def variant(normalization, epochs=EPOCHS, code=NETWORK, **network):
    chosen = network or {"hidden_dims": [6], "activation": "relu"}
    return Variant(
        label="A variant",
        normalization=normalization,
        network=network_class(code)(code=code, **chosen),
        training=Training(
            epochs=epochs,
            batch_size=8,
            seeds=1,
            optimizer=Optimizer(name="adam", learning_rate=0.01),
        ),
    )


BATCH_NORM = BatchNorm(momentum=0.9, epsilon=0.001, center=True, scale=True)
NORMALIZATIONS = {"batch_norm": BATCH_NORM, "no_norm": NoNorm()}


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)

    def examples(count):
        pixels = rng.integers(0, 256, (count, 5, 4), np.uint8)
        return Examples(pixels, rng.integers(0, 3, count).astype(np.uint8))

    return Dataset(examples(80), examples(20), examples(9), ("a", "b", "c"))


@pytest.fixture(scope="module")
def cluster():
    with nodes.cluster() as made:
        yield made


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with networks, one of which cannot be built, as the current folder."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(NETWORKS, folder / "networks")
    before, head, after = (
        (NETWORKS / "dense.py").read_text().partition("def logits(self, classes):")
    )
    (folder / FAILS).write_text(f"{before}{head}\n        1 / 0\n{after}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def by_ray(cluster, project):  # noqa: ARG001
    with ray_engine.RayEngine(cluster.address, [NETWORK, FAILS]) as made:
        yield made


def run(trains_on, dataset, tasks, watcher=None):
    return list(trains_on.results(Trainer, dataset, tasks, watcher))


def bits(results):
    """A hash of each run's weights, scores and architecture."""
    return {
        task.seed: (
            hashlib.sha256(b"".join(weight.tobytes() for weight in run.weights)).hexdigest(),
            run.history,
            run.architecture,
        )
        for task, run in results
    }


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_runs_have_the_bits_of_threads(by_ray, dataset, name):
    tasks = [Task(variant(NORMALIZATIONS[name]), seed) for seed in range(SEEDS)]
    told, also = Told(), Told()
    with Threads(2) as threads:
        expected = bits(run(threads, dataset, tasks, also))

    assert bits(run(by_ray, dataset, tasks, told)) == expected
    assert len(set(expected.values())) == SEEDS
    every = {(seed, epoch) for seed in range(SEEDS) for epoch in range(EPOCHS)}
    assert sorted(told.epochs) == sorted(also.epochs) == sorted(every)
    assert sorted(told.ended) == list(range(SEEDS))


def test_what_a_worker_tells_reaches_the_hooks(by_ray, dataset):
    chosen, told = variant(NoNorm()), Told()

    run(by_ray, dataset, [Task(chosen, 7)], told)

    last = told.kept[-1][1]
    assert [scores.epoch for scores in last.history] == list(range(EPOCHS))
    assert told.machines == {7: present_machine(threads=1)}


def test_a_run_goes_on_from_a_snapshot_to_the_same_bits(by_ray, dataset):
    task, told = Task(variant(BATCH_NORM), 3), Told()
    with Threads(1) as threads:
        expected = bits(run(threads, dataset, [task], told))
    after_two = next(snapshot for _, snapshot in told.kept if len(snapshot.history) == 2)
    again = Told({3: after_two})

    assert bits(run(by_ray, dataset, [task], again)) == expected
    assert again.epochs == [(3, epoch) for epoch in range(EPOCHS)]
    assert all(len(snapshot.history) > 2 for _, snapshot in again.kept)


def test_a_run_that_is_finished_is_not_trained(by_ray, dataset):
    class Has(Told):
        def finished(self, seed):
            return f"the run of {seed}"

    told = Has()
    task = Task(variant(NoNorm()), 0)

    assert run(by_ray, dataset, [task], told) == [(task, "the run of 0")]
    assert (told.epochs, told.ended) == ([], [])


def test_trials_of_studies_are_those_of_threads(by_ray, dataset):
    make = functools.partial(_trials, probes=("dead_units",), followed=None, untrained=False)
    tasks = [Task(variant(BATCH_NORM), seed) for seed in range(2)]
    with Threads(1) as threads:
        expected = dict(threads.results(make, dataset, tasks))

    assert dict(by_ray.results(make, dataset, tasks)) == expected


def test_an_error_of_the_code_comes_back_as_it_is(by_ray, dataset):
    with pytest.raises(ParamsError, match=r"^networks/fails.py, line \d+: ZeroDivisionError"):
        run(by_ray, dataset, [Task(variant(NoNorm(), code=FAILS), 0)])


def test_training_ends_when_it_is_asked_to(by_ray, dataset, monkeypatch):
    def check():
        raise InterruptedTrainingError("enough", 15)

    monkeypatch.setattr(by_ray, "_check", check)
    with pytest.raises(InterruptedTrainingError, match="enough"):
        run(by_ray, dataset, [Task(variant(NoNorm()), 0)])


@pytest.mark.parametrize(
    ("need", "other"), [("numpy", "1.0"), ("Python", "3.9"), ("code", "0123abcd")]
)
def test_a_node_that_is_otherwise_is_refused(by_ray, dataset, monkeypatch, need, other):
    needs = by_ray._needs[NETWORK]
    monkeypatch.setitem(by_ray._needs, NETWORK, needs | {need: other})
    refused = pytest.raises(PipelineError, match=f"{need} {needs[need]} instead of {other}")
    with refused as told:
        run(by_ray, dataset, [Task(variant(NoNorm()), 0)])
    assert str(told.value).startswith(f"the Ray node {platform.node()} has {need}")


def test_only_code_is_sent(project, tmp_path):
    (project / "data").mkdir(exist_ok=True)
    outside = tmp_path / "network.py"
    outside.touch()

    ray_engine._copy_code(tmp_path / "sent", [NETWORK, str(outside)])

    sent = {path.relative_to(tmp_path / "sent") for path in (tmp_path / "sent").rglob("*.*")}
    assert Path(NETWORK) in sent
    assert Path("pipeline/portable.py") in sent
    assert {path.parts[0] for path in sent} == {"pipeline", "networks"}
    assert not [path for path in sent if path.suffix == ".pyc"]


def test_where_nothing_listens_it_is_told_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        begun = time.monotonic()
        refused = pytest.raises(PendingError, match=f"no Ray cluster answers at {address}: ")
        with refused, ray_engine.RayEngine(address, []):
            pytest.fail("there is none")
    assert time.monotonic() - begun < 6


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("ray://127.0.0.1:1", ArgumentError, "of Ray Client"),
        ("nonsense", PendingError, "Invalid"),
    ],
)
def test_other_addresses_are_refused(address, error, says):
    with pytest.raises(error, match=says), ray_engine.RayEngine(address, []):
        pytest.fail("there is none")


def test_a_task_that_loses_worker_after_worker_ends_training(caplog):
    course = ray_engine._Course(Task(variant(NoNorm()), 2))
    lost, gone = WorkerCrashedError(), NodeDiedError("gone")
    for _ in range(20):
        course.lose(gone)
    for _ in range(4):
        course.lose(lost)
    with pytest.raises(UnavailableError, match="A variant, seed 2: 5 workers of Ray were lost"):
        course.lose(lost)
    assert caplog.messages[0] == "A variant, seed 2: its node was lost; it goes on after epoch 0"


@pytest.mark.parametrize(
    ("name", "address", "ray"),
    [
        (None, None, False),
        (None, "127.0.0.1:1", True),
        ("ray", None, True),
        ("threads", "x", False),
    ],
)
def test_the_engine_is_ray_where_it_is_named_or_a_cluster_is(monkeypatch, name, address, ray):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert isinstance(engine(name, 1, []), ray_engine.RayEngine) == ray


def test_without_ray_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "pipeline.execution.ray_engine")
    with pytest.raises(PipelineError, match=re.escape("pip install '.[pipeline,team]'")):
        engine("ray", 1, [])
