"""Reads and writes files; a written file appears whole or not at all."""

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

# Every error that NumPy and zipfile were seen to raise for files with flipped bytes.
NPZ_ERRORS = (
    zipfile.BadZipFile, zlib.error, LookupError, ValueError, EOFError, OSError, TypeError,
    RuntimeError, MemoryError,
)  # fmt: skip
_CHUNK = 1 << 20
_LOCKS_UNSUPPORTED = {errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
_MID_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` when the block succeeds.

    The temporary file has the same name, in a folder of its own beside `path`. Several writers may
    write the same path at once. What a killed writer left behind is removed by the next one.

    Raises:
        CannotCreateError: if the folder or the file cannot be made.
        WriteError: if writing fails half-way, as on a full disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            # Under the parent's lock, no other writer sees the folder before it is locked itself:
            # an unlocked folder is one whose writer was killed.
            with _locked(path.parent):
                _remove_abandoned(path.parent, glob.escape(path.name))
                directory = TemporaryDirectory(
                    dir=path.parent, prefix=f".{path.name}.", suffix=".tmp",
                    ignore_cleanup_errors=True,
                )  # fmt: skip
                folder = Path(stack.enter_context(directory))
                stack.enter_context(_locked(folder))
            temporary = folder / path.name
            yield temporary
            # Without it, a power cut may leave the name without its content.
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        kind = WriteError if error.errno in _MID_WRITE else CannotCreateError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error


def clear(folder: Path, keep: Collection[str]) -> None:
    """Removes all files in `folder` except those to keep and those being written."""
    for path in folder.glob("*"):
        if path.name not in keep and not path.is_dir():
            path.unlink(missing_ok=True)
    if folder.is_dir():
        with _locked(folder):
            _remove_abandoned(folder, "*")


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, with Unix line ends."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` unchanged."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as readable JSON.

    Raises:
        ValueError: if it contains nan or infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Returns the value in a JSON file.

    Raises:
        MissingInputError: if there is no such file.
        DataError: if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, error) from None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an `.npz` of plain arrays: the same bytes for the same arrays.

    Does not use `np.savez`: its `zipfile` headers differ between Python 3.11.2 and 3.11.7.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Returns the named arrays of an `.npz`; pickled objects are refused.

    Raises:
        MissingInputError: if there is no such file.
        DataError: if it is not an `.npz`, or lacks one of the arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: read_member(archive, name) for name in names}
    except FileNotFoundError:
        raise missing(path) from None
    except NPZ_ERRORS as error:
        raise damaged(path, error) from None


def read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Returns an array of an open `.npz`; raises one of `NPZ_ERRORS`."""
    # First read to the end, where the checksum is verified. NumPy stops where the array's header
    # tells it to, and the header itself may be damaged.
    with archive.open(f"{name}.npy") as member:
        while member.read(_CHUNK):
            pass
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def damaged(path: object, error: object) -> DataError:
    """Returns the error for a file that no longer holds what a stage wrote."""
    return DataError(f"{path} is damaged: {error}; remove it, and `dvc repro` makes it again")


def missing(path: Path) -> MissingInputError:
    """Returns the error for a missing file that an earlier stage should have made."""
    return MissingInputError(f"{path} is not here: `dvc repro` makes it")


def sha256(path: Path) -> str:
    """Returns the file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_abandoned(folder: Path, name: str) -> None:
    """Removes what killed writers of files with this name pattern left in a folder."""
    # `tempfile` adds eight characters.
    for abandoned in folder.glob(f".{name}.????????.tmp"):
        # If locking fails, its writer is alive, or it belongs to another user.
        with suppress(OSError), _locked(abandoned, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(abandoned)


@contextmanager
def _locked(folder: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Holds the lock of a folder; the kernel releases it when the process dies.

    On file systems that cannot lock folders, such as NFS, the block runs without a lock, unless
    `how` has LOCK_NB, which asks whether somebody else holds it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, how)
        except OSError as error:
            if how & fcntl.LOCK_NB or error.errno not in _LOCKS_UNSUPPORTED:
                raise
        yield
    finally:
        os.close(handle)
