"""Drawn digits, made into what a model was trained on, as MNIST was made from scans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BRIGHTEST = 255
# Levels by which ink differs from its ground at least: what compression leaves of nothing is less.
_FAINTEST = 16
# The share of the darkest ink from which on a pixel counts for the size of a digit.
_SEEN = 0.1
# By the side of an image: the box that its digits fit, and where their centres of mass are, pixels
# counted from 0. All of MNIST's are in [13.5, 14.5); scikit-learn's digits fill their images.
_PLACING = {28: (20, 14.0), 8: (8, 3.5)}


def is_blank(picture: NDArray[np.uint8]) -> bool:
    """Returns whether nothing in a picture [height, width] differs from its border."""
    return float(np.abs(picture - _ground(picture)).max()) < _FAINTEST


def as_example(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns a picture [height, width] as an image of this shape, white on black.

    One of that shape whose border is black is taken as it is. Of any other, what differs from the
    border is the digit: cut out, scaled to fit a box, its aspect kept, and placed with its centre
    of mass in the centre of the image (LeCun, Cortes & Burges, "The MNIST database").

    Raises:
        ValueError: if the picture is blank.
    """
    if is_blank(picture):
        raise ValueError("a blank picture shows no digit")
    if picture.shape == shape and not _border(picture).any():
        return picture
    digit = _scaled(_cut(_ink(picture)), shape)
    return _centred(np.round(digit * (_BRIGHTEST / digit.max())).astype(np.uint8), shape)


def _border(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([picture[[0, -1]].ravel(), picture[:, [0, -1]].ravel()])


def _ground(picture: NDArray[np.uint8]) -> float:
    return float(np.median(_border(picture)))


def _ink(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns how much of the strongest ink there is at each pixel, 0 to 1."""
    ground = _ground(picture)
    # The side on which the ground is left furthest: grey paper may bear white ink, or black.
    bright = picture.max() - ground > ground - picture.min()
    ink = np.maximum(picture - ground if bright else ground - picture, 0)
    return ink / ink.max()


def _cut(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    seen = ink >= _SEEN
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled(digit: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Returns the digit as large as its box in an image of this shape permits."""
    boxes = (_placing(side)[0] for side in shape)
    scale = min(box / size for box, size in zip(boxes, digit.shape, strict=True))
    rows, columns = (max(1, round(size * scale)) for size in digit.shape)
    return _averages(digit.shape[0], rows) @ digit @ _averages(digit.shape[1], columns).T


def _averages(before: int, after: int) -> NDArray[np.float64]:
    """Returns the matrix [after, before] that takes means over equal parts of a line of pixels."""
    edges = np.linspace(0, before, after + 1)
    pixels = np.arange(before)
    ends = np.minimum(edges[1:, None], pixels + 1)
    starts = np.maximum(edges[:-1, None], pixels)
    return np.maximum(ends - starts, 0) * (after / before)


def _centred(digit: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    image = np.zeros(shape, np.uint8)
    places = [
        slice(start, start + size)
        for start, size in zip(_starts(digit, shape), digit.shape, strict=True)
    ]
    image[tuple(places)] = digit
    return image


def _starts(digit: NDArray[np.uint8], shape: tuple[int, int]) -> list[int]:
    """Returns where the digit's first row and column come to lie."""
    starts = []
    for axis, side in enumerate(shape):
        weights = digit.sum(axis=1 - axis, dtype=np.float64)
        mass = float(weights @ np.arange(weights.size) / weights.sum())
        start = int(np.ceil(_placing(side)[1] - 0.5 - mass))
        starts.append(min(max(start, 0), side - weights.size))
    return starts


def _placing(side: int) -> tuple[float, float]:
    """Returns the box and the centre for images of this side, by default in MNIST's proportions."""
    return _PLACING.get(side, (side * 20 / 28, side / 2))
