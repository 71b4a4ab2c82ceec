"""Turns drawn digits into images like those a model was trained on, as MNIST did with scans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BRIGHTEST = 255
# Ink differs from its background by at least so many levels; compression noise differs by less.
_FAINTEST = 16
# From this share of the strongest ink, a pixel counts towards the size of a digit.
_LEAST_INK = 0.1
# For each side of an image: the side of the box that its digits fit, and the centre of their mass,
# in pixels counted from 0. All of MNIST's centres are in [13.5, 14.5); scikit-learn's digits fill
# their images.
_PLACING = {28: (20, 14.0), 8: (8, 3.5)}


def is_blank(picture: NDArray[np.uint8]) -> bool:
    """Returns whether nothing in a picture [height, width] differs from its border."""
    return float(np.abs(picture - _background(picture)).max()) < _FAINTEST


def as_example(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns a picture [height, width] as an image of this shape, white on black.

    A picture that has this shape and a black border is returned as it is. In any other, the digit
    is what differs from the border. It is cut out, scaled to fit a box without changing its aspect
    ratio, and placed with its centre of mass at the centre of the image (LeCun, Cortes & Burges,
    "The MNIST database").

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


def _background(picture: NDArray[np.uint8]) -> float:
    return float(np.median(_border(picture)))


def _ink(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the ink at each pixel as a share of the strongest ink, 0 to 1."""
    background = _background(picture)
    # Grey paper may bear white ink or black: the ink is what differs most from the background.
    is_bright = picture.max() - background > background - picture.min()
    ink = np.maximum(picture - background if is_bright else background - picture, 0)
    return ink / ink.max()


def _cut(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    inked = ink >= _LEAST_INK
    rows, columns = (np.flatnonzero(inked.any(axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scaled(digit: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Returns the digit scaled to fill its box in an image of this shape."""
    boxes = (_placing(side)[0] for side in shape)
    scale = min(box / size for box, size in zip(boxes, digit.shape, strict=True))
    rows, columns = (max(1, round(size * scale)) for size in digit.shape)
    return _averages(digit.shape[0], rows) @ digit @ _averages(digit.shape[1], columns).T


def _averages(before: int, after: int) -> NDArray[np.float64]:
    """Returns the matrix [after, before] that averages a line of pixels over equal parts."""
    edges = np.linspace(0, before, after + 1)
    pixels = np.arange(before)
    ends = np.minimum(edges[1:, None], pixels + 1)
    starts = np.maximum(edges[:-1, None], pixels)
    return np.maximum(ends - starts, 0) * (after / before)


def _centred(digit: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns an image with the digit's centre of mass at its centre, as near as the digit fits."""
    image = np.zeros(shape, np.uint8)
    places = []
    for axis, side in enumerate(shape):
        weights = digit.sum(axis=1 - axis, dtype=np.float64)
        mass = float(weights @ np.arange(weights.size) / weights.sum())
        start = int(np.ceil(_placing(side)[1] - 0.5 - mass))
        start = min(max(start, 0), side - weights.size)
        places.append(slice(start, start + weights.size))
    image[tuple(places)] = digit
    return image


def _placing(side: int) -> tuple[float, float]:
    """Returns the box and the centre for images of this side; MNIST's proportions by default."""
    return _PLACING.get(side, (side * 20 / 28, side / 2))
