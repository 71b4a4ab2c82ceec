"""Images that people hand in: pictures of one digit, and IDX files of many."""

from __future__ import annotations

import gzip
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.datasets import idx
from pipeline.errors import ArgumentError, DataError, MissingInputError, one_line
from pipeline.serving.drawings import is_blank

# Pillow reads more, EPS among them, which it hands to another program.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
# A digit of a larger file, or one drawn with more pixels, is none that we know.
_MOST_BYTES = 64 * 2**20
_MOST_PIXELS = 1000
# What is read takes up to 17 bytes a pixel, with the copies that Pillow makes of a WebP.
_MOST_UNFOLDED = 50_000_000
_GZIP = b"\x1f\x8b"
# As an IDX file of bytes in one dimension begins.
_LABELS = b"\0\0\x08\x01"
# What Pillow was seen to raise for files cut short or with flipped bytes.
_NO_PICTURE = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, struct.error, zlib.error,
    OverflowError, RuntimeError, MemoryError, AttributeError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class GivenImages:
    """What a file holds.

    Attributes:
        path: of the file.
        images: [images, height, width], uint8.
        drawn: whether it is a picture, which is not yet as a model takes it.
        left_out: how many further images the file holds.
    """

    path: Path
    images: NDArray[np.uint8]
    drawn: bool
    left_out: int = 0

    @property
    def names(self) -> list[str]:
        """What to call each image, for people."""
        name = shown(self.path)
        return [name] if self.drawn else [f"{name}[{place}]" for place in range(len(self.images))]


def read_images(path: Path, first: int) -> GivenImages:
    """Returns the images of a file, of an IDX file the first ones.

    Raises:
        MissingInputError: if it is not there, or may not be read.
        ArgumentError: if it is no file.
        DataError: if it is no picture with something on it, and no IDX file of images.
    """
    try:
        beginning = _beginning(path)
    except OSError as error:
        raise MissingInputError(f"{shown(path)} cannot be read: {error.strerror}") from None
    if beginning.startswith(_GZIP):
        return _read_idx(path, first, packed=True)
    if _is_idx(beginning):
        return _read_idx(path, first, packed=False)
    return GivenImages(path, _read_picture(path)[None], drawn=True)


def shown(path: Path) -> str:
    """Returns the path as it can be printed, in one line."""
    return one_line(click.format_filename(path))


def _beginning(path: Path) -> bytes:
    if path.is_dir():
        raise ArgumentError(f"{shown(path)} is a folder: name the pictures in it")
    if not path.exists():
        raise MissingInputError(f"{shown(path)} is not here: name a picture, or an IDX file")
    if not path.is_file():
        raise ArgumentError(f"{shown(path)} is no file: save what it gives as one")
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{shown(path)} is larger than 64 MB: give a smaller one")
    with path.open("rb") as file:
        return file.read(4)


def _is_idx(beginning: bytes) -> bool:
    # Two zero bytes, a type, a number of dimensions. No type is 1 or 2, as in icons.
    return len(beginning) == 4 and beginning[:2] == b"\0\0" and 8 <= beginning[2] <= 14


def _read_idx(path: Path, first: int, *, packed: bool) -> GivenImages:
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            labels = file.read(4) == _LABELS
            file.seek(0)
            images = None if labels else idx.array_in(file, shown(path), dimensions=3)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{shown(path)} is damaged: {one_line(error)}; get it anew") from None
    except DataError as error:
        raise DataError(f"{error}; get it anew") from None
    if images is None:
        raise DataError(f"{shown(path)} holds labels: give the file of their images")
    if images.size == 0:
        raise DataError(f"{shown(path)} holds no images")
    return GivenImages(path, images[:first], drawn=False, left_out=max(0, len(images) - first))


def _read_picture(path: Path) -> NDArray[np.uint8]:
    """Returns the picture's brightness, [height, width], whatever lets the ground through."""
    try:
        picture = _opened(path)
    except UnidentifiedImageError:
        formats = ", ".join(_FORMATS)
        raise DataError(f"{shown(path)} is no picture ({formats}) and no IDX file") from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{shown(path)} unfolds to more than 50 million pixels: give a smaller one"
        ) from None
    except _NO_PICTURE as error:
        raise DataError(
            f"{shown(path)} is damaged: {one_line(error)}; save the picture anew"
        ) from None
    for paper in ("white", "black"):
        # White ink on nothing is seen on black only.
        ground = Image.new("RGBA", picture.size, paper)
        grey = np.asarray(Image.alpha_composite(ground, picture).convert("L"))
        if not is_blank(grey):
            return grey
    raise DataError(
        f"{shown(path)} is blank, or too faint: draw a digit on it, away from its border"
    )


def _opened(path: Path) -> Image.Image:
    """Returns the picture as RGBA, no larger than is of use."""
    picture = _upright(path)
    picture.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    return picture.convert("RGBA")


def _upright(path: Path) -> Image.Image:
    """Returns the picture as it is to be looked at, in a mode that can be made smaller."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_FORMATS) as file:
            # Pillow's own limit is higher.
            if file.width * file.height > _MOST_UNFOLDED:
                raise Image.DecompressionBombError
            ImageOps.exif_transpose(file, in_place=True)
            file.load()
            if file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PPM"):
                # 16 bits, which Pillow would cut off at 255.
                return file.point(lambda level: level / 256).convert("L")
            if file.mode in ("I", "F"):
                raise DataError(
                    f"{shown(path)} has pixels of 32 bits: save the picture with 8 or 16"
                )
            # Neither a place in a palette nor a colour that stands for nothing can be averaged.
            if file.mode in ("1", "P", "PA") or "transparency" in file.info:
                return file.convert("RGBA")
            return file
