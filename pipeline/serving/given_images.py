"""Reads the images that people pass in: pictures of one example, and IDX files of many images."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.datasets import idx
from pipeline.datasets.picture_file import (
    FORMATS,
    printable_path,
    read_colors,
    told_in_a_line,
    upright,
)
from pipeline.errors import DataError, one_line
from pipeline.serving.drawings import is_blank
from pipeline.serving.files import beginning

# How a picture is read: the brightness of ink on a background, or as it is, in grey or in colour.
Mode = Literal["ink", "L", "RGB"]
# No digit that we know of needs more pixels a side.
_LONGEST_SIDE = 1000
# The beginning of an IDX file of bytes in one dimension.
_LABELS = b"\0\0\x08\x01"


@dataclass(frozen=True, eq=False)
class GivenImages:
    """The images of a file.

    Attributes:
        images: [images, height, width], uint8; of a picture in colour, [1, height, width, 3].
        is_picture: whether the file is a picture, of any size.
        left_out: how many further images the file holds.
    """

    images: NDArray[np.uint8]
    is_picture: bool
    left_out: int = 0


def read_images(path: Path, first: int, mode: Mode) -> GivenImages:
    """Returns the image of a picture, or the `first` images of an IDX file.

    Raises:
        MissingInputError: if the file is not there, or may not be read.
        ArgumentError: if it is not a regular file.
        DataError: if it is neither a picture, in mode `ink` with something on it, nor an IDX file
            of images.
    """
    start = beginning(path, "a picture, an IDX file or an .npz")
    if start.startswith(idx.GZIP) or _is_idx(start):
        return _read_idx(path, first)
    try:
        picture = _ink(path) if mode == "ink" else _as_it_is(path, mode)
    except UnidentifiedImageError:
        formats = ", ".join(FORMATS)
        raise DataError(
            f"{printable_path(path)} is neither a picture ({formats}) nor an IDX file"
        ) from None
    return GivenImages(picture[None], is_picture=True)


def _is_idx(start: bytes) -> bool:
    # Two zero bytes, a type, the number of dimensions. Icons start alike, but with a type of 1 or
    # 2, which IDX does not have.
    return len(start) == 4 and start[:2] == b"\0\0" and 8 <= start[2] <= 14


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
    return GivenImages(images[:first], is_picture=False, left_out=left_out)


def _as_it_is(path: Path, mode: Mode) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(read_colors(path)).convert(mode))


def _ink(path: Path) -> NDArray[np.uint8]:
    """Returns the picture's brightness, [height, width], on a background that shows its ink."""
    with told_in_a_line(path):
        picture = upright(path, fewer_bits=True)
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        picture = picture.convert("RGBA")
    for paper in ("white", "black"):
        # White ink on a transparent background shows on black only.
        background = Image.new("RGBA", picture.size, paper)
        seen = Image.alpha_composite(background, picture).convert("RGB")
        # Ink of another colour may be as bright as its background.
        for channel in (seen.convert("L"), *seen.split()):
            if not is_blank(brightness := np.asarray(channel)):
                return brightness
    first = "its first frame" if _has_frames(path) else "it"
    raise DataError(
        f"{printable_path(path)} shows no digit: {first} is blank, or too faint; draw a digit on "
        "it, away from its border"
    )


def _has_frames(path: Path) -> bool:
    with Image.open(path, formats=FORMATS) as file:
        return getattr(file, "n_frames", 1) > 1
