"""Writes a comparison into the store whose runs it compares: the only thing that changes one."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pipeline.errors import ArgumentError, UnavailableError, one_line, without_passwords
from pipeline.stores.read import is_database, tracking_uri

# In characters: MLflow's limit of a tag.
_LONGEST = 8000
_CUT = "\n\n(Cut off here. The same command without `--log` prints all of it.)"
_DESCRIPTION = "mlflow.note.content"


def log_comparison(
    address: str, experiment: str, name: str, report: str, tags: Mapping[str, str]
) -> str:
    """Adds a finished run whose description is a report; returns its id.

    Args:
        address: of the store, as `read_store` takes it.
        experiment: the id of the experiment that gets the run.
        name: of the run.
        report: Markdown; of more than 8,000 characters, the beginning.
        tags: others of the run.

    Raises:
        ArgumentError: if MLflow would first have to upgrade the database.
        UnavailableError: if the store does not take it, or a package is missing.
    """
    # MLflow refuses folders unless told so; whoever has one asked for this.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = tracking_uri(address)
    try:
        # Takes a second, and only this needs it.
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        if is_database(address):
            _refuse_upgrade(uri, address)
    except ImportError:
        raise UnavailableError(
            "--log into a database needs all of MLflow: pip install 'bnlab[pipeline]'"
        ) from None
    try:
        client = MlflowClient(uri)
        description = report if len(report) <= _LONGEST else report[: _LONGEST - len(_CUT)] + _CUT
        run = client.create_run(
            experiment, tags={**tags, _DESCRIPTION: description}, run_name=name
        )
        client.set_terminated(run.info.run_id)
    except (MlflowException, OSError) as error:
        raise UnavailableError(
            f"{without_passwords(address)} does not take the comparison: {one_line(error)}"
        ) from None
    return run.info.run_id


def _refuse_upgrade(uri: str, address: str) -> None:
    """MLflow upgrades the schema of a database that it opens, and does not ask."""
    from mlflow.store.db.utils import _get_latest_schema_revision
    from sqlalchemy import create_engine, text

    with create_engine(uri).connect() as connection:
        there = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if there != _get_latest_schema_revision():
        raise ArgumentError(
            f"{without_passwords(address)} is of another version of MLflow, and is left as it is; "
            "back it up and run `mlflow db upgrade`, or compare without --log"
        )
