"""Images with their labels, and the three splits of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Examples:
    """Images [examples, height, width] in 0…255 and their labels [examples], both uint8."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits: one to learn from, one to watch while training, one to score at the end."""

    train: Examples
    validation: Examples
    test: Examples
