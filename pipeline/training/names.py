"""What the layers of a network and their weights are called."""

from __future__ import annotations

import re


def is_normalization(layer: str) -> bool:
    """Returns whether it is the name of a normalisation, or of a part of one."""
    return re.fullmatch(r"norm_\d+(_.+)?", layer) is not None


def is_kernel(path: str) -> bool:
    """Returns whether it is the path of a layer's kernel."""
    return path.endswith("/kernel")


def is_hidden_kernel(path: str) -> bool:
    """Returns whether it is the path of a kernel below the last layer."""
    return is_kernel(path) and path != "logits/kernel"
