"""The command line: its commands, and how its process starts and ends."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType

import click

from pipeline.errors import PendingError, PipelineError, WriteError, one_line

# MLflow reads these when it is imported. Nothing about the user may be sent anywhere. A server that
# is gone should cost seconds only: `track` catches up afterwards.
MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # MLflow would print the server's address after each run, with the password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # This project writes no pickles, and loading anybody else's would run code.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
# Ray reads these when it is imported. Of lost workers the engine tells in a line of its own.
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # Else it would try for many minutes where something answers that is not Ray.
    "RAY_NUM_REDIS_GET_RETRIES": "1",
}
# Each command has a module of its name in `commands`.
COMMANDS = (
    "compare", "demo", "doctor", "download", "evaluate", "gallery", "params", "predict", "prepare",
    "promote", "reproduce", "settle", "study", "track", "train", "ui",
)  # fmt: skip
_PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_LOCAL = "localhost,127.0.0.1,::1"
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Commands(click.Group):
    """Imports the module of a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"pipeline.commands.{cmd_name}").command


@click.group(cls=_Commands, context_settings=_CONTEXT)
def pipeline() -> None:
    """Does batch normalisation help, by how much, and how surely?

    \b
    Examples:
      dvc repro
      python -m pipeline compare momentum-0.9 main
      python -m pipeline predict seven.png
      python -m pipeline predict --help

    `dvc repro` runs the stages in order: download, prepare, train (each variant), evaluate,
    compare, track. Each can be run by hand as well. All values come from params.yaml.
    """


def main(name: str = "bnlab") -> None:
    """Runs the command line; errors that the user can mend end it with one line and exit code.

    Args:
        name: what the command is called in its help.
    """
    # The objects that importing TensorFlow and MLflow makes stay alive. Searching them for garbage
    # again and again would take a sixth of the import's time.
    gc.set_threshold(100_000, 50, 100)
    # No window is opened; a backend that is not installed would end the import.
    os.environ["MPLBACKEND"] = "agg"
    for setting, value in (MLFLOW_SETTINGS | RAY_SETTINGS).items():
        os.environ.setdefault(setting, value)
    _go_past_proxies(os.environ)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # Whoever retries reports the last failure itself.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL + 1)
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        pipeline(prog_name=name)
    except PipelineError as error:
        _end(_as_of_now(error))
    except ModuleNotFoundError as error:
        # One of this project's own would be a fault, and wants its traceback.
        if (error.name or "pipeline").partition(".")[0] == "pipeline":
            raise
        _end(PipelineError(f"this command needs {error.name}, which is not installed: {_remedy()}"))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        _end((WriteError if full else PipelineError)(one_line(error, longest=1000)))
    finally:
        # At exit, Python would search all objects once more, for up to a second.
        gc.freeze()


def _go_past_proxies(environment: MutableMapping[str, str]) -> None:
    """Has requests to servers on this machine sent to them, where others go by way of a proxy.

    Elsewhere nothing is set: with `no_proxy` in the environment, Python would not look for the
    proxies that macOS and Windows have in their own settings.
    """
    if not any(environment.get(name) for name in _PROXIES):
        return
    # The lower case counts, where both are set.
    hosts = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if hosts.strip() != "*":
        environment["no_proxy"] = environment["NO_PROXY"] = ",".join(filter(None, (hosts, _LOCAL)))


def _leave(number: int, _: FrameType | None) -> None:
    # By an exception, so that half-written files are removed; the exit code is the one that shells
    # give.
    sys.exit(128 + number)


def _as_of_now(error: PipelineError) -> PipelineError:
    """Returns an error that asks for `dvc repro` as one that says to wait, if DVC runs already."""
    # Where DVC is not installed, it does not run.
    with suppress(ImportError):
        from pipeline.execution import under_dvc  # noqa: PLC0415  Few errors need it.

        if told := under_dvc.made_meanwhile(str(error)):
            return PendingError(told)
    return error


def _remedy() -> str:
    """Returns how to come to the packages of a checkout."""
    environment = Path(".venv")
    if environment.is_dir() and environment.resolve() != Path(sys.prefix).resolve():
        return "`source .venv/bin/activate` first"
    return "in a checkout, `make setup` or pip install '.[pipeline]'"


def _end(error: PipelineError) -> None:
    # Stderr may be a pipe whose reader has gone.
    with suppress(OSError):
        click.echo(f"error: {error}", err=True)
    sys.exit(error.exit_code)
