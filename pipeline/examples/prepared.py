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
    """Writes the three splits and the names of classes and features."""
    splits = {name: getattr(dataset, name) for name in SPLITS}
    write_arrays(
        path,
        {f"{name}_inputs": examples.inputs for name, examples in splits.items()}
        | {f"{name}_labels": examples.labels for name, examples in splits.items()}
        | {"classes": np.array(dataset.classes, str), "features": np.array(dataset.features, str)},
    )


def read_prepared(path: Path = PREPARED_FILE) -> Dataset:
    """Returns the dataset that `write_prepared` wrote.

    Raises:
        MissingInputError: if the file is missing.
        DataError: if it is damaged or holds anything else.
    """
    names = [f"{name}_{part}" for name in SPLITS for part in ("inputs", "labels")]
    arrays = read_arrays(path, (*names, "classes", "features"))
    classes, features = (_names(arrays, part, path) for part in ("classes", "features"))
    splits = {name: _examples(arrays, name, path) for name in SPLITS}
    shape = (len(features),) if features else splits["train"].inputs.shape[1:]
    for name, examples in splits.items():
        if examples.inputs.shape[1:] != shape:
            raise damaged(path, f"{name} holds inputs of {examples.inputs.shape[1:]}, not {shape}")
        if len(examples) and examples.labels.max() >= len(classes):
            raise damaged(path, f"{name} has more than {len(classes)} classes")
    return Dataset(**splits, classes=classes, features=features)


def _names(arrays: Mapping[str, NDArray[Any]], part: str, path: Path) -> tuple[str, ...]:
    names = arrays[part]
    if names.ndim != 1 or names.dtype.kind != "U":
        raise damaged(path, f"{part} holds {names.dtype} {names.shape}, which are not names")
    return tuple(names.tolist())


def _examples(arrays: Mapping[str, NDArray[Any]], name: str, path: Path) -> Examples:
    inputs, labels = arrays[f"{name}_inputs"], arrays[f"{name}_labels"]
    dtype = np.float32 if inputs.ndim == 2 else np.uint8
    if (
        inputs.ndim not in (2, 3, 4)
        or inputs.dtype != dtype
        or labels.shape != inputs.shape[:1]
        or labels.dtype != np.uint8
    ):
        held = f"{inputs.dtype} {inputs.shape} and {labels.dtype} {labels.shape}"
        raise damaged(path, f"{name} holds {held}, which are not examples with their labels")
    return Examples(inputs, labels)
