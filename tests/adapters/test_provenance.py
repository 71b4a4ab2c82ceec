import os
import shutil
import subprocess
from pathlib import Path

import grimp
import pytest

import pipeline
from pipeline.adapters import provenance

PACKAGE = Path(pipeline.__file__).parent


def test_training_modules_are_the_import_closure_of_training():
    graph = grimp.build_graph("pipeline", exclude_type_checking_imports=True, cache_dir=None)
    roots = {"pipeline.core.replicates", "pipeline.core.normalization"}
    closure = roots.union(*(graph.find_upstream_modules(root) for root in roots))

    files = {f"{module.replace('.', '/')}.py".removeprefix("pipeline/") for module in closure}

    assert {name for name in files if (PACKAGE / name).is_file()} == set(
        provenance.TRAINING_MODULES
    )


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose code is hashed."""
    copy = tmp_path / "pipeline"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_PACKAGE", copy)
    return copy


@pytest.mark.parametrize("name", provenance.TRAINING_MODULES)
def test_the_code_hash_sees_each_training_module(package, name):
    before = provenance.training_code_sha256()

    (package / name).write_text((package / name).read_text() + "\n# edited\n")

    assert provenance.training_code_sha256() != before


def test_the_code_hash_sees_nothing_else(package):
    before = provenance.training_code_sha256()

    (package / "core" / "figures.py").write_text("")
    (package / "stages" / "train.py").write_text("")

    assert provenance.training_code_sha256() == before


def test_the_root_is_the_current_folder(project):
    assert provenance.project_root() == project


@pytest.mark.usefixtures("project")
def test_the_root_is_where_dvc_says(monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/elsewhere/checkout")

    assert provenance.project_root() == Path("/elsewhere/checkout")
    assert provenance.tracking_uri() == "sqlite:////elsewhere/checkout/mlflow.db"


def test_runs_are_tracked_in_the_root_unless_told_otherwise(project, monkeypatch):
    assert provenance.tracking_uri() == f"sqlite:///{project}/mlflow.db"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert provenance.tracking_uri() == f"sqlite:///{project}/mlflow.db"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert provenance.tracking_uri() == "http://127.0.0.1:5000"


@pytest.fixture
def git(project, monkeypatch):
    """Runs git in an empty repository, untouched by the user's settings or a hook's."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")

    def run(*arguments):
        ended = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
        return ended.stdout.strip()

    run("init", "--quiet", "--initial-branch", "wip")
    (project / "params.yaml").write_text("a: 1\n")
    return run


def test_a_run_names_its_commit_and_branch(git):
    git("add", ".")
    git("commit", "--quiet", "--message", "first")

    assert provenance.lineage_tags() == {
        "mlflow.source.git.commit": git("log", "-1", "--format=%H"),
        "mlflow.source.git.branch": "wip",
        "git.dirty": "false",
    }


@pytest.mark.parametrize("name", ["params.yaml", "untracked.txt"])
def test_a_changed_checkout_is_called_dirty(git, project, name):
    git("add", ".")
    git("commit", "--quiet", "--message", "first")

    (project / name).write_text("a: 2\n")

    assert provenance.lineage_tags()["git.dirty"] == "true"


@pytest.mark.usefixtures("git")
def test_a_repository_without_commits_has_no_commit():
    assert provenance.lineage_tags() == {"git.dirty": "true"}


@pytest.mark.usefixtures("project")
def test_without_a_repository_there_is_no_lineage():
    assert provenance.lineage_tags() == {}


@pytest.mark.usefixtures("git")
def test_without_git_there_is_no_lineage(monkeypatch):
    monkeypatch.setenv("PATH", "")

    assert provenance.lineage_tags() == {}


@pytest.mark.usefixtures("project")
def test_a_dvc_experiment_is_named(monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "rough-moth")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "4f2a")

    assert provenance.lineage_tags() == {"dvc.experiment": "rough-moth", "dvc.baseline": "4f2a"}
