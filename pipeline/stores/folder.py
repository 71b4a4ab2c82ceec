"""A folder of MLflow 1 to 3: `mlruns`, read as the text files that it is.

The layout is that of `mlflow/store/tracking/file_store.py`, which is not used itself: it writes
into what it reads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from pipeline.errors import DataError
from pipeline.stores.rows import ENTRY, POINT, RUN, Experiment, Rows, table
from pipeline.stores.where import matching

# mlflow.entities.RunStatus; before there was any, MLflow wrote none.
_STATUS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_META, _TRASH, _REGISTRY = "meta.yaml", ".trash", "models"
_NO_RUNS = {"tags", "datasets", "traces", "models"}
_ENTRIES = ("params", "tags", "metrics")
# Left by the file manager of macOS.
_LITTER = ".DS_Store"
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, yaml.YAMLError)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Folder:
    """A folder with a folder for each experiment. Files below `artifacts` are never opened."""

    def __init__(self, path: Path) -> None:
        """Takes the folder that MLflow calls `mlruns`."""
        if (path / _META).is_file():
            raise DataError(
                f"{path} is the folder of one experiment; name the one above it, "
                f"with --experiment {path.resolve().name}"
            )
        if (path / "mlruns").is_dir():
            raise DataError(f"{path} has a store in it: name {path / 'mlruns'}")
        self._path = path
        self._folders: dict[str, Path] = {}
        self._runs: dict[str, Path] = {}
        self._damaged: list[str] = []

    def experiments(self) -> list[Experiment]:
        """Returns all experiments; those in `.trash` are deleted."""
        found = []
        for folder in [*_folders(self._path), *_folders(self._path / _TRASH)]:
            try:
                experiment = _experiment(folder)
            except _UNREADABLE:
                # Databases keep their artifacts in folders that look like this one.
                if (folder / _META).exists() or any(folder.glob(f"*/{_META}")):
                    self._damaged.append(str(folder / _META))
                continue
            if experiment.id not in self._folders:
                self._folders[experiment.id] = folder
                found.append(experiment)
        if not found and self._damaged:
            raise DataError(f"{self._damaged[0]} cannot be read, nor is there any other experiment")
        if not found:
            raise DataError(
                f"{self._path} is no store of MLflow: no folder in it has a {_META}. Some keep "
                "only artifacts here, and the runs in a database: sqlite:///mlflow.db"
            )
        return found

    def rows(self, experiments: Sequence[Experiment], where: str | None) -> Rows:
        """Returns their runs that match; what is damaged is left out, and listed."""
        runs: list[list[object]] = []
        entries: dict[str, list[tuple[str, str, object]]] = {name: [] for name in _ENTRIES}
        for experiment in experiments:
            for folder in _folders(self._folders[experiment.id], without=_NO_RUNS):
                try:
                    run = _run(folder, experiment.id)
                    of_run = {name: list(_values(folder, name)) for name in _ENTRIES}
                except _UNREADABLE:
                    if any((folder / name).exists() for name in (_META, *_ENTRIES)):
                        self._damaged.append(str(folder))
                    continue
                if folder.name in self._runs:
                    self._damaged.append(str(folder))
                    continue
                self._runs[folder.name] = folder
                runs.append(run)
                for name in _ENTRIES:
                    entries[name] += of_run[name]
        tables = {name: table(ENTRY, entries[name]) for name in _ENTRIES}
        return matching(Rows(table(RUN, runs), **tables, damaged=tuple(self._damaged)), where)

    def history(self, metric: str, runs: Sequence[str]) -> pd.DataFrame:
        """Returns all values of a metric."""
        return table(
            POINT,
            (
                (run, step, timestamp, value)
                for run in runs
                for step, timestamp, value in _points(str(self._runs[run] / "metrics" / metric))
            ),
        )


def _folders(path: Path, without: frozenset[str] | set[str] = frozenset({_REGISTRY})) -> list[Path]:
    if not path.is_dir():
        return []
    found = (entry for entry in path.iterdir() if entry.is_dir() and entry.name not in without)
    return sorted(folder for folder in found if not folder.name.startswith("."))


def _meta(folder: Path) -> dict[str, Any]:
    meta = yaml.load((folder / _META).read_bytes(), Loader=_Loader)  # noqa: S506  A safe one.
    if not isinstance(meta, dict):
        raise ValueError(f"{folder / _META} is empty")  # noqa: TRY004  It is the content.
    return meta


def _experiment(folder: Path) -> Experiment:
    meta = _meta(folder)
    # MLflow shows no experiment whose folder has another name.
    if str(meta.get("experiment_id")) != folder.name:
        raise ValueError(f"{folder} is that of another experiment")
    deleted = meta.get("lifecycle_stage") == "deleted" or folder.parent.name == _TRASH
    return Experiment(folder.name, str(meta.get("name", "")), deleted)


def _run(folder: Path, experiment_id: str) -> list[object]:
    meta = _meta(folder)
    identity = str(meta.get("run_id") or meta.get("run_uuid"))
    if identity != folder.name or str(meta.get("experiment_id")) != experiment_id:
        raise ValueError(f"{folder} is that of another run")
    return [
        identity,
        meta.get("run_name") or meta.get("name") or "",
        experiment_id,
        _STATUS[int(meta.get("status", 1))],
        meta.get("lifecycle_stage") == "deleted",
        *(_time(meta.get(name)) for name in ("start_time", "end_time")),
    ]


def _time(written: Any) -> float:
    return math.nan if written is None else float(written)


def _values(folder: Path, kind: str) -> Iterator[tuple[str, str, object]]:
    """Yields run, name and value of each parameter, tag or metric; names may have slashes."""
    for name, path in _files(str(folder / kind)):
        value = _last(path) if kind == "metrics" else _content(path)
        yield folder.name, name, value


# A store has hundreds of thousands of files, for which `Path` would take as long as reading them.
def _files(top: str) -> Iterator[tuple[str, str]]:
    """Yields the name, relative to `top`, and the path of each file."""
    for folder, _, names in os.walk(top):
        for name in names:
            if name != _LITTER:
                path = os.path.join(folder, name)  # noqa: PTH118
                # A name that is not UTF-8 becomes one that can be printed.
                inside = os.fsencode(path[len(top) + 1 :]).decode("utf-8", "backslashreplace")
                yield inside.replace(os.sep, "/"), path


def _content(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read().decode("utf-8")


def _last(path: str) -> float:
    return max(_points(path), key=lambda point: (*point[:2], _rank(point[2])))[2]


def _rank(value: float) -> float:
    return float("-inf") if value != value else value  # noqa: PLR0124  True of nan alone.


def _points(path: str) -> list[tuple[int, int, float]]:
    """Returns step, time and value of each line: `time value [step [dataset digest]]`."""
    *lines, rest = _content(path).split("\n")
    if rest or not lines:
        raise ValueError(f"the last line of {path} is cut off")
    fields = (line.split() for line in lines)
    return [
        (int(step[0]) if step else 0, int(timestamp), float(value))
        for timestamp, value, *step in fields
    ]
