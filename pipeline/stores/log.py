"""Writes a comparison into the store whose runs it compares: the only thing that changes one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import UnavailableError, one_line, without_passwords
from pipeline.stores.read import tracking_uri

# In characters: MLflow's limit of a tag.
_LONGEST = 8000
_CUT = "\n\n(Cut off here. The same command without `--log` prints all of it.)"
_DESCRIPTION = "mlflow.note.content"
_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"


def log_comparison(address: str, experiment: str, name: str, report: str) -> str:
    """Adds a finished run whose description is a report; returns its id.

    Args:
        address: of the store, as `read_store` takes it.
        experiment: the id of the experiment that gets the run.
        name: of the run.
        report: Markdown; of more than 8,000 characters, the beginning.

    Raises:
        UnavailableError: if the store does not take it, because it would first have to be
            upgraded, for instance; or if a package is missing.
    """
    uri = tracking_uri(address)
    # Takes a second, and only this needs it.
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        if not uri.startswith(("http", "file")) and not _is_of_this_version(uri):
            raise UnavailableError(
                f"{without_passwords(address)} is of another version of MLflow: back it up and run "
                "`mlflow db upgrade`, or compare without --log"
            )
        with _folders_allowed():
            client = MlflowClient(uri)
        description = report if len(report) <= _LONGEST else report[: _LONGEST - len(_CUT)] + _CUT
        run = client.create_run(experiment, tags={_DESCRIPTION: description}, run_name=name)
        client.set_terminated(run.info.run_id)
    except ImportError:
        raise UnavailableError(
            "--log into a database needs all of MLflow: in a checkout, pip install '.[pipeline]'"
        ) from None
    except (MlflowException, OSError, SQLAlchemyError) as error:
        raise UnavailableError(
            f"{without_passwords(address)} does not take the comparison: {one_line(error)}"
        ) from None
    return run.info.run_id


@contextmanager
def _folders_allowed() -> Iterator[None]:
    """MLflow refuses folders unless told otherwise; whoever has one asked for this."""
    before = os.environ.get(_ALLOWED)
    os.environ[_ALLOWED] = "true"
    try:
        yield
    finally:
        del os.environ[_ALLOWED]
        if before is not None:
            os.environ[_ALLOWED] = before


def _is_of_this_version(uri: str) -> bool:
    """Returns whether MLflow would leave a database's schema as it is; it does not ask."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.db.utils import _verify_schema
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        _verify_schema(engine)
    except MlflowException:
        return False
    finally:
        engine.dispose()
    return True
