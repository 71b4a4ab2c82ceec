"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CannotCreateError, DataError, MissingInputError, WriteError

# All that NumPy and zipfile were seen to raise for files with flipped bytes.
_NO_NPZ = (
    zipfile.BadZipFile, zlib.error, LookupError, ValueError, EOFError, OSError, TypeError,
    RuntimeError, MemoryError,
)  # fmt: skip
_CHUNK = 1 << 20
_NO_LOCKS = {errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
_MID_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which takes its name when the block ends well.

    What is yielded has the same name, in a folder of its own. Any number of writers may be at it at
    once; what one of them left that was killed, the next one removes.

    Raises:
        CannotCreateError: if the folder or the file cannot be made.
        WriteError: if writing fails half-way, as on a full disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            # Made and locked in one go: a folder that is not locked is one whose writer was killed.
            with _locked(path.parent):
                _remove_abandoned(path.parent, glob.escape(path.name))
                name = TemporaryDirectory(
                    dir=path.parent, prefix=f".{path.name}.", suffix=".tmp",
                    ignore_cleanup_errors=True,
                )  # fmt: skip
                folder = Path(stack.enter_context(name))
                stack.enter_context(_locked(folder))
            temporary = folder / path.name
            yield temporary
            # Or else, after a power cut, the name may be there and the content not.
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    except OSError as error:
        kind = WriteError if error.errno in _MID_WRITE else CannotCreateError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error


def clear(folder: Path, keep: Collection[str]) -> None:
    """Removes all files in `folder` but those to keep and those that somebody is writing."""
    for path in folder.glob("*"):
        if path.name not in keep and not path.is_dir():
            path.unlink(missing_ok=True)
    if folder.is_dir():
        with _locked(folder):
            _remove_abandoned(folder, "*")


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
        with zipfile.ZipFile(path) as archive:
            return {name: _read_array(archive, name) for name in names}
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


def _remove_abandoned(folder: Path, name: str) -> None:
    # Eight signs are what `tempfile` adds.
    for left in folder.glob(f".{name}.????????.tmp"):
        # Its writer lives, or it is another user's.
        with suppress(OSError), _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(left)


@contextmanager
def _locked(folder: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Holds the lock of a folder, of which the kernel lets go when its process dies.

    Where the file system has none for folders, as NFS, it goes on without, unless it is a question
    whether somebody has it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, how)
        except OSError as error:
            if how & fcntl.LOCK_NB or error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(handle)


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    # To its end first, where its checksum is looked at: NumPy reads no further than the array's
    # header says, which may be what was damaged.
    with archive.open(f"{name}.npy") as member:
        while member.read(_CHUNK):
            pass
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)
