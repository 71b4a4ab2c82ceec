"""Fetching published files from the first source that delivers the right bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, Protocol

from tqdm import tqdm

from pipeline.datasets.catalogue import PublishedFile
from pipeline.datasets.idx import GZIP
from pipeline.errors import UnavailableError
from pipeline.files import replacing

logger = logging.getLogger(__name__)

CHUNK = 64 * 1024
# A file may take half a minute, plus the time it needs on a slow line. The rate is of unpacked
# bytes: of packed ones it is a quarter.
_PATIENCE_SECONDS, _SLOWEST_BYTES_PER_SECOND = 30.0, 128 * 1024


class SupplyError(Exception):
    """A supplier does not deliver; the message is the reason, in one line without passwords."""


class Supplier(Protocol):
    """A mirror or a package; as a string, how messages name it, without passwords."""

    def contents(self, file: PublishedFile) -> Iterator[bytes]:
        """Yields the unpacked bytes of a file, unverified; raises SupplyError.

        The iterator is used up in another thread, against the clock of `fetch`. What takes longer
        is done before the iterator is returned, against a clock of its own.
        """
        ...


class Limited(io.RawIOBase):
    """A stream that `read` continues after its first bytes; more than `most` are an error."""

    def __init__(self, read: Callable[[int], bytes], most: int, head: bytes = b"") -> None:
        self._read, self._most, self._left, self._head = read, most, most, head

    def readable(self) -> bool:
        """Returns that it is, for `BufferedReader`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer with what one call of `read` returns, and returns how much that is."""
        chunk = self._head[: len(buffer)] or self._read(len(buffer))
        self._head = self._head[len(chunk) :]
        self._left -= len(chunk)
        if self._left < 0:
            raise SupplyError(f"more than {self._most} bytes")
        buffer[: len(chunk)] = chunk
        return len(chunk)


def fetch(files: Iterable[PublishedFile], suppliers: Iterable[Supplier], folder: Path) -> None:
    """Fetches `files` into `folder` and verifies them; correct files already there stay.

    Args:
        files: with the sizes and hashes that they must have.
        suppliers: tried in order. One that fails moves to the end, so that later files do not
            wait for it.
        folder: where the files go.

    Raises:
        UnavailableError: if no supplier delivers; the message lists each with its reason.
        CannotCreateError: if the folder or a file cannot be created.
        WriteError: if writing fails half-way, for instance on a full disk.
    """
    queue = deque(suppliers)
    for file in files:
        if not file.is_at(folder / file.name):
            _fetch_from_any(queue, file, folder / file.name)


def unpacked(
    read: Callable[[int], bytes], file: PublishedFile, size: int | None
) -> io.BufferedIOBase:
    """Returns the bytes of a file that comes as it is or gzipped, whatever its name says.

    Args:
        read: returns the next bytes, as many as have arrived and at most as many as asked for.
        file: that should come.
        size: of what comes, if it is known.

    Raises:
        SupplyError: if something of this size cannot be the file.
    """
    head = b""
    while len(head) < len(GZIP) and (more := read(len(GZIP) - len(head))):
        head += more
    packed = head == GZIP
    if size is not None and (size > file.most_packed if packed else size != file.size):
        raise SupplyError(f"{size} bytes, {file.size} were published")
    # A chunk more than is right, so that a file that is too long is told as such.
    buffered = io.BufferedReader(Limited(read, file.most_packed + CHUNK, head), CHUNK)
    return gzip.GzipFile(fileobj=buffered) if packed else buffered


def _fetch_from_any(suppliers: deque[Supplier], file: PublishedFile, target: Path) -> None:
    reasons = []
    for supplier in tuple(suppliers):
        if reasons:
            logger.warning("%s; trying the next source", reasons[-1])
        try:
            chunks = supplier.contents(file)
            with replacing(target) as temporary, temporary.open("wb") as sink:
                _in_time(chunks, file, sink)
        except SupplyError as error:
            reasons.append(f"{file.name} from {supplier}: {error}")
            suppliers.rotate(-1)
        else:
            return
    raise UnavailableError("; ".join(reasons) or f"{file.name}: there is no source to try")


def _in_time(chunks: Iterator[bytes], file: PublishedFile, sink: BinaryIO) -> None:
    """Copies, and gives up when its time is over, whatever it is waiting for.

    A socket's timeout covers a single packet, and name lookup has none. Only an outer clock stops
    every way in which a server can be slow.
    """
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            outcome.set_result(_copy(chunks, file, sink))
        except BaseException as error:  # noqa: BLE001  Raised again in the caller.
            outcome.set_exception(error)

    # A daemon, because it may wait for ever: it ends with the process. Its sink is closed by then.
    Thread(target=work, daemon=True).start()
    seconds = _PATIENCE_SECONDS + file.size / _SLOWEST_BYTES_PER_SECOND
    try:
        outcome.result(seconds)
    except TimeoutError:
        message = f"{sink.tell()} of {file.size} bytes after {seconds:.0f} s"
        raise SupplyError(message) from None


def _copy(chunks: Iterator[bytes], file: PublishedFile, sink: BinaryIO) -> None:
    """Copies at most the published size, and verifies the bytes."""
    digest, received = hashlib.sha256(), 0
    with tqdm(total=file.size, desc=file.name, unit="B", unit_scale=True, disable=None) as bar:
        for chunk in chunks:
            received += len(chunk)
            if received > file.size:
                raise SupplyError(f"more than the {file.size} bytes that were published")
            sink.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    if received < file.size:
        raise SupplyError(f"only {received} of {file.size} bytes")
    if digest.hexdigest() != file.sha256:
        raise SupplyError(f"wrong content: SHA-256 {digest.hexdigest()[:12]}…")
