"""Serves MLflow's UI, and prints where this project's runs are in it."""

import os
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

import click

from pipeline.errors import ArgumentError, ParamsError, PendingError

_HOST = "127.0.0.1"


@click.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def command(port: int) -> None:
    """Serve MLflow's UI to this machine only, and say where to look.

    \b
    Example:
      python -m pipeline ui --port 5001

    Listens on 127.0.0.1, and runs in two light processes.
    """
    from pipeline.provenance.places import tracking_uri

    uri = tracking_uri()
    if uri.startswith("http"):
        raise ArgumentError("MLFLOW_TRACKING_URI names a server: open the UI at that address")
    _check_free(port)
    pages = list(_pages())
    # Without these MLflow starts fifteen processes and takes 3 GB.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    # Not as an argument: the URI may hold a password, and everybody on the machine can read
    # arguments.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    # MLflow raises this warning at each start, and users can do nothing about it.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:starlette.middleware.wsgi")
    arguments = ["ui", "--workers", "1", "--host", _HOST, "--port", str(port)]
    # Without this, a line for each request would scroll the addresses out of sight.
    arguments += ["--uvicorn-opts", "--no-access-log"]
    with _announced(pages, port):
        _serve(arguments)


def _serve(arguments: list[str]) -> None:
    from mlflow.cli import cli

    cli(arguments, prog_name="mlflow")


@contextmanager
def _announced(pages: Iterable[tuple[str, str]], port: int) -> Iterator[None]:
    """Prints where the pages are as soon as a server that is started in the block answers."""
    ended = threading.Event()

    def announce() -> None:
        while not _answers(port):
            if ended.wait(0.2):
                return
        # MLflow's own start page is made for another kind of work.
        for name, path in pages:
            print(f"{name:16}http://{_HOST}:{port}/{path}", flush=True)

    click.echo("waiting for MLflow's server to answer ...", err=True)
    thread = threading.Thread(target=announce)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _answers(port: int) -> bool:
    connection = HTTPConnection(_HOST, port, timeout=5)
    with closing(connection), suppress(OSError, HTTPException):
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    return False


def _check_free(port: int) -> None:
    # MLflow would print many lines about a taken port, and exit as if all were well.
    with socket.socket() as probe:
        # As MLflow's server does, so that a port in use a moment ago counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise PendingError(
                f"port {port} is not available: {error.strerror}; choose another with --port "
                "(make ui PORT=…)"
            ) from None


def _pages() -> Iterator[tuple[str, str]]:
    """Yields the title and path of each page to look at first; none before there are runs."""
    from pipeline.params_file import read_params
    from pipeline.tracking.experiment_pages import CURVES, TABLE, view_path, view_tag
    from pipeline.tracking.store import DeletedExperimentError, asking, made_client

    with asking():
        # A database that the server itself makes would be half made, if it were stopped.
        client = made_client()
        try:
            name = read_params().tracking.experiment
        except ParamsError:
            # Runs can be browsed without params.yaml; `params` says what is wrong with it.
            return
        experiment = client.get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage != "active":
        # Others can be looked at.
        click.echo(f"warning: {DeletedExperimentError(experiment)}", err=True)
    # One that was made before there were views has no pages.
    elif experiment is not None:
        for title, view in (("Runs", TABLE), ("Learning curves", CURVES)):
            if view_tag(view) in experiment.tags:
                yield title, view_path(experiment.experiment_id, view)
