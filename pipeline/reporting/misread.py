"""Test digits that were misread, and by whom they were taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell
from pipeline.examples.dataset import Examples


@dataclass(frozen=True, eq=False)
class MisreadDigit:
    """A digit that not every run got right.

    Attributes:
        place: among the test images.
        image: [height, width] in 0…255.
        label: what it is.
        readings: by variant, `(class, runs that took it for that)`, the most frequent first.
    """

    place: int
    image: NDArray[np.uint8]
    label: int
    readings: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def best(self) -> int | None:
        """The place of the variant of which the largest share of runs is right; None if tied."""
        shares = [
            dict(one).get(self.label, 0) / sum(count for _, count in one) for one in self.readings
        ]
        ahead = [place for place, share in enumerate(shares) if share == max(shares)]
        return ahead[0] if len(ahead) == 1 else None


@dataclass(frozen=True, eq=False)
class Misread:
    """The digits most often misread, and how many of all were by any run."""

    digits: Sequence[MisreadDigit]
    total: int


def misread_digits(test: Examples, results: Sequence[Cell], most: int) -> Misread:
    """Returns those digits of which some variant misreads the largest share.

    Args:
        test: images and labels.
        results: the variants.
        most: how many digits are returned, at most.
    """
    wrong = np.array([(one.predicted != test.labels).mean(axis=0) for one in results])
    # Of equals that which all together misread more, then the earlier image.
    order = np.lexsort((-wrong.sum(axis=0), -wrong.max(axis=0)))
    total = int((wrong.max(axis=0) > 0).sum())
    digits = [
        MisreadDigit(
            place=int(i),
            image=test.images[i],
            label=int(test.labels[i]),
            readings=tuple(_readings(one.predicted[:, i]) for one in results),
        )
        for i in order[: min(most, total)]
    ]
    return Misread(digits, total)


def _readings(predicted: NDArray[np.uint8]) -> tuple[tuple[int, int], ...]:
    classes, counts = np.unique(predicted, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple((int(classes[i]), int(counts[i])) for i in order)
