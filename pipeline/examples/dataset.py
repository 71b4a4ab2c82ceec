"""Examples with their labels, and the three splits of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and labels of some examples.

    Attributes:
        inputs: images, uint8: grey ones [examples, height, width], or ones of several channels
            [examples, height, width, channels]; or features [examples, features], float32, finite.
        labels: [examples], uint8: places in the dataset's `classes`.
    """

    inputs: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset, split.

    Attributes:
        train: the examples to learn from.
        validation: those to watch while training.
        test: those to score at the end.
        classes: the names of the classes.
        features: the names of the features; none of images.
    """

    train: Examples
    validation: Examples
    test: Examples
    classes: tuple[str, ...]
    features: tuple[str, ...] = ()

    @property
    def has_images(self) -> bool:
        """Whether the inputs are images."""
        return self.train.inputs.ndim > 2
