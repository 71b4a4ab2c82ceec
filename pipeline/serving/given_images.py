"""Reads the images that people pass in: pictures of one digit, and IDX files of many images."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.datasets import idx
from pipeline.datasets.picture_file import (
    FORMATS,
    MOST_BYTES,
    printable_path,
    told_in_a_line,
    upright,
)
from pipeline.errors import ArgumentError, DataError, MissingInputError, one_line
from pipeline.serving.drawings import is_blank

# No digit that we know of needs more pixels a side.
_LONGEST_SIDE = 1000
# The beginning of an IDX file of bytes in one dimension.
_LABELS = b"\0\0\x08\x01"


@dataclass(frozen=True, eq=False)
class GivenImages:
    """The images of a file.

    Attributes:
        path: of the file.
        images: [images, height, width], uint8.
        is_picture: whether the file is a picture, which a model cannot take before `as_example`.
        left_out: how many further images the file holds.
    """

    path: Path
    images: NDArray[np.uint8]
    is_picture: bool
    left_out: int = 0

    @property
    def names(self) -> list[str]:
        """A name for each image, to show to people."""
        name = printable_path(self.path)
        return [name] if self.is_picture else [f"{name}[{i}]" for i in range(len(self.images))]


def read_images(path: Path, first: int) -> GivenImages:
    """Returns the image of a picture, or the `first` images of an IDX file.

    Raises:
        MissingInputError: if the file is not there, or may not be read.
        ArgumentError: if it is not a regular file.
        DataError: if it is neither a picture with something on it nor an IDX file of images.
    """
    try:
        beginning = _beginning(path)
    except OSError as error:
        raise MissingInputError(
            f"{printable_path(path)} cannot be read: {error.strerror}"
        ) from None
    if beginning.startswith(idx.GZIP) or _is_idx(beginning):
        return _read_idx(path, first)
    return GivenImages(path, _read_picture(path)[None], is_picture=True)


def _beginning(path: Path) -> bytes:
    if path.is_dir():
        raise ArgumentError(f"{printable_path(path)} is a folder: name the pictures in it")
    if not path.exists():
        raise MissingInputError(
            f"{printable_path(path)} is not here: name a picture, or an IDX file"
        )
    if not path.is_file():
        raise ArgumentError(
            f"{printable_path(path)} is not a regular file: save its content in one"
        )
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{printable_path(path)} is larger than 64 MB: give a smaller one")
    with path.open("rb") as file:
        return file.read(4)


def _is_idx(beginning: bytes) -> bool:
    # Two zero bytes, a type, the number of dimensions. Icons start alike, but with a type of 1 or
    # 2, which IDX does not have.
    return len(beginning) == 4 and beginning[:2] == b"\0\0" and 8 <= beginning[2] <= 14


def _read_idx(path: Path, first: int) -> GivenImages:
    try:
        with idx.open_unpacked(path) as file:
            has_labels = file.read(4) == _LABELS
            file.seek(0)
            images = None if has_labels else idx.array_in(file, printable_path(path), dimensions=3)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{printable_path(path)} is damaged: {one_line(error)}; get it again"
        ) from None
    except DataError as error:
        raise DataError(f"{error}; get it again") from None
    if images is None:
        raise DataError(f"{printable_path(path)} holds labels: give the file of their images")
    if images.size == 0:
        raise DataError(f"{printable_path(path)} holds no images")
    left_out = max(0, len(images) - first)
    return GivenImages(path, images[:first], is_picture=False, left_out=left_out)


def _read_picture(path: Path) -> NDArray[np.uint8]:
    """Returns the picture's brightness, [height, width], on a background that shows its ink."""
    try:
        with told_in_a_line(path):
            picture = upright(path)
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            picture = picture.convert("RGBA")
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise DataError(
            f"{printable_path(path)} is neither a picture ({formats}) nor an IDX file"
        ) from None
    for paper in ("white", "black"):
        # White ink on a transparent background shows on black only.
        background = Image.new("RGBA", picture.size, paper)
        grey = np.asarray(Image.alpha_composite(background, picture).convert("L"))
        if not is_blank(grey):
            return grey
    raise DataError(
        f"{printable_path(path)} is blank, or too faint: draw a digit on it, away from its border"
    )
