"""Opens SQLite databases, and keeps a copy of one before it is rewritten."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError, PendingError
from pipeline.files import replacing

# As long as MLflow itself waits for another writer.
_PATIENCE_SECONDS = 20


def unused(path: Path) -> Path:
    """Returns `path`, or the first of `path-2`, `path-3`, … that does not exist yet."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    candidates = itertools.chain([path], numbered)
    return next(candidate for candidate in candidates if not candidate.exists())


@contextlib.contextmanager
def opened(path: Path, mode: str = "rw") -> Iterator[sqlite3.Connection]:
    """Yields a connection; commits its changes if the block succeeds, rolls them back if not.

    What a killed writer left is rolled back too; read-only, SQLite would refuse to read at all.

    Raises:
        DataError: if the file is not a database, or is damaged.
        PendingError: if it is in use, or cannot be opened.
    """
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=_PATIENCE_SECONDS
        )
        with contextlib.closing(connection), connection:
            yield connection
    except sqlite3.OperationalError as error:
        raise PendingError(f"{path} cannot be used: {error}") from None
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} is damaged: {error}") from None


def keep_copy(path: Path, why: str) -> Path:
    """Copies a consistent snapshot of a database, even under writes; returns the copy's path.

    Raises:
        DataError: if it is damaged.
        PendingError: if it is in use.
        WriteError: if the disk is full.
    """
    copy = unused(path.with_name(f"{path.name}.before-{why}"))
    with replacing(copy) as temporary, opened(path) as old, opened(temporary, "rwc") as new:
        old.backup(new)
    return copy
