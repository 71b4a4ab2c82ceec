"""Where a run comes from: commit and patch, DVC experiment, packages, processor.

A run is made once, and may be tracked later, elsewhere, or again after the store was lost. So
training keeps a journal of its lineage, beside the store and outside whatever DVC deletes.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipeline.files import damaged, read_json, sha256, write_bytes, write_json
from pipeline.provenance.places import project_root

# What bits of a result may depend on beside our own code.
PACKAGES = ("tensorflow", "keras", "numpy")
CPU = "cpu.type"
_JOURNAL = Path(".bnlab/lineage")
_LOCK, _DVC_LOCK = Path("requirements.lock"), Path("dvc.lock")
# Results do not make a checkout dirty: they follow from what the patch does hold.
_INPUTS = (":/", ":(top,exclude)reports", ":(top,exclude)dvc.lock")
_OBJECTS = ("--path-format=absolute", "--git-path", "objects")
_DIFF = (
    "diff-index", "--cached", "--patch", "--binary", "--full-index", "--no-ext-diff",
    "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "HEAD",
)  # fmt: skip
_LARGEST_NEW_FILE = 5_000_000


@dataclass(frozen=True)
class Lineage:
    """Where a run comes from.

    Attributes:
        tags: name to value, as MLflow shows them; what is not known is left out.
        patch: what the checkout had beyond its commit, for `git apply`; in whatever encoding its
            files are.
        started: when the run began, in seconds since 1970, if that is known.
        ended: when it ended.
    """

    tags: Mapping[str, str]
    patch: bytes = b""
    started: float | None = None
    ended: float | None = None


def present_lineage(threads: int | None = None) -> Lineage:
    """Returns the lineage of what is run here and now.

    Args:
        threads: that train at once.
    """
    patch, left_out = _patch()
    known = {
        "mlflow.source.git.commit": _git("rev-parse", "HEAD"),
        "mlflow.source.git.branch": _branch(),
        "git.dirty": None if patch is None else str(bool(patch or left_out)).lower(),
        "git.patch.left_out": ", ".join(left_out),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "dvc.lock.sha256": _sha256(_DVC_LOCK),
        "requirements.lock.sha256": _sha256(_LOCK),
        **present_versions(),
        CPU: cpu_type(),
        "cpu.count": str(os.cpu_count()),
        "threads": None if threads is None else str(threads),
    }
    return Lineage({name: value for name, value in known.items() if value}, patch or b"")


def present_versions() -> dict[str, str]:
    """Returns the versions of Python and of `PACKAGES`, as tags."""
    packages = {f"{name}.version": version(name) for name in PACKAGES}
    return {"python.version": platform.python_version(), **packages}


def write_journal(fingerprint: str, lineage: Lineage) -> None:
    """Keeps the lineage of a run that is made; one made earlier, the same to the bit, stays."""
    path = _journal(fingerprint)
    if not path.exists():
        # Runs of one training share their patch.
        digest = hashlib.sha256(lineage.patch).hexdigest()
        write_bytes(_patch_file(digest), lineage.patch)
        span = {"started": lineage.started, "ended": lineage.ended}
        write_json(path, {"tags": dict(lineage.tags), "patch_sha256": digest, **span})


def read_journal(fingerprint: str) -> Lineage | None:
    """Returns the lineage of a run, or None where its training left none.

    Raises:
        DataError: if the journal is damaged.
    """
    path = _journal(fingerprint)
    if not path.exists():
        return None
    try:
        kept = read_json(path)
        patch = _patch_file(kept["patch_sha256"]).read_bytes()
        # Journals of earlier versions do not tell when.
        when = [_moment(kept.get(name)) for name in ("started", "ended")]
        return Lineage(kept["tags"], patch, *when)
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise damaged(path, error) from None


def cpu_type() -> str:
    """Returns the processor's name; where the system does not tell, its architecture."""
    try:
        told = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        told = None
    return told[1].strip() if told else platform.processor() or platform.machine()


def _moment(kept: object) -> float | None:
    if kept is None or (isinstance(kept, float) and math.isfinite(kept)):
        return kept
    raise ValueError(f"{kept!r} is no time")


def _journal(fingerprint: str) -> Path:
    return project_root() / _JOURNAL / f"{fingerprint}.json"


def _patch_file(digest: str) -> Path:
    return project_root() / _JOURNAL / f"{digest}.patch"


def _branch() -> str | None:
    """Returns the branch; in a DVC experiment's own folder, those that have its baseline."""
    if here := _git("branch", "--show-current"):
        return here
    baseline = os.environ.get("DVC_EXP_BASELINE_REV", "HEAD")
    names = ("for-each-ref", "--format=%(refname:short)", "--contains", baseline, "refs/heads")
    return ", ".join((_git("-C", str(project_root()), *names) or "").split()) or None


def _patch() -> tuple[bytes | None, list[str]]:
    """Returns the difference to the commit, and the new files too large for it.

    New files belong to it as well. An index and objects in a folder that is deleted leave the
    repository as it is. Without a repository or a commit, or where git refuses, the patch is None.
    """
    root, objects = _git("rev-parse", "--show-toplevel"), _git("rev-parse", *_OBJECTS)
    if root is None or objects is None or _git("rev-parse", "--verify", "HEAD") is None:
        return None, []
    new = _git("ls-files", "--others", "--exclude-standard", "-z", "--full-name", *_INPUTS) or ""
    left_out = [name for name in new.split("\0") if name and _is_large(Path(root) / name)]
    with tempfile.TemporaryDirectory() as folder:
        aside = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
        }
        large = [f":(top,exclude,literal){name}" for name in left_out]
        for command in (["read-tree", "HEAD"], ["add", "--all", "--", *_INPUTS, *large]):
            if _git_bytes(*command, **aside) is None:
                return None, []
        # Plumbing: whatever `git diff` is told to look like, `git apply` has to read this.
        return _git_bytes(*_DIFF, "--", *_INPUTS, **aside), left_out


def _is_large(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > _LARGEST_NEW_FILE


def _sha256(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None


def _git(*arguments: str) -> str | None:
    """Returns what git says, or None where there is no git, no repository or no commit."""
    told = _git_bytes(*arguments)
    return None if told is None else os.fsdecode(told).strip()


def _git_bytes(*arguments: str, **environment: str) -> bytes | None:
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, check=True, timeout=60, env=os.environ | environment
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
