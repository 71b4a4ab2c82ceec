from pathlib import Path

import pytest

from pipeline.provenance import places
from pipeline.stores.postgresql import UnusableAddressError


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
    ("given", "taken"),
    [
        ("sqlite:///mlflow.db", "sqlite:////home/my%20self/mlflow.db"),
        (
            "sqlite+pysqlite:///a/b.db?timeout=9",
            "sqlite+pysqlite:////home/my%20self/a/b.db?timeout=9",
        ),
        ("sqlite:////elsewhere/mlflow.db", "sqlite:////elsewhere/mlflow.db"),
        ("sqlite:///file:a.db?uri=true", "sqlite:///file:a.db?uri=true"),
    ],
)
def test_a_relative_database_is_in_the_root(project, monkeypatch, given, taken):
    # As in an experiment that DVC queued, whose folder is deleted afterwards.
    monkeypatch.chdir(project)
    monkeypatch.setenv("DVC_ROOT", "/home/my self")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)

    assert places.tracking_uri() == taken


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("127.0.0.1:5999", "127.0.0.1:5999 has no scheme: write http://127.0.0.1:5999"),
        ("localhost:5000", "localhost:5000 has no scheme: write http://localhost:5000"),
        ("my-host.lan:80/a/b", "my-host.lan:80/a/b has no scheme: write http://my-host.lan:80/a/b"),
        ("me:secret@host:5000", "host:5000 has no scheme: write http://host:5000"),
        ("mlflow.db", "mlflow.db has no scheme: write sqlite:///mlflow.db"),
        (
            "/home/me/mlflow.db",
            "/home/me/mlflow.db has no scheme: write sqlite:////home/me/mlflow.db",
        ),
    ],
)
def test_an_address_without_its_scheme_is_refused_with_the_one_that_is_meant(
    monkeypatch, given, told
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)

    with pytest.raises(UnusableAddressError) as refused:
        places.tracking_uri()
    assert str(refused.value) == f"MLFLOW_TRACKING_URI={told}"


@pytest.mark.parametrize("given", ["mlruns", "./some/store", "file:x", "file:///a.db"])
def test_a_folder_is_refused_unless_mlflow_is_told_to_take_it(monkeypatch, given):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    refused = f"MLFLOW_TRACKING_URI={given} is a folder, .* as in sqlite:///mlflow.db"
    with pytest.raises(UnusableAddressError, match=refused):
        places.tracking_uri()

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert places.tracking_uri() == given


@pytest.mark.parametrize(
    "given", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:?a=b"]
)
def test_a_database_that_keeps_nothing_is_refused(monkeypatch, given):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    with pytest.raises(UnusableAddressError, match=r"in memory, .* as in sqlite:///mlflow\.db"):
        places.tracking_uri()


@pytest.mark.parametrize("given", ["databricks", "databricks://profile", "uc:main", "C:/mlruns"])
def test_what_mlflow_takes_without_slashes_is_left_to_it(monkeypatch, given):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert places.tracking_uri() == given


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////elsewhere/mlflow.db", Path("/elsewhere/mlflow.db")),
        # What stands there is SQLite's own URI, not a path.
        ("sqlite:///file:/elsewhere/mlflow.db?mode=ro&uri=true", None),
        ("postgresql://127.0.0.1/mlflow", None),
        ("http://127.0.0.1:5000", None),
    ],
)
def test_the_database_is_the_file_that_the_address_names(monkeypatch, uri, path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    assert places.database() == path
