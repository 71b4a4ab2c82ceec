"""Arrays in an `.npz`: `x_train` and `y_train`, and `x_test` and `y_test` if there are such."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.own.given import (
    MOST_BYTES,
    Given,
    Part,
    as_features,
    as_images,
    as_labels,
    data_error,
    printable_path,
)
from pipeline.errors import DataError, one_line
from pipeline.files import NPZ_ERRORS, read_member

_TRAINING, _TEST = ("x_train", "y_train"), ("x_test", "y_test")
_UNLABELLED = ("x", "x_test")


def read(path: Path) -> Given:
    """Returns the examples; inputs are pictures in three or four dimensions, features in two.

    Features are named x0, x1 and so on.

    Raises:
        DataError: if the file holds anything else.
    """
    arrays = _arrays(path, lambda held: _labelled(held, path))
    training = _part(arrays, _TRAINING, path)
    test = _part(arrays, _TEST, path) if _TEST[0] in arrays else None
    count = training.inputs.shape[1] if training.inputs.ndim == 2 else 0
    return Given(training, test, tuple(f"x{i}" for i in range(count)))


def read_inputs(path: Path) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Returns examples without labels: the array `x`, or `x_test` where there is none.

    Raises:
        DataError: if the file has neither, or holds anything but pictures or features there.
    """
    ((name, values),) = _arrays(path, lambda held: [_unlabelled(held, path)]).items()
    inputs = _inputs(values, f"{printable_path(path)}: {name}")
    if not len(inputs):
        raise data_error(path, "holds no examples")
    return inputs


def _arrays(
    path: Path, choose: Callable[[Iterable[str]], Iterable[str]]
) -> dict[str, NDArray[Any]]:
    """Returns the arrays that `choose` takes from the names of all."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {one.filename.removesuffix(".npy"): one.file_size for one in archive.infolist()}
            names = choose(sizes)
            if sum(sizes[name] for name in names) > MOST_BYTES:
                raise data_error(path, "unpacks to more than 2 GB: give fewer examples")
            return {name: read_member(archive, name) for name in names}
    except NPZ_ERRORS as error:
        raise data_error(
            path,
            f"cannot be read: {one_line(error)}; write it with numpy.savez, from "
            "arrays of numbers or text",
        ) from None


def _labelled(held: Iterable[str], path: Path) -> tuple[str, ...]:
    names = _TRAINING + (_TEST if set(_TEST) & set(held) else ())
    for name in names:
        if name not in held:
            raise _lacks(path, name, held)
    return names


def _unlabelled(held: Iterable[str], path: Path) -> str:
    for name in _UNLABELLED:
        if name in held:
            return name
    raise _lacks(path, " or ".join(_UNLABELLED), held)


def _lacks(path: Path, name: str, held: Iterable[str]) -> DataError:
    there = one_line(", ".join(sorted(held))) or "none"
    return data_error(path, f"has no array {name}; its arrays are {there}")


def _part(arrays: dict[str, NDArray[Any]], names: tuple[str, str], path: Path) -> Part:
    values = arrays[names[0]]
    where, labelled = (f"{printable_path(path)}: {name}" for name in names)
    return Part(_inputs(values, where), as_labels(arrays[names[1]], labelled))


def _inputs(values: NDArray[Any], where: str) -> NDArray[np.uint8] | NDArray[np.float32]:
    if values.ndim not in (2, 3, 4):
        raise DataError(
            f"{where} is {list(values.shape)}: pictures are [examples, height, width] or "
            "[examples, height, width, 3], features [examples, features]"
        )
    return as_features(values, where) if values.ndim == 2 else as_images(values, where)
