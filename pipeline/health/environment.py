"""Compares Python, packages, settings and processor with those the project was made with."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pipeline.errors import DataError
from pipeline.health.findings import Finding, Note, listed
from pipeline.portable import SET_ASIDE
from pipeline.provenance.processor import outside_promise, present_processor

PROJECT = Path("pyproject.toml")
LOCK = Path("requirements.lock")
# With what they usually hold, without white space; Keras writes its file by itself.
_USERS_FILES = {
    Path("~/.keras/keras.json"): (
        '{"floatx":"float32","epsilon":1e-07,"backend":"tensorflow",'
        '"image_data_format":"channels_last"}'
    ),
    Path("~/.config/matplotlib/matplotlibrc"): "",
}


def findings() -> Iterator[Finding | Note]:
    """Yields what differs from pyproject.toml and requirements.lock; skips a file that is missing.

    Notes name the user's settings that do not apply, and a processor that rounds differently.

    Raises:
        DataError: if one of them cannot be parsed.
    """
    if PROJECT.is_file():
        yield from _python()
    if LOCK.is_file():
        yield from _packages()
    for setting in SET_ASIDE:
        yield Note(f"{setting} is set aside, because it could change results")
    for path, usual in _USERS_FILES.items():
        if _text(path) not in {None, usual}:
            yield Note(f"{path} is not used, because it could change results or figures")
    if reason := outside_promise(present_processor()):
        yield Note(f"{reason}: runs made here may differ in bits from those of others")


def _text(path: Path) -> str | None:
    """Returns what a file holds, without white space; None if it cannot be read."""
    try:
        return "".join(path.expanduser().read_text(encoding="utf-8", errors="replace").split())
    except (OSError, RuntimeError):
        return None


def _python() -> Iterator[Finding]:
    try:
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8")).get("project", {})
        allowed = SpecifierSet(project.get("requires-python", ""))
    except (ValueError, InvalidSpecifier) as error:
        raise DataError(f"{PROJECT} cannot be read: {error}") from None
    installed = platform.python_version()
    if not allowed.contains(installed, prereleases=True):
        what = f"this is Python {installed}, but {PROJECT} requires {allowed}"
        yield Finding(what, "set up with a version it allows: make setup PYTHON=...")


def _packages() -> Iterator[Finding]:
    differences = [text for requirement in _locked() if (text := _difference(requirement))]
    if differences:
        what = f"packages differ from {LOCK}: {listed(differences)}"
        yield Finding(what, "`rm -f .venv/.ready && make setup` installs the locked ones")


def _locked() -> Iterator[Requirement]:
    """Yields the packages pinned for this interpreter and machine."""
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        # Hashes and comments belong to the pin above them.
        if not line.strip() or line[0] in " #":
            continue
        try:
            requirement = Requirement(line.rstrip(" \\"))
        except InvalidRequirement as error:
            raise DataError(f"{LOCK} cannot be read: {error}".splitlines()[0]) from None
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def _difference(requirement: Requirement) -> str:
    """Returns how the installed package differs from its pin; empty if it does not."""
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is absent (locked {requirement.specifier})"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} {installed} (locked {requirement.specifier})"
