"""The code that decides a run: what `train` depends on in dvc.yaml, beside the data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# A test compares these with dvc.yaml, and dvc.yaml with the imports.
TRAINING_CODE = (
    "errors.py", "examples", "files.py", "params.py", "portable.py", "runs", "training",
)  # fmt: skip


def code_sha256(network: str, places: Sequence[str] = TRAINING_CODE) -> str:
    """Returns one hash of all Python files that decide a run.

    Args:
        network: the file that `network.code` names.
        places: folders or files of the package.
    """
    digest = hashlib.sha256(hashlib.sha256(Path(network).read_bytes()).digest())
    for place in places:
        root = _PACKAGE / place
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(path.relative_to(_PACKAGE).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
