"""Times all contestants at the same job, in turn, in one run."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.agreement import Sample, disagreements
from benchmarks.job import VARIANTS, Job
from benchmarks.protocol import Answer, PeerError, Process
from benchmarks.results import spread

PEERS_PYTHON = "benchmarks/.venv/bin/python"
_CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Contestant:
    """A program that takes part, and how it is run.

    Attributes:
        name: in results.json.
        label: for people.
        module: of `benchmarks.peers`.
        python: the interpreter that has its library.
        settings: its environment variables.
        processes: how many processes share its seeds.
        seeds: how many pairs it trains in a round.
        epochs: of each pair. Fast contestants train more, so that a round takes seconds and the
            cost of starting a pair matters as little as in the notebook's ten epochs.
    """

    name: str
    label: str
    module: str
    python: str
    settings: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    seeds: int = 1
    epochs: int = 1


PROJECT = Contestant(
    "bnlab",
    "bnlab",
    "bnlab",
    sys.executable,
    seeds=2 * _CORES,
    epochs=5,
)
CONTESTANTS = (
    PROJECT,
    Contestant("keras_fit", "Keras fit + evaluate", "keras_fit", sys.executable),
    Contestant(
        "keras_fit_chunks",
        "Keras fit + evaluate, 50 steps a call",
        "keras_fit_chunks",
        sys.executable,
    ),
    Contestant("tf_function", "tf.function step from Python", "tf_function", sys.executable),
    Contestant("tf1_session", "TF1 session, feed_dict", "tf1_session", sys.executable),
    Contestant("torch_eager", "PyTorch eager", "torch_eager", PEERS_PYTHON),
    Contestant(
        "torch_eager_per_core",
        "PyTorch eager, a process a core",
        "torch_eager",
        PEERS_PYTHON,
        processes=_CORES,
        seeds=_CORES,
    ),
    Contestant("torch_compile", "PyTorch torch.compile", "torch_compile", PEERS_PYTHON),
    Contestant("jax_scan", "JAX lax.scan", "jax_scan", PEERS_PYTHON, seeds=2 * _CORES, epochs=5),
)

# Of convolutions: one pair takes as long as many of the notebook's.
WITH_CONVOLUTIONS = (
    replace(PROJECT, seeds=_CORES, epochs=1),
    *(one for one in CONTESTANTS if one.name in {"keras_fit", "torch_eager"}),
)


class Entry:
    """A contestant's processes, and what was measured of them."""

    def __init__(self, contestant: Contestant, job: Job, stack: ExitStack) -> None:
        """Starts the processes without waiting for them; they end with the stack."""
        self.contestant = contestant
        self._processes = [
            stack.enter_context(
                Process(
                    contestant.python, f"benchmarks.peers.{contestant.module}", contestant.settings
                )
            )
            for _ in range(contestant.processes)
        ]
        for process in self._processes:
            process.prepare(replace(job, epochs=contestant.epochs))
        self._seeds = itertools.count()
        self.seconds: list[float] = []
        self.samples: dict[str, list[Any]] = {variant: [] for variant in VARIANTS}
        self.peak_memory = 0

    def expect_ready(self) -> None:
        """Waits until its processes are ready for tasks."""
        for process in self._processes:
            process.expect_ready()

    def round(self) -> None:
        """Trains the next pairs, and notes how long they took."""
        seeds = list(itertools.islice(self._seeds, self.contestant.seeds))
        started = time.perf_counter()
        answers = [list(self._answers(variant, seeds)) for variant in VARIANTS]
        self.seconds.append(time.perf_counter() - started)
        self.peak_memory = max(
            sum(answer.peak_memory for answer in together) for together in answers
        )
        for variant, together in zip(VARIANTS, answers, strict=True):
            self.samples[variant] += [curve for answer in together for curve in answer.scores]

    def _answers(self, variant: str, seeds: Sequence[int]) -> Iterator[Answer]:
        processes = len(self._processes)
        for i, process in enumerate(self._processes):
            process.ask(variant, seeds[i::processes])
        for process in self._processes:
            yield process.answer()

    @property
    def rates(self) -> NDArray[np.float64]:
        """Pair-epochs per second of each round, without the first, in which it compiles."""
        return self.contestant.seeds * self.contestant.epochs / np.array(self.seconds[1:])

    @property
    def compile_seconds(self) -> float:
        """How much longer the first round took than the median of the others."""
        return self.seconds[0] - median(self.seconds[1:])

    def sample(self) -> Sample:
        """Returns accuracies [seeds, 1] after the first epoch, the only one that all train."""
        return {
            f"{variant} {name}": np.array(
                [[getattr(curve[0], f"{name}_accuracy")] for curve in curves]
            )
            for variant, curves in self.samples.items()
            for name in ("train", "validation")
        }


def run(job: Job, rounds: int, contestants: Sequence[Contestant] = CONTESTANTS) -> dict[str, Any]:
    """Returns what was measured of each contestant, the project first.

    Raises:
        PeerError: if one of them does not learn the same as the project.
    """
    with ExitStack() as stack:
        entries = [Entry(contestant, job, stack) for contestant in contestants]
        for entry in entries:
            entry.expect_ready()
        for _ in range(1 + rounds):
            for entry in entries:
                entry.round()
                print(f"{entry.contestant.label}: {entry.seconds[-1]:.2f} s", file=sys.stderr)
    project, *peers = entries
    if lines := [
        f"{peer.contestant.label}: {line}"
        for peer in peers
        for line in disagreements(project.sample(), peer.sample(), comparisons=len(peers))
    ]:
        raise PeerError("these do not learn the same as bnlab:\n" + "\n".join(lines))
    return {
        "rounds": rounds,
        "contestants": {entry.contestant.name: _record(entry, project) for entry in entries},
    }


def _record(entry: Entry, project: Entry) -> dict[str, Any]:
    return {
        "label": entry.contestant.label,
        "pair_epochs_per_second": spread(entry.rates),
        "times_slower": spread(project.rates / entry.rates),
        "compile_seconds": entry.compile_seconds,
        "peak_memory": entry.peak_memory,
        "seeds": entry.contestant.seeds * len(entry.seconds),
        "epochs": entry.contestant.epochs,
        "accuracy": {name: spread(values) for name, values in entry.sample().items()},
    }
