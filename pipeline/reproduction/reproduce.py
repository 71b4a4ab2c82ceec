"""Finds the recorded runs that are meant, and checks that they can be retrained here.

If not, their own code retrains them in a worktree.
"""

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
from pipeline.errors import ParamsError, PipelineError, one_line
from pipeline.examples.prepared import PREPARED_FILE
from pipeline.files import missing, sha256
from pipeline.params import Params
from pipeline.params_file import PARAMS_FILE, load
from pipeline.provenance.places import project_root
from pipeline.runs.code import code_sha256
from pipeline.runs.manifest import read_manifest
from pipeline.tracking import recorded
from pipeline.tracking.recorded import RecordedRun


def runs_of(params: Params) -> list[RecordedRun]:
    """Returns the records of all runs of the present comparison.

    Raises:
        PipelineError: if one of them is not in MLflow.
    """
    runs = []
    for variant in params.variants:
        for fingerprint, seed in read_manifest(variant).fingerprints().items():
            mlflow_run = recorded.find_by_fingerprint(fingerprint)
            if mlflow_run is None:
                raise PipelineError(
                    f"{variant}, seed {seed}, is not in MLflow: `dvc repro` adds it"
                )
            runs.append(recorded.read(mlflow_run))
    return runs


def named(names: Iterable[str]) -> list[RecordedRun]:
    """Returns the runs of these ids, names or unique prefixes; a comparison stands for its runs.

    Raises:
        PipelineError: if one of them is not found, or its record lacks what retraining needs.
    """
    runs = []
    for name in names:
        mlflow_run = recorded.find(name)
        is_comparison = mlflow_run.data.tags.get("kind") == "comparison"
        members = recorded.read_compared(mlflow_run) if is_comparison else [mlflow_run]
        runs += [recorded.read(member) for member in members]
    return runs


def expect_present_inputs(runs: Sequence[RecordedRun]) -> None:
    """Makes sure that runs were made from the code and the data of this checkout.

    Raises:
        PipelineError: if not; it says whether code, data or both are different.
    """
    if not PREPARED_FILE.exists():
        raise missing(PREPARED_FILE)
    data = sha256(PREPARED_FILE)
    for run in runs:
        # Earlier versions did not record it.
        network = run.manifest.parameters["network"].get("code", "")
        code = code_sha256(network) if Path(network).is_file() else None
        different = [
            what
            for what, recorded_hash, present_hash in (
                ("code", run.manifest.code_sha256, code),
                ("data", run.manifest.data_sha256, data),
            )
            if recorded_hash != present_hash
        ]
        if different:
            raise PipelineError(
                f"{run.name} was made from different {' and '.join(different)}, at commit "
                f"{run.commit}: add --checkout to reproduce it from there"
            )


def run_in_worktrees(runs: Iterable[RecordedRun], workers: int | None = None) -> bool:
    """Lets each run be reproduced by the code that made it, in a temporary worktree.

    Runs of the same commit and patch share a worktree.

    Returns:
        Whether all came out the same.

    Raises:
        PipelineError: if the recorded code cannot be checked out.
    """
    states: dict[tuple[str | None, bytes], list[RecordedRun]] = {}
    for run in runs:
        state = run.lineage.get(recorded.COMMIT), recorded.read_patch(run)
        states.setdefault(state, []).append(run)
    # All of them, even after one that came out differently.
    same = [_run_in_worktree(group, patch, workers) for (_, patch), group in states.items()]
    return all(same)


def _run_in_worktree(runs: Sequence[RecordedRun], patch: bytes, workers: int | None) -> bool:
    first = runs[0]
    with _worktree(first, patch) as folder:
        environment = os.environ | {"DVC_ROOT": str(project_root())}
        if workers:
            environment["BNLAB_WORKERS"] = str(workers)
        if RAW_FOLDER.is_dir():
            # Saves downloading the files again; the worktree's `download` still verifies them.
            shutil.copytree(RAW_FOLDER, folder / RAW_FOLDER, dirs_exist_ok=True)
        _bring_data(folder, first.commit)
        for command in (["download"], ["prepare"], ["reproduce", *(run.id for run in runs)]):
            ended = subprocess.run(
                [sys.executable, "-m", "pipeline", *command],
                cwd=folder, env=environment, check=False,
            )  # fmt: skip
            if ended.returncode not in (0, 1) or (ended.returncode and command[0] != "reproduce"):
                raise PipelineError(
                    f"`{command[0]}` at commit {first.commit} ended with exit code "
                    f"{ended.returncode}; its message is above"
                )
        return ended.returncode == 0


def _bring_data(folder: Path, commit: str) -> None:
    """Puts data of the user's own, if DVC tracks it, into a worktree: from the cache or a remote.

    Raises:
        PipelineError: if it is in neither.
    """
    try:
        path = Path(load(folder / PARAMS_FILE)["data"]["path"])  # type: ignore[index]
    except (ParamsError, LookupError, TypeError):
        # An earlier version, or what `prepare` will complain of.
        return
    tracked = next(
        (one for one in (path, *path.parents) if (folder / f"{one}.dvc").is_file()), None
    )
    if tracked is None:
        return
    own, there = (root / ".dvc/config.local" for root in (project_root(), folder))
    if own.is_file():
        shutil.copy(own, there)
    cache = _dvc(["cache", "dir"], project_root()).strip()
    _dvc(["cache", "dir", "--local", cache], folder)
    try:
        _dvc(["checkout", "--quiet", f"{tracked}.dvc"], folder)
    except PipelineError:
        try:
            _dvc(["pull", "--quiet", f"{tracked}.dvc"], folder)
        except PipelineError:
            raise PipelineError(
                f"{tracked}, as it was at commit {commit}, is neither in DVC's cache here nor in a "
                "remote that answers"
            ) from None


def _dvc(arguments: Sequence[str], folder: Path) -> str:
    """Returns what a command of DVC prints.

    Raises:
        PipelineError: if it fails.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    outside = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    ended = subprocess.run(command, cwd=folder, env=outside, capture_output=True, check=False)
    if ended.returncode:
        raise PipelineError(f"dvc: {one_line(ended.stderr.decode(errors='replace'))}")
    return ended.stdout.decode()


@contextmanager
def _worktree(run: RecordedRun, patch: bytes) -> Iterator[Path]:
    """Yields a temporary worktree at the run's commit, with its uncommitted changes applied."""
    commit, left_out = run.lineage.get(recorded.COMMIT), run.lineage.get("git.patch.left_out")
    if commit is None:
        raise PipelineError(f"{run.name} was made outside git: there is nothing to check out")
    if left_out:
        raise PipelineError(f"{run.name} was made with files too large to be recorded: {left_out}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "worktree"
        try:
            # Without hooks: DVC's would check out its own files.
            no_hooks = ["-c", f"core.hooksPath={os.devnull}"]
            _git([*no_hooks, "worktree", "add", "--quiet", "--detach", str(folder), commit])
            if patch:
                _git(["apply", "--whitespace=nowarn", "-"], folder, patch)
            yield folder
        finally:
            if folder.exists():
                _git(["worktree", "remove", "--force", str(folder)])


def _git(arguments: Sequence[str], folder: Path | None = None, stdin: bytes = b"") -> None:
    command = ["git", *arguments]
    ended = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, check=False)
    if ended.returncode:
        raise PipelineError(f"git: {one_line(ended.stderr.decode(errors='replace'), 1000)}")
