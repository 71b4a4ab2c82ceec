"""Images with their labels, and the three sets an experiment needs."""

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
    """What is learnt from, what is watched while learning, and what is scored once at the end."""

    train: Examples
    validation: Examples
    test: Examples


def split(training_file: Examples, test_file: Examples, validation_size: int) -> Dataset:
    """Keeps the first `validation_size` training examples, in file order, for validation."""
    images, labels = training_file.images, training_file.labels
    return Dataset(
        train=Examples(images[validation_size:], labels[validation_size:]),
        validation=Examples(images[:validation_size], labels[:validation_size]),
        test=test_file,
    )


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Returns how many examples of each class each set holds: `{split: {class: count}}`."""
    sets = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    classes = 1 + max(int(examples.labels.max()) for examples in sets.values())
    return {
        name: {
            str(digit): int(count)
            for digit, count in enumerate(np.bincount(examples.labels, minlength=classes))
        }
        for name, examples in sets.items()
    }
