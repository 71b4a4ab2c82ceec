"""Tells images that are unlike all those that a model was trained on.

A network answers with confidence whatever it is shown (Nguyen, Yosinski & Clune 2015). How far an
image is from the nearest training example is asked of the examples alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.examples.dataset import Dataset

# So few test images of a hundred are as unlike the training images: less is told.
RARE = 0.05
# More training images hardly come nearer, and take longer.
_MOST_KNOWN, _MOST_COMPARED = 20_000, 500


class Likeness:
    """Compares images with those of a data set."""

    def __init__(self, dataset: Dataset) -> None:
        """Takes a data set of images; measures how near test images come to the training images."""
        self._known = _directions(dataset.train.inputs[:_MOST_KNOWN])
        compared = self._distances(dataset.test.inputs[:_MOST_COMPARED])
        self._of_test_images = np.sort(compared)

    def share_less_alike(self, images: NDArray[Any]) -> NDArray[np.float64]:
        """Returns, for each image, the share of test images that are no nearer to any known one.

        Of images such as the test images, the share is below `RARE` for as many.
        """
        nearer = np.searchsorted(self._of_test_images, self._distances(images))
        return 1 - nearer / len(self._of_test_images)

    def _distances(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Returns how far each image is from the nearest one: 1 minus the cosine of their angle.

        Not the distance between their pixels, which is small for any image with little ink.
        """
        return 1 - (_directions(images) @ self._known.T).max(axis=1)


def _directions(images: NDArray[Any]) -> NDArray[np.float32]:
    """Returns images as vectors of length 1, [images, pixels]; of a black one, of length 0."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1)
