"""What each variant takes each class for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell

# More would leave no room for their numbers.
MOST_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Confusion:
    """What a variant takes each class for.

    Attributes:
        label: the variant's.
        shares: [shown, shown], in per cent of the examples of a class, averaged over all runs; a
            row is a true class, a column what it is taken for.
        heat: [shown, shown], each mistake relative to the largest of any variant, 0 to 1.
    """

    label: str
    shares: NDArray[np.float64]
    heat: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Confusions:
    """What all variants take the classes for.

    Attributes:
        places: of the classes shown, in ascending order: all, or those that are most confused.
        total: how many classes there are.
        variants: one for each.
    """

    places: Sequence[int]
    total: int
    variants: Sequence[Confusion]


def confusions(
    cells: Sequence[Cell], labels: NDArray[np.uint8], classes: int, most: int = MOST_CLASSES
) -> Confusions:
    """Returns what each cell takes each class for.

    Args:
        cells: the variants.
        labels: [examples], the true classes of the test examples.
        classes: how many there are.
        most: how many classes to show at most. Those of the most frequent mistakes are chosen.
    """
    shares = [_shares(cell, labels, classes) for cell in cells]
    # Only mistakes are coloured: on one scale with the diagonal they would be invisible.
    mistakes = [share * (1 - np.eye(classes)) for share in shares]
    places = _most_confused(np.max(mistakes, axis=0), most)
    shown = np.ix_(places, places)
    worst = max(float(mistake[shown].max()) for mistake in mistakes) or 1.0
    return Confusions(
        places,
        classes,
        [
            Confusion(cell.label, share[shown], mistake[shown] / worst)
            for cell, share, mistake in zip(cells, shares, mistakes, strict=True)
        ],
    )


def _shares(cell: Cell, labels: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    counts = cell.mean_confusion(labels)
    # The last classes are missing where they have no test example and nothing is taken for them.
    counts = np.pad(counts, (0, classes - len(counts)))
    return 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _most_confused(mistakes: NDArray[np.float64], most: int) -> list[int]:
    """Returns the places of the classes of the largest mistakes [classes, classes]."""
    order = np.argsort(-mistakes, axis=None, kind="stable")
    pairs = np.stack(np.unravel_index(order, mistakes.shape), axis=1)
    return sorted(list(dict.fromkeys(pairs.ravel().tolist()))[:most])
