"""Test examples that were misread, and what each variant took them for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell
from pipeline.examples.dataset import Examples


@dataclass(frozen=True, eq=False)
class MisreadExample:
    """An example that at least one run misread.

    Attributes:
        place: its index among the test examples.
        input: as in `Examples.inputs`.
        label: its true class.
        readings: per variant, `(class, number of runs that read it so)`, most frequent first.
    """

    place: int
    input: NDArray[np.uint8] | NDArray[np.float32]
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
    """The examples most often misread, and how many were misread by any run."""

    examples: Sequence[MisreadExample]
    total: int


def misread_examples(test: Examples, cells: Sequence[Cell], most: int) -> Misread:
    """Returns the examples that the largest share of a variant's runs misread.

    Args:
        test: inputs and labels.
        cells: the variants.
        most: how many examples to return at most.
    """
    wrong = np.array([(cell.predicted != test.labels).mean(axis=0) for cell in cells])
    # Ties: first the example misread by more runs of all variants, then the earlier.
    order = np.lexsort((-wrong.sum(axis=0), -wrong.max(axis=0)))
    total = int((wrong.max(axis=0) > 0).sum())
    examples = [
        MisreadExample(
            place=int(i),
            input=test.inputs[i],
            label=int(test.labels[i]),
            readings=tuple(_readings(cell.predicted[:, i]) for cell in cells),
        )
        for i in order[: min(most, total)]
    ]
    return Misread(examples, total)


def _readings(predicted: NDArray[np.uint8]) -> tuple[tuple[int, int], ...]:
    classes, counts = np.unique(predicted, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple((int(classes[i]), int(counts[i])) for i in order)
