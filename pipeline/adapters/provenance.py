"""Which code trains, and where its runs are kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import quote

_PACKAGE = Path(__file__).parents[1]

# All modules that decide what training a variant gives. A test holds the list against the imports.
TRAINING_MODULES = (
    "core/batches.py",
    "core/examples.py",
    "core/network.py",
    "core/normalization.py",
    "core/optimizers.py",
    "core/replicates.py",
    "core/solver.py",
    "params.py",
)


# What a study's runs depend on beside, and those that are probed.
_TRIALS = ("core/course.py", "core/divergence.py", "core/trials.py")
_PROBES = ("core/attacks.py", "core/gradients.py", "core/probes.py")


def training_code_sha256() -> str:
    """Returns one hash of the modules that training depends on."""
    return _sha256(TRAINING_MODULES)


def measuring_code_sha256(*, probed: bool) -> str:
    """Returns one hash of the modules that the results of a study's run depend on."""
    return _sha256(TRAINING_MODULES + _TRIALS + (_PROBES if probed else ()))


def _sha256(modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in modules:
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


def database() -> Path | None:
    """Returns the file of the tracking store, there or not; None if the store is no such file."""
    uri = tracking_uri()
    if not uri.startswith("sqlite:"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return None if name in {None, "", ":memory:"} else Path(str(name))
