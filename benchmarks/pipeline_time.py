"""Measures where the time of `dvc repro` goes, in a fresh clone of the last commit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.protocol import PeerError
from benchmarks.results import spread
from pipeline.datasets.catalogue import RAW_FOLDER
from pipeline.errors import MissingInputError

_STAGE = re.compile(r"Running stage '(.+)'")
_EPOCH = re.compile(r"\((\d+) of (\d+)\)$")
# Time between two measurements of the memory of all processes.
_SAMPLE_SECONDS = 0.1
_OURS = ("BNLAB_", "DVC_", "GIT_", "MLFLOW_", "PYTHON")


@dataclass(frozen=True)
class Line:
    """A line that a command printed, and when, in seconds since it began."""

    at: float
    text: str


@dataclass
class Watched:
    """A command that has ended.

    Attributes:
        lines: all that it printed.
        exit_code: its exit code.
        seconds: how long it took.
        peak_memory: bytes of it and its children together; shared memory counts for each.
    """

    lines: list[Line] = field(default_factory=list)
    exit_code: int = 0
    seconds: float = 0.0
    peak_memory: int = 0


def run(*, quick: bool) -> dict[str, Any]:
    """Returns the times of a first `dvc repro`, of one with nothing to do, and of `track`."""
    with fresh_clone() as clone:
        clone.run("dvc", "repro", "prepare")
        training_import = clone.import_seconds("train", "batch_norm")
        evaluation_import = clone.import_seconds("evaluate")
        # It is committed and up to date, so `compare` would be skipped.
        (clone.folder / "reports/comparison.json").unlink()
        print("dvc repro …", file=sys.stderr)
        whole = clone.run("dvc", "repro")
        stages = stage_seconds(whole)
        idle = [clone.run("dvc", "repro").seconds for _ in range(2 if quick else 5)]
        clone.remove_store()
        track = clone.run(sys.executable, "-m", "pipeline", "track")
    return {
        "seconds": whole.seconds,
        "peak_memory": whole.peak_memory,
        "stages": stages,
        "train": {
            name: training_seconds(whole, name, training_import)
            for name in stages
            if name.startswith("train@")
        },
        "evaluate": {"import": evaluation_import},
        "nothing_to_do": spread(idle),
        "track_from_nothing": {"seconds": track.seconds, "peak_memory": track.peak_memory},
    }


def stage_seconds(watched: Watched) -> dict[str, float]:
    """Returns how long each stage took, including DVC's own work for it."""
    starts = [(match[1], line.at) for line in watched.lines if (match := _STAGE.search(line.text))]
    ends = [at for _, at in starts[1:]] + [watched.seconds]
    before = {"dvc before the first stage": starts[0][1]} if starts else {}
    return before | {name: end - start for (name, start), end in zip(starts, ends, strict=True)}


def training_seconds(watched: Watched, stage: str, import_seconds: float) -> dict[str, float]:
    """Returns what a training stage spent its time on.

    `import` was measured separately. `train` is the time of all epochs at the rate of those in the
    second half, and `compile` is how much longer the first ones took. `rest` is the time after the
    last epoch: models, files, MLflow, DVC.
    """
    lines = [line.text for line in watched.lines]
    first = next(i for i, text in enumerate(lines) if f"'{stage}'" in text)
    last = next((i for i in range(first + 1, len(lines)) if _STAGE.search(lines[i])), len(lines))
    begun = watched.lines[first].at
    ended = watched.lines[last].at if last < len(lines) else watched.seconds
    epochs = [line.at for line in watched.lines[first:last] if _EPOCH.search(line.text)]
    half = len(epochs) // 2
    train = (epochs[-1] - epochs[half]) / (len(epochs) - 1 - half) * len(epochs)
    return {
        "import": import_seconds,
        "compile": epochs[-1] - begun - import_seconds - train,
        "train": train,
        "rest": ended - epochs[-1],
    }


class Clone:
    """A clone in which commands are run and watched."""

    def __init__(self, folder: Path) -> None:
        """Prepares an environment whose mirror is `MNIST_MIRROR`, or this checkout's raw data."""
        self.folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
        # Earlier commits take the files only as they were published.
        mirror = os.environ.get("MNIST_MIRROR", str(RAW_FOLDER))
        mirror = str(Path(mirror).resolve()) if Path(mirror).exists() else mirror
        settings = {"PATH": path, "MNIST_MIRROR": mirror, "PYTHONUNBUFFERED": "1"}
        self._environment = inherited | settings

    def run(self, *command: str, **variables: str) -> Watched:
        """Runs a command to its end, with variables; raises PeerError if it fails."""
        watched = self._watch(command, self.folder, variables)
        return _expect(watched, 0)

    def import_seconds(self, *command: str) -> float:
        """Returns how long a stage takes to fail for lack of input, after it imported all."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "params.yaml").write_bytes((self.folder / "params.yaml").read_bytes())
            for code in ("pipeline", "networks"):
                (folder / code).symlink_to(self.folder / code)
            arguments = [sys.executable, "-m", "pipeline", *command]
            exit_code = MissingInputError.exit_code
            attempts = [_expect(self._watch(arguments, folder), exit_code) for _ in range(2)]
            return min(watched.seconds for watched in attempts)

    def remove_store(self) -> None:
        """Removes MLflow's database."""
        for path in self.folder.glob("mlflow.*"):
            path.unlink()

    def _watch(
        self, command: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None
    ) -> Watched:
        watched, started = Watched(), time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=self._environment | dict(variables or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        sampling = threading.Thread(target=_sample_memory, args=(process, watched))
        sampling.start()
        for line in process.stdout:
            watched.lines.append(Line(time.perf_counter() - started, line.rstrip()))
        watched.exit_code = process.wait()
        watched.seconds = time.perf_counter() - started
        sampling.join()
        return watched


@contextmanager
def fresh_clone(commit: str = "HEAD") -> Iterator[Clone]:
    """Yields a clone of the last commit, or of another."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "bnlab"
        subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
        there = ["git", "-C", str(folder), "reset", "--quiet", "--hard", commit]
        if subprocess.run(there, check=False).returncode:
            raise PeerError(f"{commit} cannot be checked out; name a commit of this repository")
        yield Clone(folder)


def _expect(watched: Watched, exit_code: int) -> Watched:
    if watched.exit_code != exit_code:
        output = "\n".join(line.text for line in watched.lines[-30:])
        raise PeerError(f"exit code {watched.exit_code} instead of {exit_code}:\n{output}")
    return watched


def _sample_memory(process: subprocess.Popen, watched: Watched) -> None:
    while process.poll() is None:
        watched.peak_memory = max(watched.peak_memory, _memory(process.pid))
        time.sleep(_SAMPLE_SECONDS)


def _memory(pid: int) -> int:
    try:
        parent = psutil.Process(pid)
        processes = [parent, *parent.children(recursive=True)]
        return sum(process.memory_info().rss for process in processes)
    except psutil.NoSuchProcess:
        return 0
