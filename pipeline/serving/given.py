"""Reads what people pass in for a model to judge, as the model takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.datasets.own import arrays
from pipeline.datasets.picture_file import printable_path
from pipeline.errors import DataError
from pipeline.serving.drawings import as_example
from pipeline.serving.files import beginning
from pipeline.serving.given_images import Mode, read_images
from pipeline.serving.given_rows import read_rows
from pipeline.tracking.trained_on import TrainedOn

_MODES: dict[int, Mode] = {1: "L", 3: "RGB"}


@dataclass(frozen=True, eq=False)
class Given:
    """The examples of a file.

    Attributes:
        path: of the file.
        inputs: [examples, ...], as in `Examples.inputs`.
        is_single: whether the file holds one example, as a picture does.
        is_table: whether the examples are the rows of a table, which people count from 1.
        left_out: how many further examples it holds.
        unknown: the columns of a table that the model does not know.
    """

    path: Path
    inputs: NDArray[np.uint8] | NDArray[np.float32]
    is_single: bool = False
    is_table: bool = False
    left_out: int = 0
    unknown: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """A name for each example, to show to people."""
        name, places = printable_path(self.path), range(len(self.inputs))
        if self.is_single:
            return [name]
        return [f"{name}, row {i + 1}" if self.is_table else f"{name}[{i}]" for i in places]


def read_all(
    paths: Sequence[Path], first: int, data: TrainedOn
) -> tuple[list[Given], list[DataError]]:
    """Returns what `read_given` reads of each file, and the errors of those that are of no use.

    Raises:
        MissingInputError: if a file is not there, or may not be read.
        ArgumentError: if one is not a regular file.
    """
    given, refused = [], []
    for path in paths:
        try:
            given.append(read_given(path, first, data))
        except DataError as error:
            refused.append(error)
    return given, refused


def read_given(path: Path, first: int, data: TrainedOn) -> Given:
    """Returns the example of a picture, or the `first` examples of any other file.

    Raises:
        MissingInputError: if the file is not there, or may not be read.
        ArgumentError: if it is not a regular file.
        DataError: if it holds no examples such as the model was trained on.
    """
    if path.suffix.lower() == ".npz":
        return _of_arrays(path, first, data)
    if data.features:
        rows = read_rows(path, first, data.features)
        return Given(
            path, rows.features, is_table=True, left_out=rows.left_out, unknown=rows.unknown
        )
    given = read_images(path, first, _mode(path, data))
    if given.is_picture:
        return Given(path, _example(given.images[0], data)[None], is_single=True)
    return Given(path, _fitting(path, given.images, data), left_out=given.left_out)


def _of_arrays(path: Path, first: int, data: TrainedOn) -> Given:
    beginning(path, "an .npz")
    inputs = arrays.read_inputs(path)
    left_out = max(0, len(inputs) - first)
    if not data.features:
        return Given(path, _fitting(path, inputs[:first], data), left_out=left_out)
    if inputs.shape[1:] != data.shape:
        raise DataError(
            f"{printable_path(path)} has examples of {list(inputs.shape[1:])}, the model takes "
            f"{list(data.shape)}, a value for each feature"
        )
    return Given(path, inputs[:first], left_out=left_out)


def _mode(path: Path, data: TrainedOn) -> Mode:
    if _is_of_digits(data):
        return "ink"
    channels = data.shape[2] if len(data.shape) > 2 else 1
    if channels not in _MODES:
        raise DataError(
            f"{printable_path(path)} is of no use: the model takes images of {channels} channels, "
            "which no picture has"
        )
    return _MODES[channels]


def _is_of_digits(data: TrainedOn) -> bool:
    return data.dataset in ("mnist", "digits")


def _example(picture: NDArray[np.uint8], data: TrainedOn) -> NDArray[np.uint8]:
    """Returns a picture in the shape of the model's examples."""
    height, width = data.shape[:2]
    if _is_of_digits(data):
        return as_example(picture, (height, width))
    # Averages over equal parts, as drawings of digits are scaled.
    scaled = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)
    return np.asarray(scaled).reshape(data.shape)


def _fitting(path: Path, images: NDArray[Any], data: TrainedOn) -> NDArray[Any]:
    """Returns images of an IDX file or an array, which are taken as they are."""
    if images.shape[1:] != data.shape and (*images.shape[1:], 1) != data.shape:
        has, takes = (" by ".join(map(str, sides)) for sides in (images.shape[1:], data.shape))
        raise DataError(
            f"{printable_path(path)} has images of {has} pixels, the model takes {takes}: "
            "give another file, or single pictures, which are scaled"
        )
    return images.reshape(-1, *data.shape)
