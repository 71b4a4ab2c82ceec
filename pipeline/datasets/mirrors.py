"""Mirrors: folders and URLs that have the files of a dataset, packed or not."""

from __future__ import annotations

import gzip
import os
import re
import ssl
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3

from pipeline.datasets.catalogue import PublishedFile
from pipeline.datasets.fetching import CHUNK, SupplyError, unpacked
from pipeline.errors import without_passwords

# For connecting, and between two packets.
_TIMEOUT_SECONDS = (10.0, 20.0)
# Between attempts, when a server hiccups.
_PAUSES_SECONDS = (0.5, 1.0)
_HICCUPS = {500, 502, 503, 504}
# Where a file is not there under one name, it may be under another. Some servers forbid what they
# do not have.
_ABSENT = {403, 404, 410}
_MOST_REDIRECTS = 5


_REASONS: dict[type[Exception], str] = {
    requests.exceptions.SSLError: "no secure connection",
    urllib3.exceptions.TimeoutError: "no answer in time",
    urllib3.exceptions.ProtocolError: "the connection was lost",
    requests.exceptions.InvalidHeader: "it sent an invalid HTTP header",
    requests.exceptions.InvalidURL: "not a valid URL",
    urllib3.exceptions.LocationParseError: "not a valid URL",
}


class _HiccupError(SupplyError):
    """A fault that may be gone a moment later."""


class _AbsentError(SupplyError):
    """There is no file of this name."""


class _Session(requests.Session):
    """Follows no redirects: requests would read the whole body of each, however long."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        return None


@dataclass(frozen=True)
class Mirror:
    """A folder or an http(s) URL."""

    place: str

    def __str__(self) -> str:
        """Returns the place without its password."""
        return without_passwords(self.place)

    @property
    def is_folder(self) -> bool:
        """Whether it is on this machine, and read at no cost."""
        return "://" not in self.place

    def contents(self, file: PublishedFile) -> Iterator[bytes]:
        """Yields the unpacked bytes of a file, unverified; raises SupplyError."""
        try:
            with self._open(file, _PAUSES_SECONDS, _TIMEOUT_SECONDS) as stream:
                # `read1` returns what has arrived; `read` would wait for a full chunk.
                while chunk := stream.read1(CHUNK):
                    yield chunk
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SupplyError(f"damaged: {error}") from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SupplyError(_reason(error)) from None

    def refusal(self, file: PublishedFile, seconds: float) -> str:
        """Returns why it would not deliver a file; empty if it would. Reads only its beginning.

        Args:
            file: that it should have, packed or not.
            seconds: how long each step may take.
        """
        try:
            with self._open(file, pauses=(), timeout=(seconds, seconds)):
                return ""
        except SupplyError as error:
            return str(error)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return _reason(error)

    @contextmanager
    def _open(
        self, file: PublishedFile, pauses: Iterable[float], timeout: tuple[float, float]
    ) -> Iterator[BufferedIOBase]:
        if self.is_folder:
            with _open_in_folder(self.place, file) as source:
                yield unpacked(source.read1, file, os.fstat(source.fileno()).st_size)
            return
        if not _is_web(self.place):
            raise SupplyError("neither a folder nor an http or https URL")
        with (
            _Session() as session,
            _first_answer(self.place, session, file, pauses, timeout) as found,
        ):
            declared = found.headers.get("Content-Length")
            if declared and not re.fullmatch("[0-9]{1,20}", declared):
                raise SupplyError("no number of bytes declared")
            yield unpacked(found.raw.read1, file, int(declared) if declared else None)


def mirrors_for(dataset: str, built_in: Iterable[str]) -> tuple[Mirror, ...]:
    """Returns the mirrors to try in order: those of `<DATASET>_MIRROR`, then the built-in ones."""
    own = os.environ.get(f"{dataset.upper()}_MIRROR", "")
    places = (*(place.strip() for place in own.split(",") if place.strip()), *built_in)
    return tuple(map(Mirror, places))


def _open_in_folder(place: str, file: PublishedFile) -> BufferedReader:
    """Returns the file, open, under the first of its names that is there."""
    for name in file.names:
        try:
            return (Path(place).expanduser() / name).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            continue
        except OSError as error:
            raise SupplyError(str(error.strerror)) from None
        except RuntimeError:
            raise SupplyError("no such user") from None
    raise SupplyError("No such file or directory")


def _first_answer(
    place: str,
    session: requests.Session,
    file: PublishedFile,
    pauses: Iterable[float],
    timeout: tuple[float, float],
) -> requests.Response:
    """Returns the response with the file, under the first of its names that is there."""
    absences = []
    for name in file.names:
        try:
            return _answer(session, f"{place.rstrip('/')}/{name}", pauses, timeout)
        except _AbsentError as error:
            absences.append(error)
    raise absences[0]


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
            raise SupplyError("a redirect to an invalid URL") from None
        if not _is_web(url):
            raise SupplyError("a redirect to a URL that is neither http nor https")
    raise SupplyError("too many redirects")


def _request_once(
    session: requests.Session, url: str, timeout: tuple[float, float]
) -> requests.Response:
    # Ask for no encoding: the files are packed already, and the sizes are of what they are.
    headers = {"Accept-Encoding": "identity"}
    try:
        response = session.get(url, stream=True, timeout=timeout, headers=headers)
    except (requests.Timeout, requests.exceptions.SSLError) as error:
        raise SupplyError(_reason(error)) from None
    except requests.ConnectionError as error:
        raise _HiccupError(_reason(error)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise SupplyError(_reason(error)) from None
    if response.ok:
        return response
    # Its body is not read: it may be endless.
    response.close()
    code = response.status_code
    kind = _HiccupError if code in _HICCUPS else _AbsentError if code in _ABSENT else SupplyError
    raise kind(f"HTTP {code}")


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
