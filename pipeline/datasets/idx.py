"""The IDX format, in which MNIST was published.

A file is two zero bytes, a type, the number of dimensions, each dimension as a big-endian 32-bit
integer, then the values, rows first (LeCun, Cortes & Burges, "The MNIST database").
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.files import missing

GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_CLASSES = 10
# A third more than MNIST's largest file: stops a forged header and a gzip bomb.
_MOST_BYTES = 64 * 2**20


class Labelled(NamedTuple):
    """Images [examples, height, width] and their labels [examples], both uint8, as published."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def read_examples(images_path: Path, labels_path: Path) -> Labelled:
    """Returns the images and labels of two IDX files, gzipped or not.

    Raises:
        DataError: if either file is damaged or they do not belong together.
    """
    images = read_array(images_path, dimensions=3)
    labels = read_array(labels_path, dimensions=1)
    if len(images) != len(labels):
        message = f"{labels_path.name} has {len(labels)} labels for {len(images)} images"
        raise DataError(message)
    if images.size == 0:
        raise DataError(f"{images_path.name} holds no images")
    if labels.max() >= _CLASSES:
        index = int(np.argmax(labels >= _CLASSES))
        raise DataError(f"{labels_path.name} has label {labels[index]} at index {index}")
    return Labelled(images, labels)


def read_array(path: Path, *, dimensions: int, most_bytes: int = _MOST_BYTES) -> NDArray[np.uint8]:
    """Returns the array [d0, d1, …] of unsigned bytes in one IDX file, gzipped or not.

    Raises:
        DataError: if the file is damaged; the message names the file and the fault.
    """
    try:
        with open_unpacked(path) as file:
            return array_in(file, path.name, dimensions=dimensions, most_bytes=most_bytes)
    except FileNotFoundError:
        raise missing(path) from None


def open_unpacked(path: Path) -> BufferedIOBase:
    """Returns a file, open at its beginning, that yields unpacked bytes whether gzipped or not."""
    with path.open("rb") as file:
        is_gzip = file.read(len(GZIP)) == GZIP
    return gzip.open(path) if is_gzip else path.open("rb")


def array_in(
    file: BufferedIOBase, name: str, *, dimensions: int, most_bytes: int = _MOST_BYTES
) -> NDArray[np.uint8]:
    """Returns the array [d0, d1, …] of unsigned bytes in an open IDX file.

    Args:
        file: open at its beginning; reading it yields unpacked bytes.
        name: the file's name, for messages.
        dimensions: how many the array must have.
        most_bytes: that it may have.

    Raises:
        DataError: if the file is damaged; the message names the file and the fault.
    """
    try:
        shape = _read_header(file, name, dimensions, most_bytes)
        expected = math.prod(shape)
        # Read one byte more than promised, to notice trailing bytes.
        values = file.read(expected + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name} is damaged: {error}") from None
    if len(values) != expected:
        held = "more" if len(values) > expected else f"{len(values)} bytes"
        raise DataError(f"{name} promises {expected} bytes of values and holds {held}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read_header(
    file: BufferedIOBase, name: str, dimensions: int, most_bytes: int
) -> tuple[int, ...]:
    size = 4 * (1 + dimensions)
    header = file.read(size)
    if len(header) < size:
        raise DataError(f"{name} ends within its header of {size} bytes")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    expected = _UNSIGNED_BYTE << 8 | dimensions
    if magic != expected:
        message = f"{name} has magic number 0x{magic:08x}, expected 0x{expected:08x}"
        raise DataError(message)
    # Count a dimension of 0 as 1: NumPy rejects a shape whose other dimensions are too large.
    if math.prod(max(size, 1) for size in shape) > most_bytes:
        message = f"{name} claims {shape} values, more than {most_bytes // 2**20} MB"
        raise DataError(message)
    return tuple(shape)
