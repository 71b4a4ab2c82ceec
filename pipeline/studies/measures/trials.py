"""A trial: a task trained, and all that a study measures of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.evaluation.divergence import is_diverged
from pipeline.examples.dataset import Dataset
from pipeline.runs.epochs import Scores
from pipeline.studies.measures import course
from pipeline.studies.measures.probes import PROBES, Trained, expect_measurable
from pipeline.training.solver import Solver
from pipeline.training.trainer import Task, Trainer


@dataclass(frozen=True)
class Trial:
    """What a study measured of a run.

    Attributes:
        measured: values at the end, by name; for a measure that is followed, also its mean and
            drift (see `measures.course`).
        course: one row per epoch, with its last `step`; empty if nothing is followed.
    """

    measured: dict[str, float]
    course: list[dict[str, float]]


class Trials:
    """Trains tasks and measures their runs; each thread may call it, one task at a time."""

    def __init__(
        self,
        dataset: Dataset,
        probes: Sequence[str],
        followed: Sequence[str] | None = None,
        *,
        untrained: bool = False,
    ) -> None:
        """Takes what to measure, by the names in `studies.measures.probes`.

        Args:
            dataset: to train on and to measure with.
            probes: to measure at the end, in addition to the scores.
            followed: to measure after each epoch, in addition to the scores; None to follow
                nothing.
            untrained: whether to measure networks as they start.
        """
        self._untrained = untrained
        self._training = Trainer(dataset)
        self._dataset, self._probes, self._followed = dataset, probes, followed
        self._test = tf.constant(dataset.test.inputs), tf.constant(dataset.test.labels)

    def __call__(self, task: Task) -> Trial:
        """Trains a task and measures its run."""
        solver, training = self._training.solver(task.variant), task.variant.training
        state = solver.start(task.seed)
        steps = training.steps_per_epoch or len(self._dataset.train) // training.batch_size

        def trained() -> Trained:
            weights = [weight.numpy() for weight in solver.weights(state)]
            return Trained(solver.model, weights, self._dataset, training)

        probes = [*self._probes, *(self._followed or ())]
        expect_measurable(probes, solver.model, self._dataset)
        if self._untrained:
            return self._at_the_start(solver, trained())
        rows: list[dict[str, Any]] = []
        for scores in self._training.course(task, state):
            if self._followed is None and scores.epoch < training.epochs - 1:
                continue
            network = trained()
            test = solver.evaluate(network.weights, *self._test)
            of_splits = {"train": scores.train, "validation": scores.validation, "test": test}
            row = _of_scores(of_splits) | _probed(network, self._followed or ())
            rows.append(row)
        measured = _means(rows[-1] | _probed(trained(), self._probes))
        classes = len(self._dataset.classes)
        measured["diverged"] = float(is_diverged(measured["train_loss"], classes))
        if self._followed is None:
            return Trial(measured, [])
        ends = range(steps, (training.epochs + 1) * steps, steps)
        by_step = [{"step": step} | _means(row) for step, row in zip(ends, rows, strict=True)]
        return Trial(measured | course.mean_and_drift(rows), by_step)

    def _at_the_start(self, solver: Solver, network: Trained) -> Trial:
        """Returns the scores on the test set alone, and what the probes measure."""
        test = solver.evaluate(network.weights, *self._test)
        return Trial(_means(_of_scores({"test": test}) | _probed(network, self._probes)), [])


def _probed(trained: Trained, probes: Sequence[str]) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    for name in probes:
        measured |= PROBES[name].measure(trained)
    return measured


def _of_scores(by_split: Mapping[str, Scores]) -> dict[str, float]:
    return {
        f"{split}_{name}": value
        for split, of_split in by_split.items()
        for name, value in vars(of_split).items()
    }


def _means(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns one number per measure; for a measure with a number per unit, the mean."""
    return {name: float(np.mean(value)) for name, value in row.items()}
