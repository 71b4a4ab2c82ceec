"""A copy of an SQLite database, made without opening it.

SQLite itself leaves files beside a database that it reads, and takes back a transaction that was
broken off; MLflow even moves one of an earlier version to its own.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from pathlib import Path

from pipeline.errors import DataError, PendingError

# With what is not yet in the database itself: transactions committed (`-wal`) or to be taken back.
_SUFFIXES = ("", "-wal", "-journal")
_MAGIC = b"SQLite format 3\0"
_ATTEMPTS = 20
# Two writes in one tick of a file system's clock leave the same time.
_TICK_SECONDS, _RETRY_SECONDS = 0.02, 0.5


class Copy:
    """A copy of a database, which lasts as long as this object.

    Attributes:
        path: where it is.
    """

    def __init__(self, original: Path) -> None:
        """Copies it as it is between two writings.

        Raises:
            DataError: if it is no SQLite database.
            PendingError: if others write to it all the time.
        """
        with original.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise DataError(f"{original} is neither a folder nor an SQLite database")
        folder = tempfile.mkdtemp(prefix="bnlab-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.path = Path(folder, "copy.db")
        # Those files are beside the database, not beside a link to it.
        resting = original.resolve()
        for _ in range(_ATTEMPTS):
            before = _state(resting)
            time.sleep(_TICK_SECONDS)
            _copy_once(resting, self.path)
            if _state(resting) == before:
                return
            time.sleep(_RETRY_SECONDS)
        raise PendingError(
            f"{original} is being written to all the time; try again later, or copy it"
        )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _state(path: Path) -> list[tuple[int, ...]]:
    """Returns something that differs once one of the files is written, made or removed."""
    files = [_beside(path, suffix) for suffix in _SUFFIXES]
    found = [file.stat() if file.exists() else None for file in files]
    return [(one.st_ino, one.st_size, one.st_mtime_ns) if one else () for one in found]


def _copy_once(path: Path, target: Path) -> None:
    for suffix in _SUFFIXES:
        source, copied = _beside(path, suffix), _beside(target, suffix)
        copied.unlink(missing_ok=True)
        try:
            shutil.copyfile(source, copied)
        except FileNotFoundError:
            # Whether it was there before is part of what is compared.
            continue
