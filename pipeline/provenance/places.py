"""Which code trains, and where its runs are kept."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def project_root() -> Path:
    """Returns the checkout that owns the tracking store.

    `dvc exp run --temp` and queued experiments run in a folder that is deleted afterwards; DVC
    names the main checkout in `DVC_ROOT`.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def tracking_uri() -> str:
    """Returns `MLFLOW_TRACKING_URI`, or the database in the checkout that owns the store."""
    # Quoted, for MLflow takes `%20` in a path for a space.
    own = f"sqlite:///{quote(str(project_root() / 'mlflow.db'))}"
    return os.environ.get("MLFLOW_TRACKING_URI") or own


def database() -> Path | None:
    """Returns the file of the tracking store, there or not; None if the store is no such file."""
    uri = tracking_uri()
    if not uri.startswith("sqlite:"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return None if name in {None, "", ":memory:"} else Path(str(name))
