"""The runs of any commit or DVC experiment, from git and DVC's cache."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from dvc.exceptions import DvcException
from dvc.fs.dvc import DVCFileSystem
from dvc.repo import Repo
from dvc.scm import NoSCM, resolve_rev

from pipeline.comparison.cells import Cell, read_cell
from pipeline.errors import (
    DataError,
    MissingInputError,
    ParamsError,
    PipelineError,
    one_line,
)
from pipeline.evaluation.results import EVALUATION
from pipeline.lookup.sources import Source
from pipeline.params_file import PARAMS_FILE, read_params
from pipeline.runs.tables import RUNS

_SHORT = 7
# What DVC and git were seen to raise for unknown names, and for commits without DVC.
_NO_REVISION = (DvcException, ValueError)


def find(text: str) -> Source | None:
    """Returns the runs of a commit, branch, tag or DVC experiment, or None if there is none.

    `text` names all its variants, as in `HEAD~1`, or one of them, as in `HEAD~1:batch_norm`.

    Raises:
        ArgumentError: if it has no such variant.
        MissingInputError: if it has no runs, or their files are not in DVC's cache.
    """
    revision, colon, variant = text.rpartition(":")
    if colon and (commit := commit_called(revision)):
        whole = at(revision, commit)
        return whole.only(variant)
    commit = commit_called(text)
    return at(text, commit) if commit else None


def commit_called(text: str) -> str | None:
    """Returns the full hash of the commit of this name, or None if there is none."""
    if not text.strip():
        return None
    try:
        with Repo() as repo:
            if isinstance(repo.scm, NoSCM):
                return None
            # `^{commit}`, because the folders of a commit have hashes as well.
            return resolve_rev(repo.scm, f"{resolve_rev(repo.scm, text)}^{{commit}}")
    except _NO_REVISION:
        return None


def at(text: str, commit: str) -> Source:
    """Returns the runs of a commit, under the name that was typed.

    Raises:
        PipelineError: if it has no runs, or DVC cannot read it.
    """
    description = _description(commit)
    try:
        # Not closed: it lives as long as the command.
        files = Repo(rev=commit).dvcfs
        entries = files.ls(str(RUNS), detail=True)
    except FileNotFoundError:
        raise MissingInputError(
            f"{description} has no runs: check it out and run `dvc repro`"
        ) from None
    # DVC's index may be locked; an ImportError tells what the commit's remote needs installed.
    except (DvcException, ImportError, sqlite3.Error) as error:
        raise DataError(f"{description} cannot be read by DVC: {one_line(error)}") from None
    folders = [entry["name"] for entry in entries if entry["type"] == "directory"]
    variants = tuple(sorted(Path(folder).name for folder in folders))
    read = partial(_read, files=files, origin=text, description=description, labels=_labels(files))
    return Source(text, description, variants, whole=True, read=read)


def _description(commit: str) -> str:
    """Returns a commit's short hash, after the name of its DVC experiment if it is one."""
    with Repo() as repo:
        experiment = repo.experiments.get_exact_name([commit])[commit]
    short = f"commit {commit[:_SHORT]}"
    return f"DVC experiment {experiment}, {short}" if experiment else short


def _labels(files: DVCFileSystem) -> Mapping[str, str]:
    """Returns the label of each variant, or none if the commit's params.yaml cannot be read."""
    with TemporaryDirectory() as folder:
        try:
            _copy(files, PARAMS_FILE, Path(folder))
            params = read_params(Path(folder) / PARAMS_FILE)
        except (MissingInputError, ParamsError):
            return {}
    return {name: variant.label for name, variant in params.variants.items()}


def _read(
    variant: str, *, files: DVCFileSystem, origin: str, description: str, labels: Mapping[str, str]
) -> Cell:
    needed = (
        RUNS / variant / "manifest.json",
        RUNS / variant / "history.csv",
        EVALUATION / variant / "test.csv",
    )
    with TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            for path in needed:
                _copy(files, path, root)
            with suppress(MissingInputError):
                _copy(files, EVALUATION / variant / "predictions.npz", root)
            return read_cell(variant, labels.get(variant, variant), origin, root)
        except (DataError, MissingInputError) as error:
            message = str(error).replace(f"{root}/", "")
            raise type(error)(f"{description}: {message}") from None


def _copy(files: DVCFileSystem, path: Path, root: Path) -> None:
    """Copies a file of the commit below `root`.

    Raises:
        MissingInputError: if neither DVC's cache nor the commit's remote gives it.
        DataError: if it is damaged in the cache.
    """
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    try:
        files.get_file(path.as_posix(), str(root / path))
        recorded = files.info(path.as_posix()).get("md5")
    # DVC has errors of its own, its index has others, and a remote's library raises what it likes.
    except Exception:  # noqa: BLE001
        raise _not_given(files, path) from None
    # DVC does not check what it hands out.
    if recorded and _md5(root / path) != recorded:
        raise _damaged(path)


def _not_given(files: DVCFileSystem, path: Path) -> PipelineError:
    """Returns the error for a file that DVC cannot give."""
    for folder in (RUNS / path.parent.name, EVALUATION):
        # What DVC keeps as one output has a listing, which may be what is damaged.
        known = path.is_relative_to(folder) and files.exists(folder.as_posix())
        if known and (listing := files.info(folder.as_posix()).get("md5")):
            cached = Path(files.repo.cache.local.oid_to_path(listing))
            if cached.is_file() and f"{_md5(cached)}.dir" != listing:
                return _damaged(folder)
    remote = files.repo.config["core"].get("remote")
    elsewhere = f", and its remote {remote!r} does not give it" if remote else ""
    pull = "`dvc pull` at that commit says why. Or " if remote else ""
    return MissingInputError(
        f"{path} is not in DVC's cache here{elsewhere}: {pull}`dvc repro` at that commit makes its "
        "runs; commit the results, and compare with your commit"
    )


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} is damaged in DVC's cache: `python -m pipeline doctor --fix` removes it"
    )


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
