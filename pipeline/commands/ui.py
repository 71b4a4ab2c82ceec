"""MLflow's UI, and where in it this project's runs are."""

import os
import socket
import sys
from collections.abc import Iterator

import click

from pipeline.errors import ArgumentError, MissingInputError, ParamsError, PendingError

_HOST = "127.0.0.1"


@click.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def command(port: int) -> None:
    """Serve MLflow's UI to this machine, and say where to look.

    \b
    Example:
      python -m pipeline ui --port 5001

    On 127.0.0.1, in two light processes.
    """
    from pipeline.provenance.places import tracking_uri

    uri = tracking_uri()
    if uri.startswith("http"):
        raise ArgumentError("MLFLOW_TRACKING_URI names a server: its UI is at that address")
    _check_free(port)
    # MLflow's own first page is for another kind of work.
    for name, path in _places():
        print(f"{name:16}http://{_HOST}:{port}/{path}", flush=True)
    # Without these MLflow starts fifteen processes and takes 3 GB.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # Not among the arguments, which everybody on the machine may read: it may hold a password.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    # One that its own import raises each time, and that nobody here can mend.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:starlette.middleware.wsgi")
    arguments = ["ui", "--workers", "1", "--host", _HOST, "--port", str(port)]
    # Or a line for each request drives away what was printed above.
    arguments += ["--uvicorn-opts", "--no-access-log"]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


def _check_free(port: int) -> None:
    # MLflow would tell of it in many lines, and end as if all were well.
    with socket.socket() as trial:
        # As its server does: what was there a moment ago is no hindrance.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((_HOST, port))
        except OSError as error:
            raise PendingError(
                f"port {port} cannot be had: {error.strerror}; --port takes another"
            ) from None


def _places() -> Iterator[tuple[str, str]]:
    """Yields where to look first, by what is there to be seen; nothing before there are runs."""
    from pipeline.params_file import read_params
    from pipeline.tracking.experiment_pages import CURVES, TABLE, view_path, view_tag
    from pipeline.tracking.store import asking, existing_client

    with asking():
        try:
            client = existing_client()
            name = read_params().tracking.experiment
        except (MissingInputError, ParamsError):
            # `params` says what is wrong with it; runs can be browsed without.
            return
        known = client.get_experiment_by_name(name)
    # One that is deleted, or of before there were views, has nothing to be seen there.
    if known is not None and known.lifecycle_stage == "active":
        for shown, view in (("Runs", TABLE), ("Learning curves", CURVES)):
            if view_tag(view) in known.tags:
                yield shown, view_path(known.experiment_id, view)
