"""Checks DVC's own files: its cache, and those that stop every command if a crash damages them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.execution.under_dvc import RWLOCK, arguments_of_dvc
from pipeline.files import replacing
from pipeline.health import dvc_cache
from pipeline.health.backups import unused
from pipeline.health.dvc_cache import LOCK
from pipeline.health.findings import Finding
from pipeline.provenance import lineage

# DVC 3.67 stumbles over no others: `lock`, `rwlock.lock` and `btime` may be empty or damaged.
_CONFLICT = re.compile(rb"^<{7} ", re.MULTILINE)


def findings(*, at_work: bool) -> Iterator[Finding]:
    """Yields what stops DVC or misleads it; offers no mend while DVC is at work here."""
    lock = _lock()
    # Which files were restored from a damaged cache, only dvc.lock can tell.
    for finding in filter(None, (_rwlock(), lock or dvc_cache.finding())):
        if finding.mend and at_work:
            yield Finding(finding.what, "DVC is at work here: wait until it ends, then try again")
        else:
            yield finding


def is_at_work() -> bool:
    """Returns whether a DVC process that this user may see is at work in this checkout."""
    return any(_works_here(process) for process in psutil.process_iter())


def _works_here(process: psutil.Process) -> bool:
    try:
        # In this order, because the folder costs more to ask for and is refused more often.
        if arguments_of_dvc(process.cmdline()) is None:
            return False
        return Path(process.cwd()).is_relative_to(Path.cwd())
    except (psutil.Error, OSError):
        return False


def _rwlock() -> Finding | None:
    if not RWLOCK.exists():
        return None
    # Importing DVC takes half a second.
    from dvc.rwlock import SCHEMA

    content = RWLOCK.read_bytes()
    try:
        fault = _fault(SCHEMA, json.loads(content))
    except ValueError:
        fault = "not JSON" if content.strip() else "empty"
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
    what = (
        f"{LOCK} is damaged ({fault}): every `dvc repro` stops, and DVC's cache cannot be checked"
    )
    if _CONFLICT.search(content):
        return Finding(
            f"{LOCK} contains an unfinished merge",
            "`git checkout --ours dvc.lock reports`, `dvc repro`, then `git add dvc.lock reports`",
        )
    committed = _committed_lock()
    if committed is None:
        remedy = "and DVC writes a new one and takes results from its run cache"
    else:
        remedy = "and restores the committed one"
    return Finding(what, f"--fix keeps it as {LOCK}.damaged, {remedy}", lambda: _restore(committed))


def _lock_fault(content: bytes) -> str:
    """Returns why DVC would reject this dvc.lock; empty if it would accept it."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    if not content.strip():
        return "empty"
    try:
        tree = YAML(typ="safe").load(content.decode("utf-8"))
    except (YAMLError, ValueError):
        return "not YAML"
    return _fault(COMPILED_LOCKFILE_SCHEMA, tree)


def _fault(schema: Any, value: object) -> str:
    """Returns how a value violates one of DVC's schemas, in a few words; empty if it does not."""
    from voluptuous import Invalid

    try:
        schema(value)
    except Invalid as error:
        return str(error)
    return ""


def _committed_lock() -> bytes | None:
    """Returns the dvc.lock of the last commit, if there is one and DVC would accept it."""
    content = lineage.committed(LOCK)
    return None if content is None or _lock_fault(content) else content


def _restore(committed: bytes | None) -> None:
    LOCK.rename(unused(LOCK.with_name(f"{LOCK.name}.damaged")))
    if committed is not None:
        with replacing(LOCK) as temporary:
            temporary.write_bytes(committed)
