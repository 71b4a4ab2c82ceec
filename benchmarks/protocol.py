"""How the benchmark talks to a process that trains: by lines of JSON.

The first line sent to a process is the job, and its first answer says that it is ready. After
that, each line is a task, such as `{"variant": "no_norm", "seeds": [0, 1]}`. The answer holds the
scores of each seed and epoch, and the peak memory of the process so far.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from benchmarks.job import Job, Scores, TrainMany
from pipeline.portable import SETTINGS

# Set for this project's own results when `pipeline` is imported, here and, with the job, in the
# processes of its peers. Those run as their users have them, but for the backend and the GPU.
_OWN_SETTINGS = {"XLA_FLAGS", *SETTINGS} - {"CUDA_VISIBLE_DEVICES", "KERAS_BACKEND"}
# Of `ru_maxrss`: kilobytes, but on a Mac bytes.
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Answer:
    """The result of a task.

    Attributes:
        scores: of each seed and epoch.
        peak_memory: of the process so far, in bytes.
    """

    scores: Sequence[Sequence[Scores]]
    peak_memory: int


class PeerError(Exception):
    """A contestant failed at its job."""


def serve(make: Callable[[Job], TrainMany], *, is_peer: bool = True) -> None:
    """Answers the tasks on standard input until it ends, with the function that `make` returns.

    Args:
        make: returns what trains.
        is_peer: whether it runs without this project's settings.
    """
    for name in _OWN_SETTINGS if is_peer else ():
        os.environ.pop(name, None)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # Libraries that print must not disturb the answers.
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
    """Returns the peak memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MEMORY_UNIT


class Process:
    """A process that runs `serve`; it ends with the `with` block."""

    def __init__(self, python: str, module: str, settings: Mapping[str, str]) -> None:
        """Starts `python -m module` with `settings` in its environment."""
        self.module = module
        # Without GPU, so that all contestants have the same processor.
        environment = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        inherited = {k: v for k, v in os.environ.items() if k not in _OWN_SETTINGS}
        # What a library prints may be more than a pipe holds.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-m", module],
            env=inherited | environment | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        """Returns this process."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def prepare(self, job: Job) -> None:
        """Sends the job, without waiting."""
        self._send(asdict(job))

    def expect_ready(self) -> None:
        """Waits until the process is ready for tasks."""
        self._receive()

    def ask(self, variant: str, seeds: Sequence[int]) -> None:
        """Sends a task, without waiting."""
        self._send({"variant": variant, "seeds": seeds})

    def answer(self) -> Answer:
        """Waits for the answer to the task, and returns it."""
        received = self._receive()
        scores = [[Scores(*epoch) for epoch in seed] for seed in received["scores"]]
        return Answer(scores, received["peak_memory"])

    def _send(self, value: Mapping[str, Any]) -> None:
        try:
            print(json.dumps(value), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failed() from None

    def _receive(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        return json.loads(line)

    def _failed(self) -> PeerError:
        self._process.communicate()
        self._errors.seek(0)
        return PeerError(f"{self.module} ended:\n{self._errors.read()[-4000:]}")
