"""DVC, where it runs this process as a stage: which process it is, and what it was told."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import psutil

# `-f`, `-sf`, `--force`; other options may match as well.
_MAY_BE_FORCE = re.compile(r"-[a-zA-Z]*f|--force")


def stage() -> str | None:
    """Returns the name of the stage that this process is, as `train@no_norm`, if it is one."""
    # Run from another folder, DVC names the file of the stage as well, before a colon.
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2] or None


def dvc_process() -> psutil.Process | None:
    """Returns the process of DVC that runs this one as a stage."""
    if stage() is None:
        return None
    for process in psutil.Process().parents():
        try:
            if _arguments(process.cmdline()) is not None:
                return process
        except psutil.Error:
            continue
    return None


def is_forced() -> bool:
    """Returns whether DVC runs this stage because of `--force`.

    Its environment does not say so, but its command line does. A task of a queue has a command line
    of its own: there the stage was forced if DVC had no other reason to run it. One that is forced
    in a queue and has other parameters than before is taken for one that is not forced.
    """
    name = stage()
    if name is None:
        return False
    process = dvc_process()
    return (process is not None and asks_for_force(process.cmdline())) or _is_up_to_date(name)


def asks_for_force(command_line: Sequence[str]) -> bool:
    """Returns whether a command line of DVC has `--force` in it."""
    arguments = _arguments(command_line) or []
    if not any(_MAY_BE_FORCE.match(argument) for argument in arguments):
        return False
    # Half a second, for it imports all of DVC's commands.
    from dvc.cli import parse_args

    return bool(getattr(parse_args(arguments), "force", False))


def _arguments(command_line: Sequence[str]) -> list[str] | None:
    """Returns what DVC was given, or None if a command line is not of DVC."""
    for place, part in enumerate(command_line):
        if Path(part).name == "dvc":
            return list(command_line[place + 1 :])
    return None


def _is_up_to_date(name: str) -> bool:
    """Returns whether a stage is as dvc.lock has it, and its outputs are in DVC's cache."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return repo.stage.load_one(name=name).already_cached()
    except DvcException:
        return False
