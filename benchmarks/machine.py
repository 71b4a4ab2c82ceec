"""Describes the machine of the benchmark, without naming host or paths."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from pipeline.provenance.processor import present_processor

_OURS = ("tensorflow", "keras", "numpy", "dvc", "mlflow")
_THEIRS = ("torch", "jax", "numpy")
_PRINT_VERSIONS = (
    "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
)


def describe(peers_python: str) -> dict[str, Any]:
    """Returns processor, memory, system and versions."""
    processor = present_processor()
    return {
        "processor": ", ".join(filter(None, (processor.name, processor.model))),
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "system": f"{_system()}, {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _OURS},
        "peers": _versions(peers_python),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _versions(python: str) -> dict[str, str]:
    if not Path(python).exists():
        return {}
    answer = subprocess.run(
        [python, "-c", _PRINT_VERSIONS, *_THEIRS], capture_output=True, text=True, check=True
    )
    return dict(zip(_THEIRS, answer.stdout.split(), strict=True))
