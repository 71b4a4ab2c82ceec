"""Which DVC experiments there are: those with results, and those that wait, run or failed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.utils import exp_refs
from dvc.scm import Git

from pipeline.errors import (
    ArgumentError,
    DataError,
    MissingInputError,
    PendingError,
    PipelineError,
    one_line,
)
from pipeline.lookup import revisions
from pipeline.lookup.sources import Source

_SHORT = 7
# How many names a message lists.
_NAMED = 8


@dataclass(frozen=True)
class Unfinished:
    """An experiment that has no results.

    Attributes:
        name: as DVC lists it.
        state: what it does: `is queued`, `is running`, `failed`.
        baseline: the commit that it was made from.
    """

    name: str
    state: str
    baseline: str


def find(text: str) -> Source:
    """Returns the experiment or commit that is called so.

    Raises:
        ArgumentError: if nothing is.
        PipelineError: if it has no results, or they cannot be read.
    """
    if commit := revisions.commit_called(text):
        return revisions.at(text, commit)
    with _repository() as (repo, scm):
        finished = _finished(scm)
        for one in _unfinished(repo, finished):
            if one.name == text:
                raise _without_results(one)
    names = list(dict.fromkeys(name for name, _, _ in finished))
    if text in names:
        made = _listed([made[:_SHORT] for name, _, made in finished if name == text])
        raise ArgumentError(f"{text!r} is more than one experiment: name a commit, one of {made}")
    there = f"has {_listed(names)}" if names else "has none"
    raise ArgumentError(f"no experiment or commit is called {text!r}; of experiments DVC {there}")


def since(revision: str) -> tuple[list[Source], list[Unfinished]]:
    """Returns the experiments that were made from a commit or one after it, unfinished ones last.

    Raises:
        ArgumentError: if there is no such commit, or no experiment with results since then.
        PipelineError: if results cannot be read.
    """
    with _repository() as (repo, scm):
        commit = revisions.commit_called(revision)
        if commit is None:
            raise ArgumentError(f"no commit is called {revision!r}")
        finished = _finished(scm)
        found = [one for one in finished if _is_since(commit, one[1])]
        unfinished = _unfinished(repo, finished)
        waiting = [one for one in unfinished if _is_since(commit, one.baseline)]
    if not found:
        told = f"no experiment has results since {revision} (commit {commit[:_SHORT]})"
        states = _listed([f"{one.name} {one.state}" for one in waiting])
        raise ArgumentError(f"{told}: {states or '`dvc exp run` makes one'}")
    names = [name for name, _, _ in found]
    sources = [
        # Two of the same name may have grown on two commits.
        revisions.at(name if names.count(name) == 1 else f"{name} ({made[:_SHORT]})", made)
        for name, _, made in found
    ]
    return sources, waiting


@contextmanager
def _repository() -> Iterator[tuple[Repo, Git]]:
    try:
        repo = Repo()
    except DvcException as error:
        raise ArgumentError(f"no experiments here: {one_line(error)}") from None
    with repo:
        if not isinstance(repo.scm, Git):
            raise ArgumentError("no experiments here: DVC keeps them in git, and here is none")
        yield repo, repo.scm


def _finished(scm: Git) -> list[tuple[str, str, str]]:
    """Returns name, baseline and commit of each experiment with results."""
    return sorted((one.name, one.baseline_sha, str(scm.get_ref(str(one)))) for one in exp_refs(scm))


def _unfinished(repo: Repo, finished: Sequence[tuple[str, str, str]]) -> list[Unfinished]:
    """Returns the experiments without results: of DVC's queue, and what `--temp` runs.

    `dvc.api.exp_show` is public, and tells neither of all commits nor which it means; these queues
    are what it asks itself.
    """
    queue, aside = repo.experiments.celery_queue, repo.experiments.tempdir_queue
    try:
        entries = [("is running", entry) for entry in aside.iter_active()]
        # Asked for a queue that was never there, DVC would make its folders.
        if Path(queue.wdir).is_dir():
            entries += [("is queued", entry) for entry in queue.iter_queued()]
            entries += [("is running", entry) for entry in queue.iter_active()]
            entries += [("failed", ended.entry) for ended in queue.iter_failed()]
    except (DvcException, OSError) as error:
        raise DataError(f"DVC's queue cannot be read: {one_line(error)}") from None
    done = {(name, baseline) for name, baseline, _ in finished}
    found = [
        Unfinished(entry.name or entry.stash_rev[:_SHORT], state, entry.baseline_rev)
        for state, entry in entries
    ]
    # What failed may have been queued again, and done.
    return [one for one in found if (one.name, one.baseline) not in done]


def _without_results(one: Unfinished) -> PipelineError:
    told = f"experiment {one.name} {one.state}"
    match one.state:
        case "failed":
            return MissingInputError(f"{told}: `dvc queue logs {one.name}` says why")
        case "is running":
            return PendingError(f"{told}: `dvc exp show` says when it is done")
        case _:
            return PendingError(f"{told}: `dvc queue start` runs it")


def _is_since(commit: str, baseline: str) -> bool:
    ended = subprocess.run(["git", "merge-base", "--is-ancestor", commit, baseline], check=False)
    return ended.returncode == 0


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
