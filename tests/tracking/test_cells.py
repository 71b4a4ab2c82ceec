"""What MLflow calls a cell."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.params_file import read_params
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import Manifest
from pipeline.tracking.cells import cell_tags
from pipeline.tracking.records import run_record
from pipeline.tracking.store import Store
from tests.networks import PARAMS

GIT = (
    "git", "-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false",
    "-c", "core.hooksPath=/dev/null",
)  # fmt: skip


@pytest.fixture
def committed(tracked_project):
    """A checkout whose params.yaml is committed; returns the variant's parameters there."""
    (tracked_project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "one"]):
        subprocess.run([*GIT, *command], check=True, cwd=tracked_project)
    return read_params().variants["batch_norm"].parameters


@pytest.fixture
def named(tracked_project):  # noqa: ARG001
    """Puts a run into the store, and returns what its cell is called."""
    store = Store("digits")

    def name(parameters, seed=0, lineage=None, **inputs):
        manifest = replace(Manifest("batch_norm", parameters, (0, 1), "da7a", "c0de"), **inputs)
        shown = cell_tags(store, manifest)
        store.open(run_record(manifest, seed, lineage or Lineage({}), shown=shown))
        return shown["cell"]

    return name


def test_a_cell_is_called_by_what_differs_from_the_committed_parameters(committed, named):
    optimizer = committed["training"]["optimizer"] | {"learning_rate": 0.5}
    training = committed["training"] | {"optimizer": optimizer}

    assert named(committed) == "batch_norm"
    assert named(committed | {"momentum": 0.9}) == "batch_norm · momentum 0.9"
    assert (
        named(committed | {"momentum": 0.8, "training": training})
        == "batch_norm · momentum 0.8, learning_rate 0.5"
    )


def test_seeds_and_commits_do_not_make_another_cell(committed, named):
    commits = [Lineage({"mlflow.source.git.commit": digit * 40}, b"diff") for digit in "ab"]

    assert [named(committed, seed, lineage) for seed in (0, 1) for lineage in commits] == [
        "batch_norm"
    ] * 4
    assert named(committed, seeds=tuple(range(20))) == "batch_norm"


@pytest.mark.parametrize("other", [{"data_sha256": "da7b"}, {"code_sha256": "c0df"}])
def test_a_hash_tells_apart_what_has_the_same_parameters(committed, named, other):
    first, second = named(committed), named(committed, **other)

    assert first == "batch_norm"
    assert second.startswith("batch_norm (")
    assert len(second) == len("batch_norm (12345)")
    # A name stays.
    assert (named(committed), named(committed, **other)) == (first, second)


def test_after_a_commit_a_cell_is_told_from_the_earlier_by_what_was_committed(committed, named):
    assert named(committed) == "batch_norm"
    text = PARAMS.replace("momentum: 0.99", "momentum: 0.9")
    assert text != PARAMS
    Path("params.yaml").write_text(text, encoding="utf-8")
    subprocess.run([*GIT, "commit", "-qam", "two"], check=True)

    assert named(read_params().variants["batch_norm"].parameters) == "batch_norm · momentum 0.9"
    assert named(committed) == "batch_norm"


def test_many_differences_are_counted(committed, named):
    changed = committed | {"momentum": 0.9, "epsilon": 0.5, "center": False, "scale": False}

    name = named(changed)

    assert name.count(",") == 3
    assert name.endswith(", 1 more")


def test_without_a_commit_a_cell_is_called_by_its_variant(named):
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    parameters = read_params().variants["batch_norm"].parameters

    assert named(parameters) == "batch_norm"
    assert named(parameters | {"momentum": 0.9}) == "batch_norm · momentum 0.9"
