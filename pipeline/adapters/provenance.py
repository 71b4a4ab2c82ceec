"""Where a run comes from: the code, the state of the repository, the DVC experiment."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from urllib.parse import quote

_PACKAGE = Path(__file__).parents[1]

# All modules that decide what training a variant gives. A test holds the list against the imports.
TRAINING_MODULES = (
    "core/batches.py",
    "core/examples.py",
    "core/network.py",
    "core/normalization.py",
    "core/replicates.py",
    "core/solver.py",
    "params.py",
)


def training_code_sha256() -> str:
    """Returns one hash of the modules that training depends on."""
    digest = hashlib.sha256()
    for name in TRAINING_MODULES:
        digest.update(hashlib.sha256((_PACKAGE / name).read_bytes()).digest())
    return digest.hexdigest()


def project_root() -> Path:
    """Returns the checkout that owns the tracking store.

    `dvc exp run --temp` and queued experiments run in a folder that is deleted afterwards; DVC
    names the main checkout in `DVC_ROOT`.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def tracking_uri() -> str:
    """Returns `MLFLOW_TRACKING_URI`, or the database in the checkout that owns the store."""
    # Quoted, for MLflow takes `%20` in a path for a space.
    own = f"sqlite:///{quote(str(project_root() / 'mlflow.db'))}"
    return os.environ.get("MLFLOW_TRACKING_URI") or own


def lineage_tags() -> dict[str, str]:
    """Returns what is known of commit and DVC experiment, as tags for a run."""
    dirt = _git("status", "--porcelain")
    known = {
        "mlflow.source.git.commit": _git("rev-parse", "HEAD"),
        "mlflow.source.git.branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        "git.dirty": None if dirt is None else str(bool(dirt)).lower(),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
    }
    return {name: value for name, value in known.items() if value}


def _git(*arguments: str) -> str | None:
    """Returns what git says, or None where there is no git, no repository or no commit."""
    try:
        answer = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
