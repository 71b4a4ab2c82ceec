"""The files that people pass in, before anything in them is believed."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.errors import ArgumentError, DataError, MissingInputError, one_line

# No picture or table that we know of needs a larger file.
_MOST_BYTES = 64 * 2**20


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
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{name} is larger than 64 MB: give a smaller one")
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise MissingInputError(f"{name} cannot be read: {error.strerror}") from None


def printable_path(path: Path) -> str:
    """Returns the path in one line that a terminal can show."""
    return one_line(click.format_filename(path))
