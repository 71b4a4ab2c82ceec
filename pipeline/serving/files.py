"""The files that people pass in, before anything in them is believed."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets.picture_file import MOST_BYTES, printable_path
from pipeline.errors import ArgumentError, DataError, MissingInputError


def beginning(path: Path, wanted: str) -> bytes:
    """Returns the first four bytes of a file that is there and not too large.

    Args:
        path: of the file.
        wanted: what to name instead, for messages.

    Raises:
        MissingInputError: if the file is not there, or may not be read.
        ArgumentError: if it is not a regular file.
        DataError: if it is too large.
    """
    name = printable_path(path)
    try:
        if path.is_dir():
            raise ArgumentError(f"{name} is a folder: name the files in it")
        if not path.exists():
            raise MissingInputError(f"{name} is not here: name {wanted}")
        if not path.is_file():
            raise ArgumentError(f"{name} is not a regular file: save its content in one")
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{name} is larger than 64 MB: give a smaller one")
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise MissingInputError(f"{name} cannot be read: {error.strerror}") from None
