"""Trains recorded runs again and says whether the same comes out."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from multiprocessing.pool import ThreadPool
from pathlib import Path

from pipeline.adapters import recorded, runs
from pipeline.adapters.datasets import PREPARED_FILE, RAW_FOLDER, read_prepared
from pipeline.adapters.files import sha256
from pipeline.adapters.lineage import CPU, PACKAGES, cpu_type, present_versions
from pipeline.adapters.models import read_model
from pipeline.adapters.progress import EpochProgress
from pipeline.adapters.provenance import project_root, training_code_sha256
from pipeline.adapters.recorded import RecordedRun
from pipeline.core.examples import Dataset
from pipeline.core.replicates import TrainedRun, train_variant
from pipeline.core.reproduction import (
    ACCURACY_TOLERANCE,
    LOSS_TOLERANCE,
    Outcome,
    Reproduction,
    compare_outcomes,
)
from pipeline.errors import PipelineError
from pipeline.params import Params

_COMMIT = "mlflow.source.git.commit"


def runs_of(params: Params) -> list[str]:
    """Returns the ids of the recorded runs of the present comparison.

    Raises:
        PipelineError: if one of them is not in MLflow.
    """
    ids = []
    for variant in params.variants:
        manifest = runs.read_manifest(variant)
        for seed in manifest.seeds:
            found = recorded.find_by_fingerprint(manifest.fingerprint(seed))
            if found is None:
                raise PipelineError(
                    f"{variant}, seed {seed}, is not in MLflow: `dvc repro` adds it"
                )
            ids.append(found.info.run_id)
    return ids


def run(names: Iterable[str], workers: int | None = None, *, checkout: bool = False) -> bool:
    """Trains the named runs again, tells of each how it compares, and notes that in MLflow.

    Args:
        names: ids, names or unique prefixes, of runs or of comparisons.
        workers: threads that train at once, by default as many as there are processors.
        checkout: whether to work in a temporary worktree at the recorded commit plus patch.

    Returns:
        Whether all came out the same.

    Raises:
        PipelineError: if the recorded code or data is not the present one.
    """
    chosen = [one for name in names for one in _named(name)]
    if checkout:
        told = [_run_in_worktree(group) for group in _by_checkout(chosen)]
        return all(told)
    _expect_present_inputs(chosen)
    dataset = read_prepared()
    with ThreadPool(workers or os.cpu_count()) as pool:
        same = [one for group in _by_variant(chosen) for one in _retrain(group, dataset, pool)]
    if len(same) > 1:
        print(f"{sum(same)} of {len(same)} runs came out the same")
    return all(same)


def _named(name: str) -> list[RecordedRun]:
    found = recorded.find(name)
    if found.data.tags.get("kind") == "comparison":
        return [recorded.read(one) for one in recorded.read_compared(found)]
    return [recorded.read(found)]


def _expect_present_inputs(chosen: Sequence[RecordedRun]) -> None:
    code, data = training_code_sha256(), sha256(PREPARED_FILE)
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
                f"now, at commit {_commit(one)}: add --checkout to go back to it for this"
            )


def _by_variant(chosen: Iterable[RecordedRun]) -> Iterator[list[RecordedRun]]:
    """Yields runs that can be trained side by side, each seed once."""

    def inputs(one: RecordedRun) -> str:
        return one.manifest.only(0).to_json()

    for _, group in groupby(sorted(chosen, key=inputs), inputs):
        yield list({one.seed: one for one in group}.values())


def _retrain(group: Sequence[RecordedRun], dataset: Dataset, pool: ThreadPool) -> Iterator[bool]:
    variant = group[0].variant
    with EpochProgress(variant.label, variant.training.epochs * len(group)) as progress:
        seeds = [one.seed for one in group]
        trained = train_variant(variant, seeds, dataset, pool, progress.tell)
    of_seed = {one.seed: one for one in trained}
    for one in group:
        result = _compare(one, of_seed[one.seed])
        same_machine = one.lineage.get(CPU) == cpu_type()
        verdict = _verdict(result, same_machine=same_machine)
        print(f"{one.name} ({one.id[:8]}, commit {_commit(one)}): {verdict}{_other_versions(one)}")
        recorded.note_reproduction(one, f"{verdict.partition(':')[0]} on {_machine()}")
        yield result.is_identical or (not same_machine and result.is_within_tolerance)


def _compare(one: RecordedRun, trained: TrainedRun) -> Reproduction:
    with recorded.model_folder(one) as folder:
        model = read_model(folder)
    names = [variable.path for variable in model.weights]
    return compare_outcomes(
        Outcome(one.history, dict(zip(names, model.get_weights(), strict=True))),
        Outcome(
            runs.history_table(trained.history), dict(zip(names, trained.weights, strict=True))
        ),
    )


def _verdict(result: Reproduction, *, same_machine: bool) -> str:
    if result.first is None:
        return f"bit-identical: {result.epochs} epochs' scores and {result.weights:,} weights"
    where = (
        f"first in {result.first.quantity}, by {result.first.by:.2g}; "
        f"accuracies by at most {result.accuracy:.2g}, losses by {result.loss:.2g}"
    )
    if not same_machine and result.is_within_tolerance:
        return (
            f"within tolerance: another processor rounds otherwise; it differs {where}; tolerated "
            f"are {ACCURACY_TOLERANCE} and {LOSS_TOLERANCE}"
        )
    return f"differs: {where}"


def _other_versions(one: RecordedRun) -> str:
    then, now = one.lineage, present_versions()
    changed = [
        f"{name} {then[f'{name}.version']} then, {now[f'{name}.version']} now"
        for name in ("python", *PACKAGES)
        if then.get(f"{name}.version", now[f"{name}.version"]) != now[f"{name}.version"]
    ]
    return f" ({'; '.join(changed)})" if changed else ""


def _machine() -> str:
    versions = present_versions()
    packages = f"TensorFlow {versions['tensorflow.version']}, Python {versions['python.version']}"
    return (
        f"{platform.node()} ({cpu_type()}, {os.cpu_count()} cores, {platform.system()}), {packages}"
    )


def _commit(one: RecordedRun) -> str:
    dirty = " with changes" if one.lineage.get("git.dirty") == "true" else ""
    return f"{one.lineage.get(_COMMIT, 'unknown')[:7]}{dirty}"


def _by_checkout(chosen: Iterable[RecordedRun]) -> Iterator[list[RecordedRun]]:
    def state(one: RecordedRun) -> tuple[str, bytes]:
        return one.lineage.get(_COMMIT, ""), recorded.read_patch(one)

    for _, group in groupby(sorted(chosen, key=state), state):
        yield list(group)


def _run_in_worktree(group: Sequence[RecordedRun]) -> bool:
    """Lets the code of then reproduce its own runs."""
    first = group[0]
    with _worktree(first) as folder:
        environment = os.environ | {"DVC_ROOT": str(project_root())}
        # Verified there like any other download; only the journey is spared.
        shutil.copytree(RAW_FOLDER, folder / RAW_FOLDER, dirs_exist_ok=True)
        for command in (["download"], ["prepare"], ["reproduce", *(one.id for one in group)]):
            ended = subprocess.run(
                [sys.executable, "-m", "pipeline", *command],
                cwd=folder, env=environment, check=False,
            )  # fmt: skip
            if ended.returncode not in (0, 1) or (ended.returncode and command[0] != "reproduce"):
                what = f"`{command[0]}` at commit {_commit(first)} ended with {ended.returncode}"
                raise PipelineError(f"{what}, as said above")
        return ended.returncode == 0


@contextmanager
def _worktree(one: RecordedRun) -> Iterator[Path]:
    """Yields a temporary worktree at the run's commit, with what was not committed then."""
    commit, left_out = one.lineage.get(_COMMIT), one.lineage.get("git.patch.left_out")
    if commit is None:
        raise PipelineError(f"{one.name} was made outside git: there is nothing to check out")
    if left_out:
        raise PipelineError(f"{one.name} was made with files too large to be recorded: {left_out}")
    patch = recorded.read_patch(one)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "worktree"
        _git(["worktree", "add", "--quiet", "--detach", str(folder), commit])
        try:
            if patch:
                _git(["apply", "--whitespace=nowarn", "-"], folder, patch)
            yield folder
        finally:
            _git(["worktree", "remove", "--force", str(folder)])


def _git(arguments: Sequence[str], folder: Path | None = None, given: bytes = b"") -> None:
    command = ["git", *arguments]
    ended = subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)
    if ended.returncode:
        told = " ".join(ended.stderr.decode(errors="replace").split())
        raise PipelineError(f"git {arguments[0]}: {told}")
