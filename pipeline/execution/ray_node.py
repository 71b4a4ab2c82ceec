"""What a node of a Ray cluster is asked first: whether it would train the same bits.

It is imported there before TensorFlow, which may be missing or another version.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.provenance.lineage import PACKAGES
from pipeline.runs.code import code_sha256

_ALL_CODE = (".",)


def present_needs(network: str) -> dict[str, str]:
    """Returns what the bits of a result depend on, as it is here: Python, packages, and code.

    Args:
        network: the file that `network.code` names.
    """
    python = ".".join(platform.python_version_tuple()[:2])
    code = code_sha256(network, _ALL_CODE)[:8] if Path(network).is_file() else "none"
    return {"Python": python, **{name: _version(name) for name in PACKAGES}, "code": code}


def train(needs: Mapping[str, str], network: str, *work: Any) -> Iterator[Any]:
    """Yields what `ray_worker.train(network, *work)` does, once this node is known to be right.

    Args:
        needs: what `present_needs` returns in the driver.
        network: the file that `network.code` names.
        work: the other arguments.

    Raises:
        PipelineError: if this node has other packages or other code.
    """
    here = present_needs(network)
    if different := [
        f"{name} {here[name]} instead of {needs[name]}"
        for name in needs
        if here[name] != needs[name]
    ]:
        raise PipelineError(
            f"the Ray node {platform.node()} has {', '.join(different)}, and could train other "
            "bits: install what requirements.lock lists there, and start the node again"
        )
    from pipeline.execution import ray_worker

    yield from ray_worker.train(network, *work)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
