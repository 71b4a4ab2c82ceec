"""Reads a picture that somebody else saved: in a safe format, of bounded size, the right way up."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import DataError, one_line

# Pillow reads more formats. One of them is EPS, which it hands to another program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
MOST_BYTES = 64 * 2**20
# Reading takes up to 17 bytes a pixel, with the copies that Pillow makes of a WebP.
_MOST_PIXELS = 50_000_000
# What Pillow was seen to raise for files that are cut short or have flipped bytes.
_DAMAGED = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, struct.error, zlib.error,
    OverflowError, RuntimeError, MemoryError, AttributeError,
)  # fmt: skip


def printable_path(path: Path) -> str:
    """Returns the path in one line that a terminal can show."""
    return one_line(click.format_filename(path))


def read_colors(path: Path) -> NDArray[np.uint8]:
    """Returns a picture [height, width, 3] in red, green and blue; what is transparent is white.

    Raises:
        DataError: if it is no picture, damaged, or unreasonably large.
    """
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{printable_path(path)} is larger than 64 MB: give a smaller one")
    try:
        with told_in_a_line(path):
            picture = upright(path)
            if picture.mode in {"RGBA", "LA", "PA"}:
                paper = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(paper, picture.convert("RGBA"))
            return np.asarray(picture.convert("RGB"))
    except UnidentifiedImageError:
        raise DataError(f"{printable_path(path)} is not a picture ({', '.join(FORMATS)})") from None


@contextmanager
def told_in_a_line(path: Path) -> Iterator[None]:
    """Turns what Pillow raises while it reads a picture into errors of one line.

    Raises:
        UnidentifiedImageError: if the file is no picture, as Pillow does.
        DataError: if it is damaged, or unreasonably large.
    """
    try:
        yield
    except UnidentifiedImageError:
        raise
    except Image.DecompressionBombError:
        raise DataError(
            f"{printable_path(path)} decompresses to more than 50 million pixels: "
            "give a smaller one"
        ) from None
    except _DAMAGED as error:
        raise DataError(
            f"{printable_path(path)} is damaged: {one_line(error)}; save the picture again"
        ) from None


def upright(path: Path, *, fewer_bits: bool = False) -> Image.Image:
    """Returns the picture the right way up, in a mode that can be scaled down.

    Levels of 16 bits become 8, the highest ones. With `fewer_bits` they are the highest of those
    that the picture uses, as some cameras save 12 bits as 16.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as file:
            # Pillow's own limit is higher.
            if file.width * file.height > _MOST_PIXELS:
                raise Image.DecompressionBombError
            ImageOps.exif_transpose(file, in_place=True)
            file.load()
            if file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PPM"):
                # Pillow would clip 16 bits at 255.
                used = max(8, int(np.asarray(file).max()).bit_length()) if fewer_bits else 16
                return file.point(lambda level: level / 2 ** (used - 8)).convert("L")
            if file.mode in ("I", "F"):
                raise DataError(
                    f"{printable_path(path)} has pixels of 32 bits: save the picture with 8 or 16"
                )
            # Palette indices cannot be averaged, nor can a colour that stands for transparency.
            if file.mode in ("1", "P", "PA") or "transparency" in file.info:
                return file.convert("RGBA")
            return file
