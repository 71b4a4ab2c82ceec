"""Fetching published files from the first mirror that delivers the right bytes."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, Protocol
from urllib.parse import urljoin

import requests
import urllib3
from tqdm import tqdm

from pipeline.datasets.catalogue import PublishedFile
from pipeline.errors import UnavailableError, without_passwords
from pipeline.files import replacing

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
# For connecting, and between two packets.
_TIMEOUT_SECONDS = (10.0, 20.0)
# A file may take half a minute, plus the time it needs on a slow line.
_PATIENCE_SECONDS, _SLOWEST_BYTES_PER_SECOND = 30.0, 32 * 1024
# Between attempts, when a server hiccups.
_PAUSES_SECONDS = (0.5, 1.0)
_HICCUPS = {500, 502, 503, 504}
_MOST_REDIRECTS = 5


_REASONS: dict[type[Exception], str] = {
    requests.exceptions.SSLError: "no secure connection",
    urllib3.exceptions.TimeoutError: "no answer in time",
    urllib3.exceptions.ProtocolError: "the connection was lost",
    requests.exceptions.InvalidHeader: "it sent an invalid HTTP header",
    requests.exceptions.InvalidURL: "not a valid URL",
    urllib3.exceptions.LocationParseError: "not a valid URL",
}


class _MirrorError(Exception):
    """A mirror could not deliver; the message is the reason."""


class _HiccupError(_MirrorError):
    """A fault that may be gone a moment later."""


class _Session(requests.Session):
    """Follows no redirects: requests would read the whole body of each, however long."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        return None


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def mirrors_for(dataset: str, built_in: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the mirrors to try in order: those of `<DATASET>_MIRROR`, then the built-in ones."""
    own = os.environ.get(f"{dataset.upper()}_MIRROR", "")
    return (*(mirror.strip() for mirror in own.split(",") if mirror.strip()), *built_in)


def fetch(files: Iterable[PublishedFile], mirrors: Iterable[str], folder: Path) -> None:
    """Fetches `files` into `folder` and verifies them; correct files already there stay.

    Args:
        files: with the sizes and hashes that they must have.
        mirrors: folders or http(s) URLs, tried in order. One that fails moves to the end, so
            that later files do not wait for it.
        folder: where the files go.

    Raises:
        UnavailableError: if no mirror delivers; the message lists each mirror with its reason.
        CannotCreateError: if the folder or a file cannot be created.
        WriteError: if writing fails half-way, for instance on a full disk.
    """
    queue = deque(mirrors)
    for file in files:
        if not file.is_at(folder / file.name):
            _fetch_from_any(queue, file, folder / file.name)


def refusal(mirror: str, file: PublishedFile, seconds: float) -> str:
    """Returns why a mirror would not deliver a file, judged without reading it; empty if it would.

    Args:
        mirror: a folder or an http(s) URL; a URL gets one request.
        file: that the mirror should have, in its published size.
        seconds: how long each step may take.
    """
    try:
        if "://" in mirror:
            with _open_url(mirror, file, pauses=(), timeout=(seconds, seconds)):
                return ""
        with _open_in_folder(mirror, file) as source:
            size = source.seek(0, os.SEEK_END)
    except _MirrorError as error:
        return str(error)
    return "" if size == file.size else f"{file.name} has {size} bytes, not {file.size}"


def _fetch_from_any(mirrors: deque[str], file: PublishedFile, target: Path) -> None:
    reasons = []
    for mirror in tuple(mirrors):
        if reasons:
            logger.warning("%s; trying the next mirror", reasons[-1])
        try:
            with replacing(target) as temporary, temporary.open("wb") as sink:
                _in_time(_copy_from, mirror, file, sink)
        except _MirrorError as error:
            reasons.append(f"{file.name} from {without_passwords(mirror)}: {error}")
            mirrors.rotate(-1)
        else:
            return
    raise UnavailableError("; ".join(reasons) or f"{file.name}: there is no mirror to try")


def _in_time(
    copy: Callable[[str, PublishedFile, BinaryIO], None],
    mirror: str,
    file: PublishedFile,
    sink: BinaryIO,
) -> None:
    """Runs `copy`, and gives up when its time is over, whatever it is waiting for.

    A socket's timeout covers a single packet, and name lookup has none. Only an outer clock stops
    every way in which a server can be slow.
    """
    outcome: Future[None] = Future()

    def work() -> None:
        try:
            outcome.set_result(copy(mirror, file, sink))
        except BaseException as error:  # noqa: BLE001  Raised again in the caller.
            outcome.set_exception(error)

    # A daemon, because it may wait for ever: it ends with the process. Its sink is closed by then.
    Thread(target=work, daemon=True).start()
    seconds = _PATIENCE_SECONDS + file.size / _SLOWEST_BYTES_PER_SECOND
    try:
        outcome.result(seconds)
    except TimeoutError:
        message = f"{sink.tell()} of {file.size} bytes after {seconds:.0f} s"
        raise _MirrorError(message) from None


def _copy_from(mirror: str, file: PublishedFile, sink: BinaryIO) -> None:
    if "://" in mirror:
        opened = _open_url(mirror, file, _PAUSES_SECONDS, _TIMEOUT_SECONDS)
    else:
        opened = _open_in_folder(mirror, file)
    with opened as source:
        _copy(source, sink, file)


def _copy(source: _Readable, sink: BinaryIO, file: PublishedFile) -> None:
    """Copies at most the published size, and verifies the bytes."""
    digest, received = hashlib.sha256(), 0
    with tqdm(total=file.size, desc=file.name, unit="B", unit_scale=True, disable=None) as bar:
        while chunk := _read(source):
            received += len(chunk)
            if received > file.size:
                raise _MirrorError(f"more than the {file.size} bytes that were published")
            sink.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    if received < file.size:
        raise _MirrorError(f"only {received} of {file.size} bytes")
    if digest.hexdigest() != file.sha256:
        raise _MirrorError(f"wrong content: SHA-256 {digest.hexdigest()[:12]}…")


def _read(source: _Readable) -> bytes:
    try:
        # `read1` returns what has arrived; from a slow mirror `read` would wait for a full chunk.
        return source.read1(_CHUNK)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _MirrorError(_reason(error)) from None


@contextmanager
def _open_in_folder(mirror: str, file: PublishedFile) -> Iterator[BufferedReader]:
    try:
        source = (Path(mirror).expanduser() / file.name).open("rb")
    except OSError as error:
        raise _MirrorError(str(error.strerror)) from None
    except RuntimeError:
        raise _MirrorError("no such user") from None
    with source:
        yield source


@contextmanager
def _open_url(
    mirror: str, file: PublishedFile, pauses: Iterable[float], timeout: tuple[float, float]
) -> Iterator[_Readable]:
    if not _is_web(mirror):
        raise _MirrorError("neither a folder nor an http or https URL")
    url = f"{mirror.rstrip('/')}/{file.name}"
    with _Session() as session, _answer(session, url, pauses, timeout) as response:
        declared = response.headers.get("Content-Length", str(file.size))
        if declared != str(file.size):
            size = declared if re.fullmatch("[0-9]{1,20}", declared) else "no number of"
            raise _MirrorError(f"{size} bytes declared, {file.size} were published")
        yield response.raw


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _answer(
    session: requests.Session, url: str, pauses: Iterable[float], timeout: tuple[float, float]
) -> requests.Response:
    """Returns the response to `url`, asking again after a hiccup."""
    for pause in pauses:
        try:
            return _redirected(session, url, timeout)
        except _HiccupError:
            time.sleep(pause)
    return _redirected(session, url, timeout)


def _redirected(
    session: requests.Session, url: str, timeout: tuple[float, float]
) -> requests.Response:
    """Returns the response after following all redirects."""
    for _ in range(1 + _MOST_REDIRECTS):
        response = _request_once(session, url, timeout)
        if not response.is_redirect:
            return response
        response.close()
        try:
            url = urljoin(url, response.headers["Location"])
        except ValueError:
            raise _MirrorError("a redirect to an invalid URL") from None
        if not _is_web(url):
            raise _MirrorError("a redirect to a URL that is neither http nor https")
    raise _MirrorError("too many redirects")


def _request_once(
    session: requests.Session, url: str, timeout: tuple[float, float]
) -> requests.Response:
    # Ask for no encoding: the files are gzip themselves, and their hashes are of the gzip.
    headers = {"Accept-Encoding": "identity"}
    try:
        response = session.get(url, stream=True, timeout=timeout, headers=headers)
    except (requests.Timeout, requests.exceptions.SSLError) as error:
        raise _MirrorError(_reason(error)) from None
    except requests.ConnectionError as error:
        raise _HiccupError(_reason(error)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _MirrorError(_reason(error)) from None
    if response.ok:
        return response
    # Its body is not read: it may be endless.
    response.close()
    kind = _HiccupError if response.status_code in _HICCUPS else _MirrorError
    raise kind(f"HTTP {response.status_code}")


def _reason(error: Exception) -> str:
    """Returns the cause in a few words, without the URL, which may hold a password."""
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    for kind, reason in _REASONS.items():
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return "no connection"


def _causes(error: BaseException) -> list[BaseException]:
    """Returns the error and every error that it wraps: requests wraps what urllib3 wraps."""
    causes: list[BaseException] = []
    queue: list[Any] = [error]
    while queue:
        cause = queue.pop(0)
        if isinstance(cause, BaseException) and cause not in causes:
            causes.append(cause)
            reason = getattr(cause, "reason", None)
            queue += [*cause.args, reason, cause.__cause__, cause.__context__]
    return causes
