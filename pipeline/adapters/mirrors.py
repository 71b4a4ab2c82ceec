"""Fetching published files from the first mirror that delivers the right bytes."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import requests
import urllib3
from requests.adapters import HTTPAdapter
from tqdm import tqdm

from pipeline.adapters.datasets import PublishedFile
from pipeline.adapters.files import replacing, sha256
from pipeline.errors import UnavailableError

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_CONNECT_SECONDS, _READ_SECONDS = 10, 20
_DEADLINE_SECONDS = 300
_RETRIES = urllib3.Retry(total=2, backoff_factor=0.5, status_forcelist=[500, 502, 503, 504])


_REASONS: dict[type[Exception], str] = {
    requests.TooManyRedirects: "too many redirects",
    requests.exceptions.SSLError: "its certificate is not accepted",
    urllib3.exceptions.TimeoutError: "no answer in time",
    urllib3.exceptions.ProtocolError: "the connection broke off",
    requests.exceptions.InvalidSchema: "a redirect to what is neither http nor https",
    requests.exceptions.InvalidURL: "no proper URL",
    urllib3.exceptions.LocationParseError: "no proper URL",
}


class _MirrorError(Exception):
    """One mirror could not deliver; its text is the reason."""


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def mirrors_for(dataset: str, built_in: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the mirrors to try in order: those of `<DATASET>_MIRROR`, then the built-in ones."""
    own = os.environ.get(f"{dataset.upper()}_MIRROR", "")
    return (*(mirror.strip() for mirror in own.split(",") if mirror.strip()), *built_in)


def fetch(file: PublishedFile, mirrors: tuple[str, ...], folder: Path) -> None:
    """Puts `file` into `folder`, whole and verified; a right one that is there stays.

    Args:
        file: what the bytes must be.
        mirrors: folders or http(s) URLs, tried in order.
        folder: where the file goes.

    Raises:
        UnavailableError: if no mirror delivers; the message has every mirror with its reason.
    """
    target = folder / file.name
    if target.is_file() and sha256(target) == file.sha256:
        return
    reasons = []
    for mirror in mirrors:
        try:
            _fetch_from(mirror, file, target)
        except _MirrorError as error:
            reasons.append(f"{file.name} from {without_password(mirror)}: {error}")
            logger.warning("%s; trying the next mirror", reasons[-1])
        else:
            return
    raise UnavailableError("; ".join(reasons) or f"{file.name}: there is no mirror to try")


def refusal(mirror: str, file: PublishedFile, seconds: float) -> str:
    """Returns why a mirror would not deliver; empty if it would, as far as its first words say.

    Args:
        mirror: a folder or an http(s) URL, which is asked once.
        file: what it should have, in the right size.
        seconds: how long each step may take.
    """
    try:
        if "://" in mirror:
            with _open_url(mirror, file, urllib3.Retry(0, redirect=5), (seconds, seconds)):
                return ""
        with _open_in_folder(mirror, file) as source:
            size = source.seek(0, os.SEEK_END)
    except _MirrorError as error:
        return str(error)
    return "" if size == file.size else f"{file.name} has {size} bytes, not {file.size}"


def without_password(url: str) -> str:
    """Returns the URL as it may be shown."""
    return re.sub("//.*@", "//", url)


def _fetch_from(mirror: str, file: PublishedFile, target: Path) -> None:
    opened = _open_url if "://" in mirror else _open_in_folder
    with (
        opened(mirror, file) as source,
        replacing(target) as temporary,
        temporary.open("wb") as sink,
    ):
        _copy(source, sink, file)


def _copy(source: _Readable, sink: BinaryIO, file: PublishedFile) -> None:
    """Copies no more than the known size, and checks what came."""
    digest, received = hashlib.sha256(), 0
    deadline = time.monotonic() + _DEADLINE_SECONDS
    with tqdm(total=file.size, desc=file.name, unit="B", unit_scale=True, disable=None) as bar:
        while chunk := _read(source):
            received += len(chunk)
            if received > file.size:
                raise _MirrorError(f"more than the {file.size} bytes that were published")
            if time.monotonic() > deadline:
                message = f"{received} of {file.size} bytes after {_DEADLINE_SECONDS} s"
                raise _MirrorError(message)
            sink.write(chunk)
            digest.update(chunk)
            bar.update(len(chunk))
    if received < file.size:
        raise _MirrorError(f"only {received} of {file.size} bytes")
    if digest.hexdigest() != file.sha256:
        raise _MirrorError(f"wrong content: SHA-256 {digest.hexdigest()[:12]}…")


def _read(source: _Readable) -> bytes:
    try:
        # What is there, not all that was asked for: a mirror that drips must not stop the clock.
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
    mirror: str,
    file: PublishedFile,
    retries: urllib3.Retry | None = None,
    timeout: tuple[float, float] | None = None,
) -> Iterator[_Readable]:
    if not mirror.startswith(("http://", "https://")):
        raise _MirrorError("neither a folder nor an http or https URL")
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries or _RETRIES))
        try:
            # Unencoded: the files are gzip themselves, and hashed as such.
            response = session.get(
                f"{mirror.rstrip('/')}/{file.name}",
                stream=True,
                timeout=timeout or (_CONNECT_SECONDS, _READ_SECONDS),
                headers={"Accept-Encoding": "identity"},
            )
            response.raise_for_status()
        except requests.HTTPError as error:
            raise _MirrorError(f"HTTP {error.response.status_code}") from None
        except (requests.RequestException, ValueError) as error:
            raise _MirrorError(_reason(error)) from None
        with response:
            declared = response.headers.get("Content-Length")
            if declared is not None and declared != str(file.size):
                raise _MirrorError(f"{declared} bytes declared, {file.size} were published")
            yield response.raw


def _reason(error: Exception) -> str:
    """Returns the cause in a few words, and without the URL, which may hold a password."""
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, urllib3.exceptions.ResponseError):
            return str(cause)
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    for kind, reason in _REASONS.items():
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return "no connection"


def _causes(error: BaseException) -> list[BaseException]:
    """Returns the error and all that it wraps: requests wraps what urllib3 wraps."""
    found: list[BaseException] = []
    open_ends: list[Any] = [error]
    while open_ends:
        cause = open_ends.pop(0)
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            reason = getattr(cause, "reason", None)
            open_ends += [*cause.args, reason, cause.__cause__, cause.__context__]
    return found
