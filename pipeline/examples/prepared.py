"""The prepared data on disk: one `.npz` of plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.examples.dataset import Dataset, Examples
from pipeline.files import damaged, read_arrays, write_arrays

PREPARED_FILE = Path("data/prepared.npz")
SPLITS = ("train", "validation", "test")


def write_prepared(path: Path, dataset: Dataset) -> None:
    """Writes the three splits into one `.npz` of plain arrays."""
    splits = {name: getattr(dataset, name) for name in SPLITS}
    write_arrays(
        path,
        {f"{name}_images": examples.images for name, examples in splits.items()}
        | {f"{name}_labels": examples.labels for name, examples in splits.items()},
    )


def read_prepared(path: Path = PREPARED_FILE) -> Dataset:
    """Returns the dataset that `write_prepared` wrote.

    Raises:
        MissingInputError: if the file is missing.
        DataError: if it is damaged or holds anything else.
    """
    names = [f"{name}_{part}" for name in SPLITS for part in ("images", "labels")]
    arrays = read_arrays(path, names)
    return Dataset(**{name: _examples(arrays, name, path) for name in SPLITS})


def _examples(arrays: Mapping[str, NDArray[Any]], name: str, path: Path) -> Examples:
    images, labels = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    if (
        images.ndim != 3
        or labels.shape != images.shape[:1]
        or {images.dtype, labels.dtype} != {np.dtype(np.uint8)}
    ):
        held = f"{images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
        raise damaged(path, f"{name} holds {held}, which are not images with their labels")
    return Examples(images, labels)
