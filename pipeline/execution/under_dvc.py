"""Whether DVC runs this process as a stage, its name and `--force`; or what else DVC runs here."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from pipeline.errors import one_line

# In it DVC notes which of its processes makes which outputs of this checkout.
RWLOCK = Path(".dvc/tmp/rwlock")
# What errors say of files, runs and reports that are not there yet; not of one that is damaged,
# which has to be removed first.
_MADE = re.compile(r"(?<!and )`dvc repro` (?=(makes|adds|trains|compares) (it|them|again)\b)")
# `-f`, `-sf`, `--force`; other options may match as well.
_MAY_BE_FORCE = re.compile(r"-[a-zA-Z]*f|--force")


def stage() -> str | None:
    """Returns the name of the stage, such as `train@no_norm`; None if DVC runs none here."""
    # DVC that was started in another folder puts the path of dvc.yaml and a colon before it.
    return os.environ.get("DVC_STAGE", "").rpartition(":")[2] or None


def is_experiment() -> bool:
    """Returns whether DVC runs this process as part of an experiment."""
    return "DVC_EXP_BASELINE_REV" in os.environ


def dvc_process() -> psutil.Process | None:
    """Returns the process of DVC that runs this one as a stage."""
    if stage() is None:
        return None
    for process in psutil.Process().parents():
        try:
            if arguments_of_dvc(process.cmdline()) is not None:
                return process
        except psutil.Error:
            continue
    return None


def is_forced() -> bool:
    """Returns whether DVC was told to run this stage with `--force`.

    The environment does not say so, but DVC's command line does, except in a queue. There a stage
    that is up to date was forced, for DVC had no other reason to run it. A queued task that changes
    a parameter as well (`dvc exp run --queue --force -S …`) is not recognised as forced.
    """
    name, process = stage(), dvc_process()
    if name is None:
        return False
    with suppress(psutil.Error):
        if process is not None and asks_for_force(process.cmdline()):
            return True
    return _is_up_to_date(name)


def made_meanwhile(message: str) -> str:
    """Returns a message that something is missing as it is while DVC makes it; '' if it does not.

    That is, if a process of DVC runs a stage in the current folder. One that runs experiments in
    copies of it does not count; neither does the one that runs this process.
    """
    process = None if stage() else _at_work()
    if process is None or not _MADE.search(message):
        return ""
    with suppress(psutil.Error):
        command = shlex.join(["dvc", *(arguments_of_dvc(process.cmdline()) or [])])
        running = f"`{one_line(command, longest=100)}`, which is running now, "
        return f"{_MADE.sub(lambda _: running, message)}; try again when it has ended"
    return ""


def _at_work() -> psutil.Process | None:
    try:
        writing = json.loads(RWLOCK.read_bytes())["write"].values()
        numbers = [info["pid"] for info in writing]
    # What is wrong with a damaged file, doctor says.
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    for number in numbers:
        # One that was killed leaves its number, which another program may have by now.
        with suppress(psutil.Error):
            process = psutil.Process(number)
            if arguments_of_dvc(process.cmdline()) is not None:
                return process
    return None


def asks_for_force(command_line: Sequence[str]) -> bool:
    """Returns whether a command line is DVC's, with `--force`, in whatever form."""
    arguments = arguments_of_dvc(command_line) or []
    if not any(_MAY_BE_FORCE.match(argument) for argument in arguments):
        return False
    # This takes half a second, for it imports all of DVC's commands.
    from dvc.cli import parse_args

    return bool(getattr(parse_args(arguments), "force", False))


def arguments_of_dvc(command_line: Sequence[str]) -> list[str] | None:
    """Returns the arguments in a command line of DVC's; None if it is another program's."""
    # An editor or a copy may name a file or folder called dvc.
    if not re.match("dvc$|python", Path(*command_line[:1]).name):
        return None
    for place, part in enumerate(command_line):
        if Path(part).name == "dvc":
            return list(command_line[place + 1 :])
    return None


def _is_up_to_date(name: str) -> bool:
    """Returns whether the stage agrees with dvc.lock, and its outputs are in DVC's cache."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return repo.stage.load_one(name=name).already_cached()
    except DvcException:
        return False
