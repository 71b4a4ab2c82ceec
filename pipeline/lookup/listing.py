"""Which experiments DVC has: those with results, and those that are queued, running or failed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.experiments.utils import exp_refs
from dvc.scm import Git

from pipeline.errors import ArgumentError, DataError, PipelineError, one_line
from pipeline.provenance.lineage import git

SHORT = 7


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


def how_many_together() -> int:
    """Returns how many experiments there are since the commit from which DVC runs this one.

    It counts among them, as do those that are queued; 1 where DVC runs no experiment.
    """
    commit = os.environ.get("DVC_EXP_BASELINE_REV")
    if not commit:
        return 1
    there = {(os.environ.get("DVC_EXP_NAME", ""), commit)}
    # The experiment itself may run in a copy of the project.
    with suppress(PipelineError), repository(os.environ.get("DVC_ROOT")) as (repo, scm):
        done = finished(scm)
        there |= {(name, baseline) for name, baseline, _ in done}
        there |= {
            (one.name, one.baseline) for one in unfinished(repo, done) if one.state != "failed"
        }
        return sum(is_since(commit, baseline, scm.root_dir) for _, baseline in there)
    return 1


@contextmanager
def repository(root: str | None = None) -> Iterator[tuple[Repo, Git]]:
    """Opens DVC's repository in the current folder or another, and the one of git.

    Raises:
        ArgumentError: if there is none.
    """
    try:
        repo = Repo(root)
    except DvcException as error:
        raise ArgumentError(f"no experiments here: {one_line(error)}") from None
    with repo:
        if not isinstance(repo.scm, Git):
            raise ArgumentError(
                "no experiments here: DVC keeps them in git, and this is not a git repository"
            )
        yield repo, repo.scm


def finished(scm: Git) -> list[tuple[str, str, str]]:
    """Returns the name, baseline and commit of each experiment with results."""
    return sorted((ref.name, ref.baseline_sha, str(scm.get_ref(str(ref)))) for ref in exp_refs(scm))


def unfinished(repo: Repo, finished: Sequence[tuple[str, str, str]]) -> list[Unfinished]:
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
        Unfinished(entry.name or entry.stash_rev[:SHORT], state, entry.baseline_rev)
        for state, entry in entries
    ]
    # A failed experiment may have been queued again and finished.
    return [
        experiment
        for experiment in unfinished
        if (experiment.name, experiment.baseline) not in done
    ]


def is_since(commit: str, baseline: str, root: str | None = None) -> bool:
    """Returns whether an experiment with this baseline started from a commit or a later one."""
    return git("merge-base", "--is-ancestor", commit, baseline, root=root) is not None
