"""Finds DVC experiments: those with results, and those that are queued, running or failed."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator, Sequence
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
# How many names a message lists at most.
_MOST_LISTED = 8


@dataclass(frozen=True)
class Unfinished:
    """An experiment that has no results.

    Attributes:
        name: as DVC lists it.
        state: `is queued`, `is running` or `failed`.
        baseline: the commit that it started from.
    """

    name: str
    state: str
    baseline: str


def find(text: str) -> Source:
    """Returns the experiment or commit of this name.

    Raises:
        ArgumentError: if there is none.
        PipelineError: if it has no results, or they cannot be read.
    """
    if commit := revisions.commit_called(text):
        return revisions.at(text, commit)
    with _repository() as (repo, scm):
        finished = _finished(scm)
        for experiment in _unfinished(repo, finished):
            if experiment.name == text:
                raise _without_results(experiment)
    names = list(dict.fromkeys(name for name, _, _ in finished))
    if text in names:
        commits = _listed([commit[:_SHORT] for name, _, commit in finished if name == text])
        raise ArgumentError(
            f"{text!r} is the name of several experiments: name a commit instead, one of {commits}"
        )
    there = f"DVC's experiments are {_listed(names)}" if names else "DVC has no experiments"
    raise ArgumentError(f"no experiment or commit is called {text!r}; {there}")


def since(revision: str) -> tuple[list[Source], list[Unfinished]]:
    """Returns the experiments that started from a commit or a later one.

    Returns:
        Those with results, and those without.

    Raises:
        ArgumentError: if there is no such commit, or no experiment with results since then.
        PipelineError: if results cannot be read.
    """
    with _repository() as (repo, scm):
        commit = revisions.commit_called(revision)
        if commit is None:
            raise ArgumentError(f"no commit is called {revision!r}")
        finished = _finished(scm)
        with_results = [
            (name, made) for name, baseline, made in finished if _is_since(commit, baseline)
        ]
        without_results = [
            experiment
            for experiment in _unfinished(repo, finished)
            if _is_since(commit, experiment.baseline)
        ]
    if not with_results:
        states = _listed(
            [f"{experiment.name} {experiment.state}" for experiment in without_results]
        )
        if nearest := _nearest(commit, {baseline for _, baseline, _ in finished}):
            advice = (
                f"the last commit before it with some is {nearest[:_SHORT]}: "
                f"`python -m pipeline compare --since {nearest[:_SHORT]}`"
            )
        else:
            advice = "" if states else "`dvc exp run` makes one"
        raise ArgumentError(
            f"no experiment has results since {revision} (commit {commit[:_SHORT]}): "
            f"{'; '.join(filter(None, (states, advice)))}"
        )
    names = [name for name, _ in with_results]
    sources = [
        # Experiments on two commits may have the same name.
        revisions.at(name if names.count(name) == 1 else f"{name} ({made[:_SHORT]})", made)
        for name, made in with_results
    ]
    return sources, without_results


@contextmanager
def _repository() -> Iterator[tuple[Repo, Git]]:
    try:
        repo = Repo()
    except DvcException as error:
        raise ArgumentError(f"no experiments here: {one_line(error)}") from None
    with repo:
        if not isinstance(repo.scm, Git):
            raise ArgumentError(
                "no experiments here: DVC keeps them in git, and this is not a git repository"
            )
        yield repo, repo.scm


def _finished(scm: Git) -> list[tuple[str, str, str]]:
    """Returns the name, baseline and commit of each experiment with results."""
    return sorted((ref.name, ref.baseline_sha, str(scm.get_ref(str(ref)))) for ref in exp_refs(scm))


def _unfinished(repo: Repo, finished: Sequence[tuple[str, str, str]]) -> list[Unfinished]:
    """Returns the experiments without results: those in DVC's queue, and those run by `--temp`.

    The public `dvc.api.exp_show` does not cover all commits and does not say which commit an
    experiment belongs to, so this reads the same queues that it reads.
    """
    queue, temporary = repo.experiments.celery_queue, repo.experiments.tempdir_queue
    try:
        entries = [("is running", entry) for entry in temporary.iter_active()]
        # Reading a queue that never existed would make DVC create its folders.
        if Path(queue.wdir).is_dir():
            entries += [("is queued", entry) for entry in queue.iter_queued()]
            entries += [("is running", entry) for entry in queue.iter_active()]
            entries += [("failed", ended.entry) for ended in queue.iter_failed()]
    except (DvcException, OSError) as error:
        raise DataError(f"DVC's queue cannot be read: {one_line(error)}") from None
    done = {(name, baseline) for name, baseline, _ in finished}
    unfinished = [
        Unfinished(entry.name or entry.stash_rev[:_SHORT], state, entry.baseline_rev)
        for state, entry in entries
    ]
    # A failed experiment may have been queued again and finished.
    return [
        experiment
        for experiment in unfinished
        if (experiment.name, experiment.baseline) not in done
    ]


def _without_results(experiment: Unfinished) -> PipelineError:
    name, state = experiment.name, experiment.state
    match state:
        case "failed":
            return MissingInputError(f"experiment {name} {state}: `dvc queue logs {name}` says why")
        case "is running":
            return PendingError(f"experiment {name} {state}: `dvc exp show` says when it is done")
        case _:
            return PendingError(f"experiment {name} {state}: `dvc queue start` runs it")


def _is_since(commit: str, baseline: str) -> bool:
    return _git("merge-base", "--is-ancestor", commit, baseline) is not None


def _nearest(commit: str, baselines: Collection[str]) -> str | None:
    """Returns the last commit before this one since which there is one of the baselines."""
    shared = {_git("merge-base", commit, baseline) for baseline in baselines}
    distances = [
        (int(_git("rev-list", "--count", f"{earlier}..{commit}") or 0), earlier)
        for earlier in shared
        if earlier
    ]
    return min(distances)[1] if distances else None


def _git(*arguments: str) -> str | None:
    """Returns what git prints; None if it fails, as for commits that a shallow clone lacks."""
    ended = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
