"""The command line: its commands, and how a process of it begins and ends."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from types import FrameType

import click

from pipeline.errors import PipelineError, WriteError, one_line

# MLflow reads these when it is imported. Nothing of the user's is to be sent anywhere, and a server
# that is gone should cost seconds: `track` reconciles afterwards.
MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # It would print the server's address, password and all, after each run.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Nothing of ours is one, and to load a foreign one is to run it.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
# Each command has a module of its name in `commands`.
COMMANDS = (
    "compare", "demo", "doctor", "download", "evaluate", "gallery", "params", "predict", "prepare",
    "promote", "reproduce", "study", "track", "train", "ui",
)  # fmt: skip
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Commands(click.Group):
    """Commands whose modules are imported when they are asked for."""

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


def main() -> None:
    """Runs the command line; what the user can mend ends in one line and its exit code."""
    # What TensorFlow and MLflow make when they are imported stays: looking through it for garbage
    # again and again would take a sixth of that time.
    gc.set_threshold(100_000, 50, 100)
    for name, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # Of several attempts that fail the last one is told, by whoever made them.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL + 1)
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        pipeline(prog_name="python -m pipeline")
    except PipelineError as error:
        _end(error)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        _end((WriteError if full else PipelineError)(one_line(error, longest=1000)))
    finally:
        # As it ends, Python would look through all of it once more, for up to a second.
        gc.freeze()


def _leave(number: int, _: FrameType | None) -> None:
    # As an exception, so that what is half-written is removed; the exit code is that of shells.
    sys.exit(128 + number)


def _end(error: PipelineError) -> None:
    # Whoever read what is told here may have ended first.
    with suppress(OSError):
        click.echo(f"error: {error}", err=True)
    sys.exit(error.exit_code)
