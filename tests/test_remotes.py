"""Runs travel by DVC's remotes, their lineage by git: nobody trains what others have trained."""

import re

import pytest

from tests.remotes import EPOCHS, SEEDS, join, publish

pytestmark = pytest.mark.slow

MOMENTUM = "variants.batch_norm.momentum"
EXPERIMENTS = ("inside", "aside")
COMMIT = "mlflow.source.git.commit"


@pytest.fixture(scope="module")
def author(make_clone, tmp_path_factory):
    clone = make_clone(forks=True, training__epochs=EPOCHS, training__seeds=SEEDS)
    publish(clone, tmp_path_factory.mktemp("shared"))
    return clone


@pytest.fixture(scope="module")
def colleague(author, tmp_path_factory):
    clone = join(author, tmp_path_factory.mktemp("colleague") / "bnlab")
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


def trained(told):
    """Which variants were trained, by what `dvc repro` printed."""
    return sorted(re.findall("Running stage 'train@(.*)'", told))


def test_a_colleague_trains_nothing(colleague):
    assert trained(colleague.told) == []
    assert "Running stage 'track'" in colleague.told


def test_a_colleagues_mlflow_tells_who_trained(colleague, author):
    assert len(lineages(author)) == 2 * SEEDS
    assert lineages(colleague) == lineages(author)
    assert {commit for commit, *_ in lineages(colleague).values()} == {author.trained_at}
    assert colleague.run("git", "status", "--porcelain").stdout == ""


def test_a_colleagues_registry_has_the_champion(colleague, author):
    def champion(clone):
        client, _, _ = clone.finished_runs()
        (model,) = client.search_registered_models()
        version = client.get_model_version_by_alias(model.name, "champion")
        return client.get_run(version.run_id).info.run_name, version.tags

    assert champion(colleague) == champion(author)
    assert champion(author)[1]["forced"] == "true"


@pytest.fixture(scope="module")
def shared_experiments(colleague, author):
    """What a colleague has after two experiments of the author's were pushed and pulled."""
    author.run("dvc", "exp", "run", "-n", "inside", "-S", f"{MOMENTUM}=0.9")
    author.run("dvc", "exp", "run", "--temp", "-n", "aside", "-S", f"{MOMENTUM}=0.8")
    author.run("git", "restore", ".")
    author.run("dvc", "exp", "push", "origin", *EXPERIMENTS)
    colleague.run("dvc", "exp", "pull", "origin", *EXPERIMENTS)
    told = {}
    for name in EXPERIMENTS:
        colleague.run("dvc", "exp", "apply", name)
        told[name] = colleague.run("dvc", "repro").stdout
        told[name, "status"] = colleague.run("git", "status", "--porcelain").stdout
    told["shown"] = colleague.run("dvc", "exp", "show", "--csv").stdout
    colleague.run("git", "restore", ".")
    told["back"] = colleague.run("dvc", "repro").stdout
    return told


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_nothing_of_a_shared_experiment_is_trained_again(shared_experiments, name):
    assert trained(shared_experiments[name]) == []
    changed = {line.split()[-1] for line in shared_experiments[name, "status"].splitlines()}
    assert "reports/lineage.json" in changed
    assert {one.partition("/")[0] for one in changed} == {"dvc.lock", "params.yaml", "reports"}


@pytest.mark.usefixtures("shared_experiments")
def test_runs_of_a_shared_experiment_tell_who_trained(colleague, author):
    assert lineages(colleague) == lineages(author)
    experiments = {momentum: name for (_, momentum), (_, name, *_) in lineages(colleague).items()}
    assert experiments == {"0.99": None, "0.9": "inside", "0.8": "aside", None: None}


def test_shared_experiments_are_shown(shared_experiments):
    assert set(EXPERIMENTS) <= set(shared_experiments["shown"].replace("\n", ",").split(","))
    assert "weights_sha256" not in shared_experiments["shown"]


def test_the_way_back_leaves_nothing_to_commit(shared_experiments, colleague):
    assert trained(shared_experiments["back"]) == []
    assert colleague.run("git", "status", "--porcelain").stdout == ""


def test_training_all_again_elsewhere_changes_no_file_in_git(author, tmp_path):
    clone = join(author, tmp_path / "bnlab")
    told = clone.run("dvc", "repro", "--force").stdout
    assert trained(told) == ["batch_norm", "no_norm"]
    assert clone.run("git", "status", "--porcelain").stdout == ""
