import json
import re

import pytest

from pipeline.comparison.measures import MEASURES
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.tracking import experiment_pages as pages
from pipeline.tracking.records import epoch_points

SAVED = "mlflow.sharedViewState."


def saved_views(tags):
    """Returns the saved views, by key, as MLflow reads them."""
    views = {
        key.removeprefix(SAVED): json.loads(value) for key, value in tags.items() if SAVED in key
    }
    return {key: (view["name"], json.loads(view["state"])) for key, view in views.items()}


def test_runs_are_shown_in_a_table_and_in_charts():
    views = saved_views(pages.of_runs("7"))

    assert {key: name for key, (name, _) in views.items()} == {
        "table": "Runs in a table",
        "curves": "Learning curves",
    }
    columns = views["table"][1]["selectedColumns"]
    assert {f"metrics.`test/{name}`" for name in MEASURES} | {"params.`measure`"} <= set(columns)


def test_metrics_logged_each_epoch_have_a_chart_grouped_by_cell():
    _, state = saved_views(pages.of_runs("7"))["curves"]
    logged = epoch_points(EpochScores(0, 0, Scores(0.5, 0.5), Scores(0.5, 0.5)))

    lines = [chart for chart in state["compareRunCharts"] if chart["type"] == "LINE"]
    assert {chart["metricKey"] for chart in lines} == {point.key for point in logged}
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "cell"}]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections


def test_the_description_links_to_the_views():
    tags = pages.of_runs("7")

    paths = re.findall(r"\((#[^)]*)\)", tags["mlflow.note.content"])
    keys = [path.rpartition("viewStateShareKey=")[2] for path in paths]
    assert keys == list(saved_views(tags))
    assert all(path.startswith("#/experiments/7/runs?") for path in paths)


@pytest.mark.parametrize("tags", [pages.of_runs("7"), pages.of_study("3", "ReLUs die", [], [])])
def test_a_list_of_experiments_says_how_to_come_to_the_runs(tags):
    # It shows about 24 characters.
    assert tags["mlflow.note.content"][:24] == "Choose Model training at"


def test_a_study_is_described_by_its_claim_and_shows_means():
    tags = pages.of_study("3", "ReLUs die", ["training.epochs"], ["dead_units", "test_accuracy"])

    told = tags["mlflow.note.content"]
    assert "open [the cells in a table](#/experiments/3/" in told
    assert " for: ReLUs die? " in told
    (_, state) = saved_views(tags)["table"]
    shown = [
        "params.`variant`", "params.`training.epochs`",
        "metrics.`mean/dead_units`", "metrics.`mean/test_accuracy`",
    ]  # fmt: skip
    assert state["selectedColumns"] == state["columnOrder"][-4:] == shown
    assert state["columnOrder"] == list(state["columnWidths"])


@pytest.mark.parametrize(
    ("artifact", "path"),
    [
        ("", "#/experiments/7/runs/a1?workflowType=machine_learning"),
        ("r/a.html", "#/experiments/7/runs/a1/artifacts/r/a.html?workflowType=machine_learning"),
    ],
)
def test_each_run_has_its_own_address(artifact, path):
    assert pages.run_path("7", "a1", artifact) == path
