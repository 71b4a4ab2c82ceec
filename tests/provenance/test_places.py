from pathlib import Path

import pytest

from pipeline.provenance import places


def test_the_root_is_the_current_folder(project):
    assert places.project_root() == project


@pytest.mark.usefixtures("project")
def test_the_root_is_where_dvc_says(monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/elsewhere/checkout")

    assert places.project_root() == Path("/elsewhere/checkout")
    assert places.tracking_uri() == "sqlite:////elsewhere/checkout/mlflow.db"


def test_runs_are_tracked_in_the_root_unless_told_otherwise(project, monkeypatch):
    assert places.tracking_uri() == f"sqlite:///{project}/mlflow.db"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert places.tracking_uri() == f"sqlite:///{project}/mlflow.db"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert places.tracking_uri() == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////elsewhere/mlflow.db", Path("/elsewhere/mlflow.db")),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        # What stands there is SQLite's own URI, not a path.
        ("sqlite:///file:/elsewhere/mlflow.db?mode=ro&uri=true", None),
        ("postgresql://127.0.0.1/mlflow", None),
        ("http://127.0.0.1:5000", None),
    ],
)
def test_the_database_is_the_file_that_the_address_names(monkeypatch, uri, path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    assert places.database() == path
