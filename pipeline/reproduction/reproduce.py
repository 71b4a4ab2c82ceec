"""Which recorded runs are meant, and whether they can be trained again here, or in a worktree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.datasets.catalogue import RAW_FOLDER
from pipeline.errors import PipelineError, one_line
from pipeline.examples.prepared import PREPARED_FILE
from pipeline.files import missing, sha256
from pipeline.params import Params
from pipeline.provenance.places import project_root
from pipeline.runs.code import code_sha256
from pipeline.runs.manifest import read_manifest
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedRun


def runs_of(params: Params) -> list[RecordedRun]:
    """Returns what is recorded of the runs of the present comparison.

    Raises:
        PipelineError: if one of them is not in MLflow.
    """
    chosen = []
    for variant in params.variants:
        for fingerprint, seed in read_manifest(variant).fingerprints().items():
            found = recorded.find_by_fingerprint(fingerprint)
            if found is None:
                raise PipelineError(
                    f"{variant}, seed {seed}, is not in MLflow: `dvc repro` adds it"
                )
            chosen.append(recorded.read(found))
    return chosen


def named(names: Iterable[str]) -> list[RecordedRun]:
    """Returns the runs of these ids, names or unique prefixes; a comparison stands for all of its.

    Raises:
        PipelineError: if one of them is not found, or cannot be made again.
    """
    return [one for name in names for one in _named(name)]


def expect_present_inputs(chosen: Sequence[RecordedRun]) -> None:
    """Makes sure that runs were made from the code and the data that are here.

    Raises:
        PipelineError: if not; it says which of the two is another.
    """
    if not PREPARED_FILE.exists():
        raise missing(PREPARED_FILE)
    code, data = code_sha256(), sha256(PREPARED_FILE)
    for one in chosen:
        other = [
            what
            for what, recorded_hash, present in (
                ("code", one.manifest.code_sha256, code),
                ("data", one.manifest.data_sha256, data),
            )
            if recorded_hash != present
        ]
        if other:
            raise PipelineError(
                f"{one.name} was made from other {' and other '.join(other)} than what is here "
                f"now, at commit {one.commit}: add --checkout to go back to it for this"
            )


def run_in_worktrees(chosen: Iterable[RecordedRun], workers: int | None = None) -> bool:
    """Lets the code of then reproduce its own runs, in a temporary worktree for each state of it.

    Returns:
        Whether all came out the same.

    Raises:
        PipelineError: if the recorded state cannot be brought back.
    """
    states = _by_state(chosen)
    same = [_run_in_worktree(group, patch, workers) for (_, patch), group in states.items()]
    return all(same)


def _named(name: str) -> list[RecordedRun]:
    found = recorded.find(name)
    if found.data.tags.get("kind") == "comparison":
        return [recorded.read(one) for one in recorded.read_compared(found)]
    return [recorded.read(found)]


def _by_state(chosen: Iterable[RecordedRun]) -> dict[tuple[str | None, bytes], list[RecordedRun]]:
    """Returns the runs by commit and patch."""
    states: dict[tuple[str | None, bytes], list[RecordedRun]] = {}
    for one in chosen:
        state = one.lineage.get(recorded.COMMIT), recorded.read_patch(one)
        states.setdefault(state, []).append(one)
    return states


def _run_in_worktree(group: Sequence[RecordedRun], patch: bytes, workers: int | None) -> bool:
    """Lets the code of then reproduce its own runs."""
    first = group[0]
    with _worktree(first, patch) as folder:
        environment = os.environ | {"DVC_ROOT": str(project_root())}
        if workers:
            environment["BNLAB_WORKERS"] = str(workers)
        if RAW_FOLDER.is_dir():
            # Verified there like any other download; only the journey is spared.
            shutil.copytree(RAW_FOLDER, folder / RAW_FOLDER, dirs_exist_ok=True)
        for command in (["download"], ["prepare"], ["reproduce", *(one.id for one in group)]):
            ended = subprocess.run(
                [sys.executable, "-m", "pipeline", *command],
                cwd=folder, env=environment, check=False,
            )  # fmt: skip
            if ended.returncode not in (0, 1) or (ended.returncode and command[0] != "reproduce"):
                what = f"`{command[0]}` at commit {first.commit} ended with {ended.returncode}"
                raise PipelineError(f"{what}, as said above")
        return ended.returncode == 0


@contextmanager
def _worktree(one: RecordedRun, patch: bytes) -> Iterator[Path]:
    """Yields a temporary worktree at the run's commit, with what was not committed then."""
    commit, left_out = one.lineage.get(recorded.COMMIT), one.lineage.get("git.patch.left_out")
    if commit is None:
        raise PipelineError(f"{one.name} was made outside git: there is nothing to check out")
    if left_out:
        raise PipelineError(f"{one.name} was made with files too large to be recorded: {left_out}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "worktree"
        try:
            # Hooks are for people: DVC's would check its files out.
            no_hooks = ["-c", f"core.hooksPath={os.devnull}"]
            _git([*no_hooks, "worktree", "add", "--quiet", "--detach", str(folder), commit])
            if patch:
                _git(["apply", "--whitespace=nowarn", "-"], folder, patch)
            yield folder
        finally:
            if folder.exists():
                _git(["worktree", "remove", "--force", str(folder)])


def _git(arguments: Sequence[str], folder: Path | None = None, given: bytes = b"") -> None:
    command = ["git", *arguments]
    ended = subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)
    if ended.returncode:
        raise PipelineError(f"git: {one_line(ended.stderr.decode(errors='replace'), 1000)}")
