"""Which features of a row are unusual, and in which the classes differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.examples.dataset import Examples


@dataclass(frozen=True)
class Feature:
    """A feature of one row.

    Attributes:
        place: of the feature among all.
        name: of the feature.
        value: as it is in the data.
        deviations: from the mean of the training rows to the value, in their standard deviations.
    """

    place: int
    name: str
    value: float
    deviations: float

    def __str__(self) -> str:
        """Returns value and distance."""
        return f"{self.value:.4g} ({self.deviations:+z.1f} sd)"


class Scale:
    """Mean and standard deviation of each feature over the training rows."""

    def __init__(self, train: Examples, names: Sequence[str]) -> None:
        """Measures the features, which have these names."""
        self.names = names
        rows = train.inputs.astype(np.float64)
        self._mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        # As in the networks: the deviation of a feature that never changes counts as 1.
        self._deviation = np.where(deviation > 0, deviation, 1)

    def deviations(self, rows: NDArray[np.number]) -> NDArray[np.float64]:
        """Returns the distances of features [..., features] from the mean, in deviations."""
        return (rows - self._mean) / self._deviation

    def unusual(self, row: NDArray[np.number], most: int) -> list[Feature]:
        """Returns the features of a row [features] that are farthest from the mean, in order."""
        distances = self.deviations(row)
        order = np.argsort(-abs(distances), kind="stable")[:most].tolist()
        return [Feature(i, self.names[i], float(row[i]), float(distances[i])) for i in order]

    def class_means(
        self, train: Examples, classes: int, features: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Returns the means of classes in the features in which the classes differ most.

        Args:
            train: the training rows.
            classes: how many to return at most: the first.
            features: how many to return at most.

        Returns:
            The places of the classes and of the features, and the means [classes, features], each
            as its distance from the mean of all training rows in their standard deviations.
        """
        distances = self.deviations(train.inputs)
        places = np.unique(train.labels).astype(np.int64)
        means = np.stack([distances[train.labels == place].mean(axis=0) for place in places])
        order = np.argsort(-np.ptp(means, axis=0), kind="stable")[:features]
        return places[:classes], order, means[:classes][:, order]
