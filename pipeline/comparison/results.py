"""All that is known of a variant once its runs are trained and scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.published import PublishedCurve
from pipeline.comparison.statistics import (
    Interval,
    PairedComparison,
    Summary,
    beyond_test_set,
    paired_comparison,
    summary,
)
from pipeline.evaluation.divergence import diverged_seeds
from pipeline.evaluation.scores import confusion_matrix


@dataclass(frozen=True, eq=False)
class VariantResults:
    """A variant's runs.

    Attributes:
        label: its name for people.
        color: its own in every figure.
        parameters: normalisation, network and training, in the shape of params.yaml.
        history: columns `seed, epoch, split, loss, accuracy`.
        scores: on the test set, a row a seed: `seed, loss, accuracy, expected_calibration_error`
            and the recall of each class.
        predicted: [runs, images], the class that each run gave each test image.
        published: what the notebook printed of this variant, if anything.
    """

    label: str
    color: str
    parameters: Mapping[str, Any]
    history: pd.DataFrame
    scores: pd.DataFrame
    predicted: NDArray[np.uint8]
    published: PublishedCurve | None = None

    @property
    def diverged(self) -> tuple[int, ...]:
        """The seeds of the runs that diverged."""
        return diverged_seeds(self.history)

    def curve(self, split: str, measure: str, confidence: float) -> pd.DataFrame:
        """Returns, indexed by epoch, the mean over seeds with its interval: `ci_low, ci_high`."""
        rows = self.history[self.history["split"] == split].groupby("epoch")[measure]
        of_epochs = {epoch: vars(summary(group.to_numpy(), confidence)) for epoch, group in rows}
        columns = [field.name for field in fields(Summary)]
        return pd.DataFrame.from_dict(of_epochs, orient="index", columns=columns).astype(float)

    def mean_confusion(self, labels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns the runs' mean counts [classes, classes], given the true `labels` [images]."""
        classes = int(max(labels.max(), self.predicted.max())) + 1
        counts = [confusion_matrix(labels, row, classes) for row in self.predicted]
        return np.mean(counts, axis=0)


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline on the test set.

    Attributes:
        accuracy: on these test images, over seeds.
        beyond_test_set: the interval of the mean difference in accuracy over other images too,
            where the predictions are known.
        loss: of the test losses; lower is better, so its wins and its verdict mean nothing.
        steady: `accuracy` over those pairs alone in which neither run diverged; None if there are
            none.
    """

    accuracy: PairedComparison
    beyond_test_set: Interval | None
    loss: PairedComparison
    steady: PairedComparison | None


def compare(
    candidate: VariantResults,
    baseline: VariantResults,
    labels: NDArray[np.uint8] | None,
    confidence: float,
) -> Comparison:
    """Returns how `candidate` does against `baseline`.

    Args:
        candidate: its runs.
        baseline: its runs, in the same order of seeds.
        labels: [images], the true classes; None where a side's predictions are not known.
        confidence: in (0, 1).
    """
    accuracy, loss = (
        paired_comparison(
            candidate.scores[measure].to_numpy(), baseline.scores[measure].to_numpy(), confidence
        )
        for measure in ("accuracy", "loss")
    )
    beyond = (
        None
        if labels is None
        else beyond_test_set(
            candidate.predicted == labels, baseline.predicted == labels, confidence
        )
    )
    return Comparison(accuracy, beyond, loss, _steady(candidate, baseline, accuracy, confidence))


def _steady(
    candidate: VariantResults,
    baseline: VariantResults,
    every: PairedComparison,
    confidence: float,
) -> PairedComparison | None:
    """Returns the comparison of accuracy without the pairs of which a run diverged."""
    sides = candidate, baseline
    ended_well = [~one.scores["seed"].isin(one.diverged).to_numpy() for one in sides]
    chosen = np.logical_and(*ended_well)
    if chosen.all():
        return every
    if not chosen.any():
        return None
    ours, theirs = (one.scores["accuracy"].to_numpy()[chosen] for one in sides)
    return paired_comparison(ours, theirs, confidence)
