"""What tests of several rooms stand on."""

import os
import shutil

import pytest

# MLflow reads them when it is imported; the command line sets the same.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow database with its schema, which takes two seconds to make, and nothing in it."""
    from pipeline.adapters import tracking  # noqa: PLC0415  MLflow takes as long to import.

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    tracking.MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project as the current folder, whatever DVC and MLflow are told outside."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tracked_project(project, empty_store):
    """The same with an MLflow store that has its schema already."""
    shutil.copy(empty_store, project / "mlflow.db")
    return project
