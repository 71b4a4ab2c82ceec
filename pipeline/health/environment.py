"""Compares Python and the installed packages with those the project was made with."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from pipeline.errors import DataError
from pipeline.health.findings import Finding

PROJECT = Path("pyproject.toml")
LOCK = Path("requirements.lock")
_SHOWN = 5


def findings() -> Iterator[Finding]:
    """Yields what differs from pyproject.toml and requirements.lock; skips a file that is missing.

    Raises:
        DataError: if one of them cannot be parsed.
    """
    if PROJECT.is_file():
        yield from _python()
    if LOCK.is_file():
        yield from _packages()


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
        shown = ", ".join(differences[:_SHOWN])
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        what = f"packages differ from {LOCK}: {shown}{more}"
        yield Finding(what, "`make setup` installs the locked ones")


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
