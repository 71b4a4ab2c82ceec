"""Where a run comes from: commit and patch, DVC experiment, packages, processor.

A run is made once, but may be tracked later, elsewhere, or again after the store was lost. So
training writes its lineage to a journal, next to the store and outside any folder that DVC deletes.
`lineage_file` takes it to other clones.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from pipeline.errors import DataError
from pipeline.files import damaged, read_json, sha256, write_bytes, write_json
from pipeline.portable import SET_ASIDE
from pipeline.provenance.places import project_root
from pipeline.provenance.processor import outside_promise, present_processor
from pipeline.runs.tables import WEIGHTS, run_folder

# Besides our own code, the packages that the bits of a result may depend on.
PACKAGES = ("tensorflow", "keras", "numpy")
# Whether a run has the bits that all processors give that are not outside the promise.
PORTABLE = "bits.portable"
_JOURNAL = Path(".bnlab/lineage")
_LOCK, _DVC_LOCK = Path("requirements.lock"), Path("dvc.lock")
# Results do not make a checkout dirty: they follow from what the patch holds.
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
        tags: name to value, as MLflow shows them; unknown values are left out.
        patch: the checkout's uncommitted changes, for `git apply`; bytes, because its files may
            have any encoding.
        started: when the run began, in seconds since 1970; None if unknown.
        ended: when it ended, likewise.
        weights_sha256: hash of the weights that came of it; empty if unknown.
    """

    tags: Mapping[str, str]
    patch: bytes = b""
    started: float | None = None
    ended: float | None = None
    weights_sha256: str = ""

    def is_of(self, weights_sha256: str) -> bool:
        """Returns whether these weights may have come of it, as far as both are known."""
        return weights_sha256 in {"", self.weights_sha256} or not self.weights_sha256

    def on(self, machine: Mapping[str, str]) -> Lineage:
        """Returns the lineage of a run that was trained for this process on another machine.

        Args:
            machine: what `present_machine` returns there.
        """
        elsewhere = self.tags.keys() - present_machine().keys()
        return replace(self, tags={name: self.tags[name] for name in elsewhere} | dict(machine))


def present_lineage(threads: int | None = None) -> Lineage:
    """Returns the lineage of a run made here and now.

    Args:
        threads: how many train at once.
    """
    patch, left_out = _patch()
    tags = {
        "mlflow.source.git.commit": git("rev-parse", "HEAD"),
        "mlflow.source.git.branch": _branch(),
        "git.dirty": None if patch is None else str(bool(patch or left_out)).lower(),
        "git.patch.left_out": ", ".join(left_out),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "dvc.lock.sha256": _sha256(_DVC_LOCK),
        "requirements.lock.sha256": _sha256(_LOCK),
        **present_machine(threads),
    }
    return Lineage({name: value for name, value in tags.items() if value}, patch or b"")


def present_machine(threads: int | None = None) -> dict[str, str]:
    """Returns what is known of where a run is trained, as tags.

    Args:
        threads: how many train at once.
    """
    processor = present_processor()
    tags = {
        **present_versions(),
        **processor.tags,
        "cpu.count": str(os.cpu_count()),
        "threads": None if threads is None else str(threads),
        "settings.set_aside": " ".join(SET_ASIDE),
        PORTABLE: str(not outside_promise(processor)).lower(),
    }
    return {name: value for name, value in tags.items() if value}


def present_versions() -> dict[str, str]:
    """Returns the versions of Python and of `PACKAGES`, as tags."""
    packages = {f"{name}.version": version(name) for name in PACKAGES}
    return {"python.version": platform.python_version(), **packages}


def committed(path: Path) -> bytes | None:
    """Returns what a file of the current folder has in the commit that is checked out, or None."""
    # Without `./`, a project inside another checkout would get that checkout's file.
    return _git_bytes("show", f"HEAD:./{path.as_posix()}")


def weights_sha256(variant: str, seed: int) -> str:
    """Returns the hash of a run's weights on disk; empty if they are not there."""
    return _sha256(run_folder(variant, seed) / WEIGHTS) or ""


def write_journal(fingerprint: str, lineage: Lineage) -> None:
    """Writes down a run's lineage, unless a bit-identical run made earlier has left its own."""
    earlier = None
    # A damaged one is lost anyway.
    with suppress(DataError):
        earlier = read_journal(fingerprint)
    if earlier is not None and earlier.is_of(lineage.weights_sha256):
        if earlier.weights_sha256 or not lineage.weights_sha256:
            return
        lineage = replace(earlier, weights_sha256=lineage.weights_sha256)
    # The runs of one training share their patch.
    digest = hashlib.sha256(lineage.patch).hexdigest()
    write_bytes(_patch_file(digest), lineage.patch)
    fields = {"started": lineage.started, "ended": lineage.ended}
    fields |= {"weights_sha256": lineage.weights_sha256}
    write_json(
        _journal(fingerprint), {"tags": dict(lineage.tags), "patch_sha256": digest, **fields}
    )


def read_journal(fingerprint: str) -> Lineage | None:
    """Returns the lineage of a run, or None where its training left none.

    Raises:
        DataError: if the journal is damaged.
    """
    path = _journal(fingerprint)
    if not path.exists():
        return None
    try:
        journal = read_json(path)
        patch = _patch_file(journal["patch_sha256"]).read_bytes()
        # Journals written by earlier versions have no times, and no hash of the weights.
        started, ended = (time_of(journal.get(name)) for name in ("started", "ended"))
        return Lineage(journal["tags"], patch, started, ended, journal.get("weights_sha256", ""))
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise damaged(path, error) from None


def time_of(value: object) -> float | None:
    """Returns a time read from a file; raises ValueError if it is none."""
    if value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{value!r} is not a time")


def _journal(fingerprint: str) -> Path:
    return project_root() / _JOURNAL / f"{fingerprint}.json"


def _patch_file(digest: str) -> Path:
    return project_root() / _JOURNAL / f"{digest}.patch"


def _branch() -> str | None:
    """Returns the branch; on a detached checkout, all branches that contain its commit.

    In the temporary folder of a DVC experiment, that commit is the experiment's baseline.
    """
    if branch := git("branch", "--show-current"):
        return branch
    baseline = os.environ.get("DVC_EXP_BASELINE_REV", "HEAD")
    names = ("for-each-ref", "--format=%(refname:short)", "--contains", baseline, "refs/heads")
    return ", ".join((git("-C", str(project_root()), *names) or "").split()) or None


def _patch() -> tuple[bytes | None, list[str]]:
    """Returns the difference to the commit, and the names of new files too large for it.

    The patch includes new files. Its index and objects live in a temporary folder, so the
    repository stays untouched. Without a repository or a commit, or where git refuses, the patch
    is None.
    """
    root, objects = git("rev-parse", "--show-toplevel"), git("rev-parse", *_OBJECTS)
    if root is None or objects is None or git("rev-parse", "--verify", "HEAD") is None:
        return None, []
    new = git("ls-files", "--others", "--exclude-standard", "-z", "--full-name", *_INPUTS) or ""
    left_out = [name for name in new.split("\0") if name and _is_large(Path(root) / name)]
    with tempfile.TemporaryDirectory() as folder:
        temporary = {
            "GIT_INDEX_FILE": f"{folder}/index",
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
        }
        large = [f":(top,exclude,literal){name}" for name in left_out]
        for command in (["read-tree", "HEAD"], ["add", "--all", "--", *_INPUTS, *large]):
            if _git_bytes(*command, **temporary) is None:
                return None, []
        # A plumbing command: the user's settings for `git diff` must not make a patch that
        # `git apply` cannot read.
        return _git_bytes(*_DIFF, "--", *_INPUTS, **temporary), left_out


def _is_large(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > _LARGEST_NEW_FILE


def _sha256(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None


def git(*arguments: str, root: str | None = None) -> str | None:
    """Returns what git prints in a folder, by default the current one; None if it fails.

    That is where there is no git, repository or commit, as those that a shallow clone lacks.
    """
    output = _git_bytes(*arguments, root=root)
    return None if output is None else os.fsdecode(output).strip()


def _git_bytes(*arguments: str, root: str | None = None, **environment: str) -> bytes | None:
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command,
            cwd=root,
            capture_output=True,
            check=True,
            timeout=60,
            env=os.environ | environment,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
