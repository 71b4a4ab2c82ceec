"""MLflow's UI, and where in it this project's runs are."""

import os
import sys
from collections.abc import Iterator

from mlflow.tracking import MlflowClient

from pipeline.adapters.experiment_pages import CURVES, TABLE, view_path, view_tag
from pipeline.adapters.params_file import read_params
from pipeline.adapters.provenance import database, tracking_uri
from pipeline.adapters.tracking import TRACKING_ERRORS
from pipeline.errors import ArgumentError, PipelineError


def run(port: int) -> None:
    """Becomes MLflow's server.

    Raises:
        ArgumentError: if the store is a server, which has a UI of its own.
    """
    uri = tracking_uri()
    if uri.startswith("http"):
        raise ArgumentError("MLFLOW_TRACKING_URI names a server: its UI is at that address")
    # MLflow's own first page is for another kind of work.
    for name, path in _places(uri):
        print(f"{name:16}http://127.0.0.1:{port}/{path}", flush=True)
    # Without these MLflow starts fifteen processes and takes 3 GB.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # Not among the arguments, which everybody on the machine may read: it may hold a password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    arguments = ["ui", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


def _places(uri: str) -> Iterator[tuple[str, str]]:
    """Yields where to look first, by what is there to be seen; nothing before there are runs."""
    try:
        path = database()
        if path is None or not path.is_file():
            return
        name = read_params().tracking.experiment
        known = MlflowClient(uri).get_experiment_by_name(name)
    except (PipelineError, *TRACKING_ERRORS):
        # MLflow says what is wrong with the store, `params` what is wrong with params.yaml.
        return
    # One that is deleted, or of before there were views, has nothing to be seen there.
    if known is not None and known.lifecycle_stage == "active":
        for shown, view in (("Runs", TABLE), ("Learning curves", CURVES)):
            if view_tag(view) in known.tags:
                yield shown, view_path(known.experiment_id, view)
