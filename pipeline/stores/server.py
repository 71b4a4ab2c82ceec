"""A server of MLflow, asked by its REST API; it needs nothing beyond mlflow-skinny."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from pipeline.errors import DataError, PipelineError, UnavailableError, one_line, without_passwords
from pipeline.stores.causes import advice
from pipeline.stores.rows import ENTRY, POINT, RUN, Experiment, Rows, table
from pipeline.stores.where import not_understood

_API, _BULK = "/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
_PAGE = 1000
# The most that MLflow takes and gives in one such request.
_BULK_RUNS, _BULK_POINTS = 100, 25_000
_MISSING, _REFUSED = 404, (401, 403)


class _NotFoundError(PipelineError):
    """The server does not know the endpoint."""


class Server:
    """A server of MLflow, of any version since 1.0."""

    def __init__(self, address: str) -> None:
        """Takes its address, as MLflow does."""
        self._name = without_passwords(address)
        self._credentials = get_default_host_creds(address)

    def experiments(self) -> list[Experiment]:
        """Returns all experiments."""
        everything = {"view_type": "ALL", "max_results": _PAGE}
        try:
            try:
                found = list(self._pages("POST", "experiments/search", "experiments", everything))
            except _NotFoundError:
                # Before MLflow 1.28.
                found = list(
                    self._pages("GET", "experiments/list", "experiments", {"view_type": "ALL"})
                )
        except _NotFoundError:
            raise self._no_mlflow() from None
        return [
            Experiment(
                str(one["experiment_id"]), one["name"], one.get("lifecycle_stage") == "deleted"
            )
            for one in found
        ]

    def rows(self, experiments: Sequence[Experiment], where: str | None) -> Rows:
        """Returns their runs that match, a thousand in a request."""
        asked = {
            "experiment_ids": [experiment.id for experiment in experiments],
            "filter": where or "",
            "run_view_type": "ALL",
            "max_results": _PAGE,
        }
        found = list(self._pages("POST", "runs/search", "runs", asked))
        infos = [run["info"] for run in found]
        ids = [info.get("run_id") or info["run_uuid"] for info in infos]
        runs = table(RUN, (_run(run, info) for run, info in zip(ids, infos, strict=True)))
        params, tags, metrics = (
            table(
                ENTRY,
                (
                    (run, entry["key"], entry.get("value", ""))
                    for run, one in zip(ids, found, strict=True)
                    for entry in one.get("data", {}).get(kind, [])
                ),
            )
            for kind in ("params", "tags", "metrics")
        )
        # Names of nan and infinity among them.
        return Rows(runs, params, tags, metrics.astype({"value": float}))

    def history(self, metric: str, runs: Sequence[str]) -> pd.DataFrame:
        """Returns all values of a metric, of a hundred runs in a request where the server can."""
        points: list[tuple[object, ...]] = []
        for start in range(0, len(runs), _BULK_RUNS):
            points += self._points(metric, runs[start : start + _BULK_RUNS])
        return table(POINT, points).astype({"value": float})

    def _points(self, metric: str, runs: Sequence[str]) -> list[tuple[object, ...]]:
        asked = {"run_id": list(runs), "metric_key": metric, "max_results": _BULK_POINTS}
        try:
            found = self._answer("GET", _BULK, asked).get("metrics", [])
        except _NotFoundError:
            # Before MLflow 2.
            found = None
        if found is not None and len(found) < _BULK_POINTS:
            return [(point["run_id"], *_point(point)) for point in found]
        return [
            (run, *_point(point))
            for run in runs
            for point in self._pages(
                "GET", "metrics/get-history", "metrics", {"run_id": run, "metric_key": metric}
            )
        ]

    def _pages(
        self, method: str, endpoint: str, key: str, asked: Mapping[str, object]
    ) -> Iterator[dict[str, Any]]:
        token = None
        while True:
            page = {"page_token": token} if token else {}
            answer = self._answer(method, _API + endpoint, {**asked, **page})
            yield from answer.get(key, [])
            token = answer.get("next_page_token")
            if not token:
                return

    def _answer(self, method: str, path: str, asked: Mapping[str, object]) -> dict[str, Any]:
        place = {"json": asked} if method == "POST" else {"params": asked}
        try:
            response: Any = http_request(
                self._credentials, path, method, raise_on_status=False, **place
            )
        except MlflowException as error:
            raise UnavailableError(f"{self._name} does not answer: {_cause(error)}") from None
        if response.status_code in _REFUSED:
            raise UnavailableError(
                f"{self._name} wants another login: set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        if response.status_code == _MISSING:
            raise _NotFoundError(f"{self._name} has no {path}")
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._no_mlflow()
        if answer.get("error_code") == "INVALID_PARAMETER_VALUE" and asked.get("filter"):
            raise not_understood(str(asked["filter"]), answer.get("message"))
        if not response.ok:
            raise UnavailableError(
                f"{self._name} failed with status {response.status_code}: "
                f"{one_line(answer.get('message', ''))}"
            )
        return answer

    def _no_mlflow(self) -> DataError:
        return DataError(f"{self._name} is no server of MLflow")


def _cause(error: Exception) -> str:
    """Returns advice, or the last part of what MLflow, requests and urllib3 say of a request."""
    return advice(error) or one_line(str(error).rpartition(": ")[2].rstrip("')\""))


def _run(run: str, info: Mapping[str, Any]) -> list[object]:
    return [
        run,
        info.get("run_name", ""),
        str(info["experiment_id"]),
        info.get("status", "RUNNING"),
        info.get("lifecycle_stage") == "deleted",
        # Older servers write them as text.
        *(
            float(info[key]) if info.get(key) else float("nan")
            for key in ("start_time", "end_time")
        ),
    ]


def _point(point: Mapping[str, Any]) -> tuple[int, int, float]:
    return int(point.get("step", 0)), int(point["timestamp"]), float(point["value"])
