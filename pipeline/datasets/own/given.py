"""What files of the user's own hold, whatever their kind, and how that is told where it is wrong.

Nothing is changed or left out in silence: what is not clearly an example is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.picture_file import printable_path
from pipeline.errors import DataError, ParamsError, one_line

# Of a file's examples, once they are read: training holds all of them in memory.
MOST_BYTES = 2 * 2**30
_LONGEST_NAME = 100
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_CHANNELS = (1, 3)


@dataclass(frozen=True, eq=False)
class Part:
    """The training or the test examples of a file.

    Attributes:
        inputs: as those of `Examples`.
        labels: [examples], the name of each example's class.
    """

    inputs: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.str_]

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Given:
    """All examples of a file.

    Attributes:
        training: to learn from, and to draw other splits from.
        test: None if the file has none.
        features: the names of the features; none of images.
    """

    training: Part
    test: Part | None
    features: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Part]:
        """The parts by their names."""
        return {"train": self.training} | ({"test": self.test} if self.test else {})


def data_error(path: Path, fault: str) -> DataError:
    """Returns the error for a file or folder that has a fault."""
    return DataError(f"{printable_path(path)} {fault}")


def params_error(key: str, rule: str) -> ParamsError:
    """Returns the error for a key of the block `data` that breaks a rule."""
    return ParamsError(f"`{key}` {rule} (params.yaml, data)")


def as_images(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Returns images [examples, height, width] or [examples, height, width, 3] as bytes.

    Takes numbers that are bytes, whatever their type, or bytes divided by 255.

    Args:
        values: with a last dimension of 1 or 3 where there is a fourth one.
        where: they stand, for messages.

    Raises:
        DataError: if they are anything else, since rounding them would change the examples.
    """
    if values.ndim == 4 and values.shape[-1] not in _CHANNELS:
        raise DataError(
            f"{where} is {list(values.shape)}: pictures are [examples, height, width], or "
            "[examples, height, width, 3] in colour"
        )
    _expect_numbers(values, where)
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.dtype == np.uint8:
        return values
    unit = values.dtype.kind == "f" and values.size > 0 and values.max() <= 1
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.round(values * 255) if unit else values
        images = scaled.astype(np.uint8)
        # Divided as the values would have been: the comparison is exact.
        again = images / values.dtype.type(255) if unit else images
    if not np.array_equal(again, values):
        raise DataError(
            f"{where} holds pixels that are neither bytes nor bytes divided by 255: save "
            "(255 * x).round().astype('uint8'), or x.reshape(len(x), -1) as features"
        )
    return images


def as_features(values: NDArray[Any], where: str, names: Iterable[str] = ()) -> NDArray[np.float32]:
    """Returns features [examples, features] as float32.

    Args:
        values: numbers, in two dimensions.
        where: they stand, for messages.
        names: of the features, if `values` is a table.

    Raises:
        DataError: if one is not finite in float32; the message names its place.
    """
    _expect_numbers(values, where)
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(values, np.float32)
    unfit = ~np.isfinite(features)
    if unfit.any():
        row, column = (int(place) for place in np.argwhere(unfit)[0])
        value, named = values[row, column], list(names)
        held = f"{where}[{row}, {column}] is {value}"
        if named:
            place = f"row {row + 1} of the data, column {one_line(named[column])!r}"
            held = f"{where} has {value} in {place}"
        raise DataError(
            f"{held}, not a finite number of 32 bits: correct it, or leave the example out"
        )
    return features


def as_labels(values: NDArray[Any], where: str) -> NDArray[np.str_]:
    """Returns labels [examples] as text; whole numbers are written as such.

    Raises:
        DataError: if they are neither text nor whole numbers.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"{where} is {list(values.shape)}: labels are [examples]; of one column for each class "
            "take y.argmax(axis=1)"
        )
    whole = values.dtype.kind == "f" and np.array_equal(values, np.trunc(values))
    # Beyond, not every whole number is one of 64 bits.
    if whole and np.abs(values).max(initial=0) < 2**53:
        values = values.astype(np.int64)
    if values.dtype.kind not in "biuU":
        raise DataError(f"{where} holds labels that are neither text nor whole numbers")
    return values.astype(np.str_)


def class_names(given: Given, path: Path) -> tuple[str, ...]:
    """Returns the names of the classes, in an order that does not depend on that of the examples.

    Numbers are in the order of numbers, and text in that of its characters.

    Raises:
        DataError: if there are too few or too many, or a name cannot be shown.
    """
    names = np.unique(np.concatenate([np.unique(part.labels) for part in given.parts.values()]))
    classes = [str(name) for name in names]
    if len(classes) == 1:
        raise data_error(path, f"has one class only, {one_line(classes[0])!r}")
    if len(classes) > 256:
        raise data_error(
            path, f"has {len(classes)} classes, and 256 are the most: are these labels?"
        )
    for name in classes:
        if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise data_error(
                path,
                f"has a class with the name {one_line(repr(name))}: names are "
                f"1 to {_LONGEST_NAME} characters that can be shown",
            )
    if all(_NUMBER.fullmatch(name) for name in classes):
        classes.sort(key=lambda name: (float(name), name))
    return tuple(classes)


def _expect_numbers(values: NDArray[Any], where: str) -> None:
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where} holds {values.dtype}, not numbers")
