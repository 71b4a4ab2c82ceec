"""Test digits that were misread, and what each variant took them for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell
from pipeline.examples.dataset import Examples


@dataclass(frozen=True, eq=False)
class MisreadDigit:
    """A digit that at least one run misread.

    Attributes:
        place: its index among the test images.
        image: [height, width] in 0…255.
        label: its true class.
        readings: per variant, `(class, number of runs that read it so)`, most frequent first.
    """

    place: int
    image: NDArray[np.uint8]
    label: int
    readings: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def best(self) -> int | None:
        """The index of the variant with the largest share of correct runs; None if tied."""
        shares = [
            dict(counts).get(self.label, 0) / sum(count for _, count in counts)
            for counts in self.readings
        ]
        ahead = [index for index, share in enumerate(shares) if share == max(shares)]
        return ahead[0] if len(ahead) == 1 else None


@dataclass(frozen=True, eq=False)
class Misread:
    """The digits most often misread, and how many digits were misread by any run."""

    digits: Sequence[MisreadDigit]
    total: int


def misread_digits(test: Examples, cells: Sequence[Cell], most: int) -> Misread:
    """Returns the digits that the largest share of a variant's runs misread.

    Args:
        test: images and labels.
        cells: the variants.
        most: how many digits to return at most.
    """
    wrong = np.array([(cell.predicted != test.labels).mean(axis=0) for cell in cells])
    # Ties: first the digit misread by more runs of all variants, then the earlier image.
    order = np.lexsort((-wrong.sum(axis=0), -wrong.max(axis=0)))
    total = int((wrong.max(axis=0) > 0).sum())
    digits = [
        MisreadDigit(
            place=int(i),
            image=test.inputs[i],
            label=int(test.labels[i]),
            readings=tuple(_readings(cell.predicted[:, i]) for cell in cells),
        )
        for i in order[: min(most, total)]
    ]
    return Misread(digits, total)


def _readings(predicted: NDArray[np.uint8]) -> tuple[tuple[int, int], ...]:
    classes, counts = np.unique(predicted, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple((int(classes[i]), int(counts[i])) for i in order)
