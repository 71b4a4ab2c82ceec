"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CannotCreateError, DataError, MissingInputError, WriteError

# All that NumPy and zipfile were seen to raise for files with flipped bytes.
_NO_NPZ = (
    zipfile.BadZipFile, zlib.error, LookupError, ValueError, EOFError, OSError, TypeError,
    RuntimeError,
)  # fmt: skip
_MID_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which takes its name when the block ends well.

    Raises:
        CannotCreateError: if the folder or the file cannot be made.
        WriteError: if writing fails half-way, as on a full disk.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.name)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes private files; what a stage leaves should be as readable as any file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        kind = WriteError if error.errno in _MID_WRITE else CannotCreateError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 with plain line ends."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` as it is."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as readable JSON; nan and infinity are refused, for JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        MissingInputError: if it is not there.
        DataError: if it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, error) from None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an `.npz` of plain arrays: the same bytes for the same arrays.

    Not by `np.savez`, which asks `zipfile` for headers that differ from Python 3.11.2 to 3.11.7.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Returns the named arrays of an `.npz`; pickled objects are refused.

    Raises:
        MissingInputError: if it is not there.
        DataError: if it is no `.npz`, or lacks one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except FileNotFoundError:
        raise missing(path) from None
    except _NO_NPZ as error:
        raise damaged(path, error) from None


def damaged(path: object, error: object) -> DataError:
    """Returns the error of a file that no longer holds what a stage wrote."""
    return DataError(f"{path} is damaged: {error}; remove it, and `dvc repro` makes it again")


def missing(path: Path) -> MissingInputError:
    """Returns the error of a file that an earlier stage should have made."""
    return MissingInputError(f"{path} is not here: `dvc repro` makes it")


def sha256(path: Path) -> str:
    """Returns the file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
