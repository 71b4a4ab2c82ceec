"""Reads the images that people pass in: pictures of one example, and IDX files of many images."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.datasets import idx
from pipeline.errors import DataError, one_line
from pipeline.serving.drawings import is_blank
from pipeline.serving.files import beginning, printable_path

# Pillow reads more formats. One of them is EPS, which it hands to another program.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
# How a picture is read: the brightness of ink on a background, or as it is, in grey or in colour.
Mode = Literal["ink", "L", "RGB"]
# No example that we know of needs more pixels a side.
_LONGEST_SIDE = 1000
# Reading takes up to 17 bytes a pixel, with the copies that Pillow makes of a WebP.
_MOST_PIXELS = 50_000_000
# The beginning of an IDX file of bytes in one dimension.
_LABELS = b"\0\0\x08\x01"
# What Pillow was seen to raise for files that are cut short or have flipped bytes.
_DAMAGED = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, struct.error, zlib.error,
    OverflowError, RuntimeError, MemoryError, AttributeError,
)  # fmt: skip


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
    start = beginning(path, "a picture, or an IDX file")
    if start.startswith(idx.GZIP) or _is_idx(start):
        return _read_idx(path, first)
    picture = _read_picture(path)
    drawn = _ink(path, picture) if mode == "ink" else np.asarray(_on("white", picture, mode))
    return GivenImages(drawn[None], is_picture=True)


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


def _read_picture(path: Path) -> Image.Image:
    """Returns the picture with its transparency, no larger than any example."""
    try:
        picture = _upright(path)
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        return picture.convert("RGBA")
    except UnidentifiedImageError:
        formats = ", ".join(_FORMATS)
        raise DataError(
            f"{printable_path(path)} is neither a picture ({formats}) nor an IDX file"
        ) from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{printable_path(path)} decompresses to more than 50 million pixels: "
            "give a smaller one"
        ) from None
    except _DAMAGED as error:
        raise DataError(
            f"{printable_path(path)} is damaged: {one_line(error)}; save the picture again"
        ) from None


def _ink(path: Path, picture: Image.Image) -> NDArray[np.uint8]:
    """Returns the picture's brightness, [height, width], on a background that shows its ink."""
    for paper in ("white", "black"):
        # White ink on a transparent background shows on black only.
        grey = np.asarray(_on(paper, picture, "L"))
        if not is_blank(grey):
            return grey
    raise DataError(
        f"{printable_path(path)} is blank, or too faint: draw a digit on it, away from its border"
    )


def _on(paper: str, picture: Image.Image, mode: str) -> Image.Image:
    background = Image.new("RGBA", picture.size, paper)
    return Image.alpha_composite(background, picture).convert(mode)


def _upright(path: Path) -> Image.Image:
    """Returns the picture the right way up, in a mode that can be scaled down."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_FORMATS) as file:
            # Pillow's own limit is higher.
            if file.width * file.height > _MOST_PIXELS:
                raise Image.DecompressionBombError
            ImageOps.exif_transpose(file, in_place=True)
            file.load()
            if file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PPM"):
                # Pillow would clip 16 bits at 255.
                return file.point(lambda level: level / 256).convert("L")
            if file.mode in ("I", "F"):
                raise DataError(
                    f"{printable_path(path)} has pixels of 32 bits: save the picture with 8 or 16"
                )
            # Palette indices cannot be averaged, nor can a colour that stands for transparency.
            if file.mode in ("1", "P", "PA") or "transparency" in file.info:
                return file.convert("RGBA")
            return file
