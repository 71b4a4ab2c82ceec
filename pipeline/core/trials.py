"""One run of a study: a cell trained, and all that the study measures of it."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from pipeline.core.divergence import is_diverged
from pipeline.core.examples import Dataset
from pipeline.core.probes import PROBES, Trained
from pipeline.core.replicates import Cell, Training


class Trials:
    """Trains a cell at a time on each thread, and measures it."""

    def __init__(self, dataset: Dataset, probes: Sequence[str]) -> None:
        """Takes the data, and the names in `core.probes` of what to measure beside the scores."""
        self._training = Training(dataset, lambda _: None)
        self._test, self._probes = dataset.test, probes
        self._test_set = tf.constant(dataset.test.images), tf.constant(dataset.test.labels)

    def __call__(self, cell: Cell) -> dict[str, float]:
        """Returns what was measured, by name: `studies.MEASURES` and the probes."""
        run = self._training(cell)
        solver = self._training.solver(cell.variant)
        scores = solver.evaluate(run.weights, *self._test_set)
        last = run.history[-1]
        measured = {
            f"{split}_{name}": value
            for split, of_split in (
                ("train", last.train), ("validation", last.validation), ("test", scores),
            )
            for name, value in vars(of_split).items()
        }  # fmt: skip
        trained = Trained(solver.model, run.weights)
        measured |= {"diverged": float(is_diverged(last.train.loss))}
        for name in self._probes:
            measured |= PROBES[name].measure(trained, self._test)
        return measured
