"""Python and the installed packages, against what the project was made with."""

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
    """Yields what is not as pyproject.toml and requirements.lock say; where they are not, nothing.

    Raises:
        DataError: if one of them cannot be read as what it is.
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
    have = platform.python_version()
    if not allowed.contains(have, prereleases=True):
        what = f"this is Python {have}, and {PROJECT} asks for {allowed}"
        yield Finding(what, "name a fitting one: make setup PYTHON=...")


def _packages() -> Iterator[Finding]:
    differing = [told for requirement in _locked() if (told := _difference(requirement))]
    if differing:
        shown = ", ".join(differing[:_SHOWN])
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        yield Finding(f"packages are not those of {LOCK}: {shown}{more}", "`make setup` mends it")


def _locked() -> Iterator[Requirement]:
    """Yields what is pinned for this interpreter and machine."""
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
    """Returns how the installed package differs from its pin; empty where it does not."""
    try:
        have = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is absent (locked {requirement.specifier})"
    if requirement.specifier.contains(have, prereleases=True):
        return ""
    return f"{requirement.name} {have} (locked {requirement.specifier})"
