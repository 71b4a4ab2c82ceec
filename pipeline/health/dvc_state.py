"""DVC's own files: its cache, and those that a crash may leave so that every command stops."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.files import replacing
from pipeline.health import dvc_cache
from pipeline.health.backups import unused
from pipeline.health.findings import Finding

# DVC 3.67 minds nothing else: empty or damaged, `lock`, `rwlock.lock` and `btime` do no harm.
RWLOCK = Path(".dvc/tmp/rwlock")
LOCK = Path("dvc.lock")
_CONFLICT = re.compile(rb"^<{7} ", re.MULTILINE)


def findings(*, at_work: bool) -> Iterator[Finding]:
    """Yields what stops DVC or leads it astray; nothing is mended while it is at work here."""
    stopping = [finding for finding in (_rwlock(), _lock()) if finding]
    for finding in stopping or filter(None, [dvc_cache.finding()]):
        if finding.mend and at_work:
            yield Finding(finding.what, "DVC is at work here: let it end, then ask again")
        else:
            yield finding


def is_at_work() -> bool:
    """Returns whether a DVC process works in this checkout, as far as this user may see."""
    return any(_works_here(process) for process in psutil.process_iter())


def _works_here(process: psutil.Process) -> bool:
    try:
        # Asked in this order, for the folder costs more and is refused more often.
        if not _is_dvc(process.cmdline()):
            return False
        return Path(process.cwd()).is_relative_to(Path.cwd())
    except (psutil.Error, OSError):
        return False


def _is_dvc(words: list[str]) -> bool:
    """Returns whether a command line is `dvc …`, `python …/dvc …` or `python -m dvc …`."""
    return words[1:3] == ["-m", "dvc"] or "dvc" in {Path(word).name for word in words[:2]}


def _rwlock() -> Finding | None:
    if not RWLOCK.exists():
        return None
    # DVC's import costs half a second.
    from dvc.rwlock import SCHEMA

    content = RWLOCK.read_bytes()
    try:
        fault = _fault(SCHEMA, json.loads(content))
    except ValueError:
        fault = "no JSON" if content.strip() else "empty"
    if not fault:
        return None
    what = f"{RWLOCK} is damaged ({fault}): every `dvc repro` stops"
    return Finding(what, "--fix removes it, and DVC makes it again", RWLOCK.unlink)


def _lock() -> Finding | None:
    if not LOCK.exists():
        return None
    content = LOCK.read_bytes()
    fault = _lock_fault(content)
    if not fault:
        return None
    what = f"{LOCK} is damaged ({fault}): every `dvc repro` stops"
    if _CONFLICT.search(content):
        return Finding(
            f"{LOCK} holds an unfinished merge", "`git checkout --ours dvc.lock` ends it"
        )
    committed = _committed_lock()
    if committed is None:
        remedy = "DVC writes it anew and takes results from its run cache"
    else:
        remedy = "restores the committed one"
    return Finding(what, f"--fix keeps it as {LOCK}.damaged; {remedy}", lambda: _restore(committed))


def _lock_fault(content: bytes) -> str:
    """Returns what DVC would not accept in a dvc.lock; empty where it would."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    if not content.strip():
        return "empty"
    try:
        tree = YAML(typ="safe").load(content.decode("utf-8"))
    except (YAMLError, ValueError):
        return "no YAML"
    return _fault(COMPILED_LOCKFILE_SCHEMA, tree)


def _fault(schema: Any, value: object) -> str:
    """Returns what is wrong by one of DVC's schemas, in a few words."""
    from voluptuous import Invalid

    try:
        schema(value)
    except Invalid as error:
        return str(error)
    return ""


def _committed_lock() -> bytes | None:
    """Returns the last commit's dvc.lock, if there are such and DVC would accept it."""
    try:
        # With `./`, or a project inside another's checkout would be given the other's.
        answer = subprocess.run(
            ["git", "show", f"HEAD:./{LOCK}"], capture_output=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return None if _lock_fault(answer.stdout) else answer.stdout


def _restore(committed: bytes | None) -> None:
    LOCK.rename(unused(LOCK.with_name(f"{LOCK.name}.damaged")))
    if committed is not None:
        with replacing(LOCK) as temporary:
            temporary.write_bytes(committed)
