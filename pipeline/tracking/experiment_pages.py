"""What MLflow's UI shows of an experiment: its description and its saved views.

A saved view is a tag of the experiment. It says which runs to show, in which columns or charts, and
how to group them. The format is MLflow's own (3.17) and undocumented. Another version that cannot
read a view shows a message, and nothing else goes wrong. tests/browser opens the views.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pipeline.params import Measure

NOTE = "mlflow.note.content"
# MLflow's UI begins with pages for chat. Which it shows is decided by the address or in the
# browser, whatever the server and the experiment say. Its lists of experiments show the first four
# words of a description; the page of an experiment shows it whole, with its links.
_SWITCH = "Choose Model training at the top left, or open"
TABLE, CURVES = "table", "curves"
_SECTIONS = {
    "Learning curves": ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy"),
    "test": tuple(f"test/{measure}" for measure in get_args(Measure)),
}
# MLflow's names of its own columns: checkbox, name, time and status, duration. Widths in pixels.
_FIRST_COLUMNS = {"1": 73, "attributes.`Run Name`": 240, "runDateAndNestInfo": 150, "duration": 80}
# The tag that groups runs into one line of a chart; `cells` says what it is called.
CELL = "cell"
# The tag that gives a run its colour in MLflow's tables and charts.
COLOR = "mlflow.runColor"
# The numbers shown of a comparison, and the names of their metrics.
DIFFERENCE = {key: f"difference/{key}" for key in ("mean", "ci_low", "ci_high", "wins", "n")}


def of_runs(experiment_id: str) -> dict[str, str]:
    """Returns the tags for an experiment of runs and comparisons: a table, and charts by cell."""
    accuracy, *others = _SECTIONS["test"]
    columns = {
        f"tags.`{CELL}`": 170,
        # Beside MLflow's assistant there is room for one metric.
        **_metrics(accuracy),
        "tags.`verdict`": 140,
        **_metrics(*others),
        "params.`measure`": 110,
        f"metrics.`{DIFFERENCE['mean']}`": 130,
        "tags.`dvc.experiment`": 130,
    }
    table, curves = view_path(experiment_id, TABLE), view_path(experiment_id, CURVES)
    return {
        NOTE: f"{_SWITCH} [the runs in a table]({table}) or [the learning curves]({curves}). "
        "A run is a variant trained on one seed; a comparison is a run too, and holds the report.",
        **_saved(TABLE, "Runs in a table", _table(columns)),
        **_saved(CURVES, "Learning curves", _charts()),
    }


def of_study(
    experiment_id: str, claim: str, axes: Sequence[str], measures: Sequence[str]
) -> dict[str, str]:
    """Returns the tags for the experiment of a study: its claim, and a table of its cells.

    Args:
        experiment_id: MLflow's id of the experiment.
        claim: the claim under test.
        axes: of the study's grid.
        measures: those whose means over the seeds are shown.
    """
    columns = {f"params.`{name}`": 140 for name in ("variant", *axes)}
    columns |= {f"metrics.`{mean_of(measure)}`": 160 for measure in measures}
    return {
        NOTE: f"{_SWITCH} [the cells in a table]({view_path(experiment_id, TABLE)}) for: "
        f"{claim}? A cell is a "
        "variant at a point of the grid, and each step of its metrics is a seed. "
        "The outcome is in the run named verdict.",
        **_saved(TABLE, "Cells in a table", _table(columns)),
    }


def mean_of(measure: str) -> str:
    """Returns the name of the metric that is a measure's mean over the seeds."""
    return f"mean/{measure}"


def view_path(experiment_id: str, view: str) -> str:
    """Returns the address of a saved view, `TABLE` or `CURVES`, in MLflow's UI."""
    mode = "&compareRunsMode=CHART" if view == CURVES else ""
    return f"{_runs(experiment_id)}?workflowType=machine_learning{mode}&viewStateShareKey={view}"


def view_tag(view: str) -> str:
    """Returns the name of the tag that holds a saved view."""
    return f"mlflow.sharedViewState.{view}"


def run_path(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """Returns the address of a run, or of one of its artifacts, in MLflow's UI."""
    below = f"/artifacts/{artifact}" if artifact else ""
    return f"{_runs(experiment_id)}/{run_id}{below}?workflowType=machine_learning"


def _runs(experiment_id: str) -> str:
    return f"#/experiments/{experiment_id}/runs"


def _saved(key: str, name: str, state: Mapping[str, Any]) -> dict[str, str]:
    view = {"name": name, "createdAt": 0, "state": json.dumps(state)}
    return {view_tag(key): json.dumps(view)}


def _table(columns: Mapping[str, int]) -> dict[str, Any]:
    """Returns the state of a table with MLflow's first columns and these, with widths in pixels."""
    return {
        "selectedColumns": list(columns),
        "columnOrder": [*_FIRST_COLUMNS, *columns],
        "columnWidths": {**_FIRST_COLUMNS, **columns},
    }


def _metrics(*names: str) -> dict[str, int]:
    """Returns a column for each metric, so wide that its name is not cut."""
    return {f"metrics.`{name}`": 40 + 7 * len(name) for name in names}


def _charts() -> dict[str, Any]:
    grouped = {"mode": "tag", "groupByData": CELL}
    return {
        "searchFilter": "tags.kind = 'run'",
        # MLflow shows the first hundred runs only. Ordered by seed, they include every variant.
        "orderByKey": "params.`seed`",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [grouped]},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "compareRunSections": [_section(name) for name in _SECTIONS],
        "compareRunCharts": [
            *(_chart(metric, name) for name, metrics in _SECTIONS.items() for metric in metrics),
            # Once MLflow has shown a comparison, it would add a section for these metrics.
            *(_chart(metric, "test") | {"deleted": True} for metric in DIFFERENCE.values()),
        ],
    }


def _section(name: str) -> dict[str, Any]:
    return _own(name) | {"name": name, "display": True, "isReordered": True, "columns": 2}


def _chart(metric: str, section: str) -> dict[str, Any]:
    chart = _own(metric) | {"metricKey": metric, "metricSectionId": section}
    if section == "test":
        return chart | {"type": "BAR", "runsCountToCompare": 100}
    return chart | {
        "type": "LINE",
        "runsCountToCompare": 100,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        # A linear axis would start at 0 and squeeze all accuracies into one line.
        "scaleType": "log" if metric.endswith("accuracy") else "linear",
        "yAxisKey": "metric",
        "range": {},
        "lineSmoothness": 0,
    }


def _own(key: str) -> dict[str, Any]:
    return {"uuid": key, "deleted": False, "isGenerated": False}
