"""Runs travel by DVC's remotes, their lineage by git: nobody trains what others have trained."""

import pytest

from tests.conftest import Clone

pytestmark = pytest.mark.slow

SEEDS, EPOCHS = 2, 1
MOMENTUM = "variants.batch_norm.momentum"
COMMIT = "mlflow.source.git.commit"


@pytest.fixture(scope="module")
def author(make_clone, tmp_path_factory):
    """A clone whose results are committed and pushed: to a bare repository, and a folder."""
    shared = tmp_path_factory.mktemp("shared")
    clone = make_clone(forks=True, training__epochs=EPOCHS, training__seeds=SEEDS)
    introduce(clone)
    clone.run("git", "init", "-q", "--bare", "-b", "main", str(shared / "bnlab.git"))
    clone.run("git", "remote", "add", "origin", str(shared / "bnlab.git"))
    clone.run("dvc", "remote", "add", "--default", "shared", str(shared / "dvc"))
    clone.run("git", "commit", "-qam", "A remote")
    clone.trained_at = clone.run("git", "rev-parse", "HEAD").stdout.strip()
    clone.run("dvc", "repro")
    clone.run("git", "commit", "-qam", "Results")
    clone.run("dvc", "push")
    clone.run("git", "push", "-q", "origin", "main")
    return clone


def introduce(clone):
    for key, value in (("user.name", "Test"), ("user.email", "test@example.org")):
        clone.run("git", "config", key, value)


@pytest.fixture(scope="module")
def join(author, tmp_path_factory):
    """Makes the clone of a colleague, with nothing but what git brings."""

    def join():
        folder = tmp_path_factory.mktemp("colleague") / "bnlab"
        origin = author.run("git", "remote", "get-url", "origin").stdout.strip()
        author.run("git", "clone", "-q", origin, str(folder))
        colleague = Clone(folder, forks=True)
        introduce(colleague)
        return colleague

    return join


@pytest.fixture(scope="module")
def colleague(join):
    clone = join()
    clone.run("dvc", "pull")
    clone.told = clone.run("dvc", "repro").stdout
    return clone


def lineages(clone):
    """Where the runs in a clone's MLflow come from: name to commit, experiment and times."""
    _, trained, _ = clone.finished_runs()
    return {
        (run.info.run_name, run.data.params.get("momentum")): (
            run.data.tags[COMMIT], run.data.tags.get("dvc.experiment"),
            run.data.tags.get("lineage.of"), run.data.tags["cpu.type"],
            run.info.start_time, run.info.end_time,
        )
        for run in trained
    }  # fmt: skip


def test_a_colleague_trains_nothing(colleague):
    assert "Running stage 'train@" not in colleague.told
    assert "Running stage 'track'" in colleague.told


def test_a_colleagues_mlflow_tells_who_trained(colleague, author):
    assert len(lineages(author)) == 2 * SEEDS
    assert lineages(colleague) == lineages(author)
    assert {commit for commit, *_ in lineages(colleague).values()} == {author.trained_at}
    assert colleague.run("git", "status", "--porcelain").stdout == ""


def test_training_all_again_elsewhere_changes_no_file_in_git(join):
    clone = join()
    told = clone.run("dvc", "repro", "--force").stdout
    assert told.count("Running stage 'train@") == 2
    assert clone.run("git", "status", "--porcelain").stdout == ""
