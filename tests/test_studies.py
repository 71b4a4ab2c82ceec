"""A study from its file to its page, on the digits."""

import json
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from pipeline.datasets import download, prepare
from pipeline.examples.prepared import PREPARED_FILE
from pipeline.execution import study as command
from pipeline.studies import gallery, run
from pipeline.studies.study_file import read_study

pytestmark = pytest.mark.slow

NETWORKS = Path("networks").resolve()
STUDY = """
claim: Batch normalisation helps on the digits
source: us
published: none
data: {dataset: digits, path: data/raw, validation_size: 200}
network: {code: networks/dense.py, hidden_dims: [4], activation: relu}
training: {epochs: 1, batch_size: 32, optimizer: {name: sgd, learning_rate: 0.1}, seeds: 6}
variants:
  batch_norm:
    {label: With, normalization: batch, momentum: 0.9, epsilon: 0.001, center: true, scale: true}
  no_norm: {label: Without, normalization: none}
comparison: {baseline: no_norm, candidate: batch_norm, confidence: 0.95}
grid: {training.optimizer.learning_rate: [0.1, 1.0]}
probes: [dead_units]
rules: [{measure: test_accuracy, expected: greater, at: {learning_rate: 0.1}}]
quick: {training.seeds: 2}
"""
MADE = ("README.md", "figure.png", "results.csv", "verdict.json")
SEEDS = 6


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_store, share_compiled):
    """A project in which the study was run once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(tmp_path_factory.mktemp("project"))
        shutil.copy(empty_store, "mlflow.db")
        share_compiled(patch)
        shutil.copytree(NETWORKS, "networks")
        folder = Path("studies/digits")
        folder.mkdir(parents=True)
        (folder / "study.yaml").write_text(STUDY)
        study = read_study("digits", quick=False)
        download.run(study.params)
        prepare.run(study.params)
        command.run(study, workers=2)
        yield folder


def content(folder):
    return {name: (folder / name).read_bytes() for name in MADE}


def test_there_is_a_row_for_each_seed_and_cell(project):
    table = pd.read_csv(project / "results.csv")

    assert len(table) == 2 * 2 * SEEDS
    assert list(table.columns[:3]) == ["learning_rate", "variant", "seed"]
    assert not table.duplicated(["learning_rate", "variant", "seed"]).any()
    assert table["test_accuracy"].between(0, 1).all()
    assert table["dead_units"].between(0, 1).all()
    # A pair shares its seed, and seeds differ, as learning rates do.
    assert table.groupby(["learning_rate", "variant"])["test_loss"].nunique().eq(SEEDS).all()
    assert table.groupby(["variant", "seed"])["test_loss"].nunique().eq(2).all()


def test_the_verdict_is_told_with_its_numbers(project):
    told = json.loads((project / "verdict.json").read_text())
    table = pd.read_csv(project / "results.csv").query("learning_rate == 0.1")
    means = table.groupby("variant")["test_accuracy"].mean()

    (rule,) = told["rules"]
    assert rule["means"] == pytest.approx(means.to_dict())
    assert rule["mean"] == pytest.approx(means["batch_norm"] - means["no_norm"])
    assert told["verdict"] in {"supported", "refuted", "not settled"}
    page = (project / "README.md").read_text()
    assert page.startswith("# Batch normalisation helps on the digits\n\n**")
    assert f"{100 * means['batch_norm']:.2f} % With" in page


def test_run_again_it_trains_nothing_and_writes_the_same(project, monkeypatch):
    before = content(project)
    monkeypatch.setattr(run, "Trials", None)

    command.run(read_study("digits", quick=False))

    assert content(project) == before


class Begun(Exception):  # noqa: N818  It is no error.
    """A study began to train these cells."""


@pytest.fixture
def left(project, monkeypatch):  # noqa: ARG001
    """Returns the cells that the study in the file would train, without training them."""

    def stop(_study, _kept, left, _workers):
        raise Begun(left)

    monkeypatch.setattr(run, "_train", stop)

    def begin():
        with pytest.raises(Begun) as begun:
            command.run(read_study("digits", quick=False))
        return begun.value.args[0]

    return begin


@pytest.mark.parametrize("probes", ["[]", "[dead_units, percentiles]", "[dead_units]\ncourse: []"])
def test_what_was_not_measured_is_trained_for_again(project, left, probes):
    (project / "study.yaml").write_text(STUDY.replace("[dead_units]", probes))
    try:
        assert len(left()) == 2 * 2 * SEEDS
    finally:
        (project / "study.yaml").write_text(STUDY)


@pytest.mark.usefixtures("project")
def test_on_other_data_all_is_trained_again(left):
    kept = PREPARED_FILE.read_bytes()
    PREPARED_FILE.write_bytes(kept + b"\0")
    try:
        assert len(left()) == 2 * 2 * SEEDS
    finally:
        PREPARED_FILE.write_bytes(kept)


def test_only_what_is_new_in_a_grid_is_trained(project, monkeypatch):
    trained, train = [], run._train

    def noting(study, kept, left, workers):
        trained.append(left)
        train(study, kept, left, workers)

    monkeypatch.setattr(run, "_train", noting)
    more = STUDY.replace("[0.1, 1.0]", "[0.1, 0.3, 1.0]")
    (project / "study.yaml").write_text(more)

    command.run(read_study("digits", quick=False), workers=1)

    (left,) = trained
    assert {cell.variant.training.optimizer.learning_rate for cell in left} == {0.3}
    assert len(left) == 2 * SEEDS


def test_a_cell_that_was_damaged_is_trained_again(project):
    (project / "study.yaml").write_text(STUDY)
    command.run(read_study("digits", quick=False), workers=1)
    before = content(project)
    next(Path(".bnlab/trials").rglob("*.json")).write_text("{")

    command.run(read_study("digits", quick=False), workers=1)

    assert content(project) == before


def test_the_quick_scale_says_so_and_leaves_the_full_one_alone(project):
    before = content(project)

    told = command.run(read_study("digits", quick=True), workers=1)

    assert "Its verdict is not reliable." in told
    assert told.endswith("\nPage: studies/digits/quick/README.md")
    assert content(project) == before
    assert "Its verdict is not reliable" in (project / "quick/README.md").read_text()
    assert json.loads((project / "quick/verdict.json").read_text())["quick"] is True


def test_mlflow_has_a_run_for_each_cell_and_the_verdict(project):
    client = mlflow.MlflowClient(f"sqlite:///{project.absolute().parents[1]}/mlflow.db")
    experiment = client.get_experiment_by_name("study: digits")
    runs = client.search_runs([experiment.experiment_id], "tags.quick = 'False'")

    cells = {run.info.run_name: run for run in runs if run.data.tags["kind"] == "cell"}
    assert {"batch_norm learning_rate=0.1", "no_norm learning_rate=1.0"} <= cells.keys()
    run = cells["no_norm learning_rate=1.0"]
    table = pd.read_csv(project / "results.csv").query(
        "learning_rate == 1 and variant == 'no_norm'"
    )
    points = client.get_metric_history(run.info.run_id, "test_accuracy")
    shown = [point.value for point in sorted(points, key=lambda point: point.step)]
    assert shown == table.sort_values("seed")["test_accuracy"].tolist()
    # The last step is one seed; a table of runs has the mean beside it.
    assert run.data.metrics["mean/test_accuracy"] == pytest.approx(table["test_accuracy"].mean())
    assert "mean/test_accuracy" in experiment.tags["mlflow.sharedViewState.table"]
    verdicts = [run for run in runs if run.data.tags["kind"] == "verdict"]
    assert verdicts
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_the_gallery_has_each_study_with_its_picture_and_verdict(project):
    gallery.run()

    page = (project.parent / "README.md").read_text()
    assert "[Batch normalisation helps on the digits](digits/README.md)" in page
    assert "(digits/figure.png)" in page
    assert json.loads((project / "verdict.json").read_text())["verdict"] in page


def test_a_study_that_follows_its_runs_writes_their_course(project):
    folder = project.parent / "followed"
    folder.mkdir()
    followed = STUDY.replace("probes: [dead_units]", "probes: []\ncourse: [percentiles]").replace(
        "epochs: 1", "epochs: 3, steps_per_epoch: 20"
    )
    grid, rules = followed.index("grid:"), followed.index("probes:")
    followed = followed[:grid] + followed[rules:].replace(
        "test_accuracy, expected: greater, at: {learning_rate: 0.1}",
        "percentile_50_drift, expected: smaller",
    )
    (folder / "study.yaml").write_text(followed)

    command.run(read_study("followed", quick=False), workers=2)

    course = pd.read_csv(folder / "course.csv")
    assert list(course.columns[:3]) == ["variant", "seed", "step"]
    assert len(course) == 2 * SEEDS * 3
    steps = course.groupby(["variant", "seed"])["step"].apply(list)
    assert all(one == [20, 40, 60] for one in steps)
    results = pd.read_csv(folder / "results.csv")
    last = course[course["step"] == 60].merge(results, on=["variant", "seed"])
    assert last["test_accuracy_x"].equals(last["test_accuracy_y"])
    means = course.groupby(["variant", "seed"])["test_loss"].mean()
    expected = results.set_index(["variant", "seed"])["test_loss_mean"]
    pd.testing.assert_series_equal(means, expected, check_names=False)
    assert "Drift of the 50th percentile" in (folder / "README.md").read_text()
    shutil.rmtree(folder)
