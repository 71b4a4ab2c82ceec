"""One run of a study: a task trained, and all that the study measures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.evaluation.divergence import is_diverged
from pipeline.examples.dataset import Dataset
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.studies.measures import course
from pipeline.studies.measures.probes import PROBES, Trained
from pipeline.training.trainer import Task, Trainer


@dataclass(frozen=True)
class Trial:
    """What was measured of a run.

    Attributes:
        measured: at the end, by name; of what is followed through the course, also what
            `measures.course` takes of it.
        course: a row an epoch, with the `step` that it ended at; empty if it was not asked for.
    """

    measured: dict[str, float]
    course: list[dict[str, float]]


class Trials:
    """Trains a task at a time on each thread, and measures it."""

    def __init__(
        self, dataset: Dataset, probes: Sequence[str], followed: Sequence[str] | None = None
    ) -> None:
        """Takes what to measure, by the names in `studies.measures.probes`.

        Args:
            dataset: to train on and to measure with.
            probes: at the end, beside the scores.
            followed: after each epoch, beside the scores; None for nothing.
        """
        self._training = Trainer(dataset)
        self._dataset, self._probes, self._followed = dataset, probes, followed
        self._test = tf.constant(dataset.test.images), tf.constant(dataset.test.labels)

    def __call__(self, task: Task) -> Trial:
        """Trains the task and measures it."""
        solver, training = self._training.solver(task.variant), task.variant.training
        state = solver.start(task.seed, training.optimizer.learning_rate)
        steps = training.steps_per_epoch or len(self._dataset.train) // training.batch_size

        def trained() -> Trained:
            weights = [weight.numpy() for weight in solver.weights(state)]
            return Trained(solver.model, weights, self._dataset, training)

        rows: list[dict[str, Any]] = []
        for scores in self._training.course(task, state):
            if self._followed is None and scores.epoch < training.epochs - 1:
                continue
            network = trained()
            test = solver.evaluate(network.weights, *self._test)
            row = _of_scores(scores, test) | _probed(network, self._followed or ())
            rows.append(row)
        measured = _means(rows[-1] | _probed(trained(), self._probes))
        measured["diverged"] = float(is_diverged(measured["train_loss"]))
        if self._followed is None:
            return Trial(measured, [])
        ends = range(steps, (training.epochs + 1) * steps, steps)
        by_step = [{"step": step} | _means(row) for step, row in zip(ends, rows, strict=True)]
        return Trial(measured | course.taken(rows), by_step)


def _probed(trained: Trained, probes: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in probes:
        found |= PROBES[name].measure(trained)
    return found


def _of_scores(scores: EpochScores, test: Scores) -> dict[str, float]:
    return {
        f"{split}_{name}": value
        for split, of_split in (
            ("train", scores.train), ("validation", scores.validation), ("test", test),
        )
        for name, value in vars(of_split).items()
    }  # fmt: skip


def _means(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns one number of each measure; of one that has a value for each unit, their mean."""
    return {name: float(np.mean(value)) for name, value in row.items()}
