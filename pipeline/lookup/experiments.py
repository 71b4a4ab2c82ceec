"""Finds the results of DVC experiments, by their name or by the commit that they started from."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.errors import ArgumentError, MissingInputError, PendingError, PipelineError
from pipeline.lookup import listing, revisions
from pipeline.lookup.listing import SHORT, Unfinished
from pipeline.lookup.sources import Source
from pipeline.provenance.lineage import git

# How many names a message lists at most.
_MOST_LISTED = 8


def find(text: str) -> Source:
    """Returns the experiment or commit of this name.

    Raises:
        ArgumentError: if there is none.
        PipelineError: if it has no results, or they cannot be read.
    """
    if commit := revisions.commit_called(text):
        return revisions.at(text, commit)
    with listing.repository() as (repo, scm):
        finished = listing.finished(scm)
        for experiment in listing.unfinished(repo, finished):
            if experiment.name == text:
                raise _without_results(experiment)
    names = list(dict.fromkeys(name for name, _, _ in finished))
    if text in names:
        commits = _listed([commit[:SHORT] for name, _, commit in finished if name == text])
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
    with listing.repository() as (repo, scm):
        commit = revisions.commit_called(revision)
        if commit is None:
            raise ArgumentError(f"no commit is called {revision!r}")
        finished = listing.finished(scm)
        with_results = [
            (name, made) for name, baseline, made in finished if listing.is_since(commit, baseline)
        ]
        without_results = [
            experiment
            for experiment in listing.unfinished(repo, finished)
            if listing.is_since(commit, experiment.baseline)
        ]
    if not with_results:
        states = _listed(
            [f"{experiment.name} {experiment.state}" for experiment in without_results]
        )
        if nearest := _nearest(commit, {baseline for _, baseline, _ in finished}):
            advice = (
                f"the last commit before it with some is {nearest[:SHORT]}: "
                f"`python -m pipeline compare --since {nearest[:SHORT]}`"
            )
        else:
            advice = "" if states else "`dvc exp run` makes one"
        raise ArgumentError(
            f"no experiment has results since {revision} (commit {commit[:SHORT]}): "
            f"{'; '.join(filter(None, (states, advice)))}"
        )
    names = [name for name, _ in with_results]
    sources = [
        # Experiments on two commits may have the same name.
        revisions.at(name if names.count(name) == 1 else f"{name} ({made[:SHORT]})", made)
        for name, made in with_results
    ]
    return sources, without_results


def _without_results(experiment: Unfinished) -> PipelineError:
    name, state = experiment.name, experiment.state
    match state:
        case "failed":
            return MissingInputError(f"experiment {name} {state}: `dvc queue logs {name}` says why")
        case "is running":
            return PendingError(f"experiment {name} {state}: `dvc exp show` says when it is done")
        case _:
            return PendingError(f"experiment {name} {state}: `dvc queue start` runs it")


def _nearest(commit: str, baselines: Collection[str]) -> str | None:
    """Returns the last commit before this one since which there is one of the baselines."""
    shared = {git("merge-base", commit, baseline) for baseline in baselines}
    distances = [
        (int(git("rev-list", "--count", f"{earlier}..{commit}") or 0), earlier)
        for earlier in shared
        if earlier
    ]
    return min(distances)[1] if distances else None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
