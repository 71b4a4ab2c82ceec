"""How the benchmark talks to a process that trains: a line of JSON each way.

`{"variant": "no_norm", "seeds": [0, 1]}` is answered by the scores of each seed and
epoch and by the most memory that the process ever took. The first line that a process is sent is
the job, the first that it answers tells that it is ready.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from benchmarks.job import Job, Scores, TrainMany

# Of `ru_maxrss`: kilobytes, but on a Mac bytes.
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Answer:
    """What came of a task.

    Attributes:
        scores: of each seed and epoch.
        peak_memory: of the process so far, in bytes.
    """

    scores: Sequence[Sequence[Scores]]
    peak_memory: int


class PeerError(Exception):
    """A peer did not do what it was asked."""


def serve(make: Callable[[Job], TrainMany]) -> None:
    """Answers tasks on standard input until it ends; `make` returns what does them."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # Whatever else is printed would not be an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(value: Mapping[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    job = Job.of(json.loads(sys.stdin.readline()))
    train = make(job)
    answer({"ready": True})
    for line in sys.stdin:
        scores = train(**json.loads(line))
        answer({"scores": scores, "peak_memory": peak_memory()})


def peak_memory() -> int:
    """Returns the most memory that this process ever took, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MEMORY_UNIT


class Process:
    """A process that serves; it ends with the `with` block."""

    def __init__(self, python: str, module: str, settings: Mapping[str, str]) -> None:
        """Starts `python -m module` with `settings` in its environment."""
        self.module = module
        # No GPU: everybody is to have the same processor.
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [python, "-m", module],
            env=environment | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        """The process."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()

    def prepare(self, job: Job) -> None:
        """Hands it the job and does not wait."""
        self._tell(asdict(job))

    def expect_ready(self) -> None:
        """Waits until it can be asked."""
        self._hear()

    def ask(self, variant: str, seeds: Sequence[int]) -> None:
        """Gives it a task and does not wait."""
        self._tell({"variant": variant, "seeds": seeds})

    def answer(self) -> Answer:
        """Waits for the answer to the task."""
        heard = self._hear()
        scores = [[Scores(*epoch) for epoch in seed] for seed in heard["scores"]]
        return Answer(scores, heard["peak_memory"])

    def _tell(self, value: Mapping[str, Any]) -> None:
        try:
            print(json.dumps(value), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failed() from None

    def _hear(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        return json.loads(line)

    def _failed(self) -> PeerError:
        _, told = self._process.communicate()
        return PeerError(f"{self.module} ended:\n{told[-4000:]}")
