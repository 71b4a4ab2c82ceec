"""Fetching published files from the first mirror that delivers the right bytes."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit, urlunsplit

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


class _MirrorError(Exception):
    """One mirror could not deliver; its text is the reason."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


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
            reasons.append(f"{file.name} from {_without_password(mirror)}: {error}")
            logger.warning("%s; trying the next mirror", reasons[-1])
        else:
            return
    raise UnavailableError("; ".join(reasons) or f"{file.name}: there is no mirror to try")


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
        return source.read(_CHUNK)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _MirrorError(f"reading broke off: {_reason(error)}") from None


@contextmanager
def _open_in_folder(mirror: str, file: PublishedFile) -> Iterator[_Readable]:
    path = Path(mirror).expanduser() / file.name
    try:
        source = path.open("rb")
    except OSError as error:
        raise _MirrorError(str(error.strerror)) from None
    with source:
        yield source


@contextmanager
def _open_url(mirror: str, file: PublishedFile) -> Iterator[_Readable]:
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=_RETRIES))
        try:
            # Unencoded: the files are gzip themselves, and hashed as such.
            response = session.get(
                f"{mirror.rstrip('/')}/{file.name}",
                stream=True,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
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


def _reason(error: BaseException) -> str:
    """Returns the innermost cause, in a word or two: `Connection refused`, not a page."""
    while isinstance(error.args[0] if error.args else None, BaseException):
        error = error.args[0]
    error = getattr(error, "reason", error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition(": ")[2] or str(error) or type(error).__name__


def _without_password(mirror: str) -> str:
    parts = urlsplit(mirror)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
