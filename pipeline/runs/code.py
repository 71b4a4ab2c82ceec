"""Which code decides a run: the folders and files that `train` depends on in dvc.yaml."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# A test holds these against dvc.yaml, and dvc.yaml against the imports.
TRAINING_CODE = ("errors.py", "examples", "files.py", "params.py", "runs", "training")


def code_sha256(places: Sequence[str] = TRAINING_CODE) -> str:
    """Returns one hash of all Python files in these folders and files of the package."""
    digest = hashlib.sha256()
    for place in places:
        found = _PACKAGE / place
        for path in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            digest.update(path.relative_to(_PACKAGE).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
