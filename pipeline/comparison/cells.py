"""Cells: a variant with all its runs, and the runs of many cells as one tidy table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.measures import MEASURES
from pipeline.comparison.published import PublishedCurve
from pipeline.comparison.statistics import Summary, summary
from pipeline.errors import MissingInputError
from pipeline.evaluation.divergence import diverged_seeds
from pipeline.evaluation.results import (
    EVALUATION,
    read_predictions,
    read_test_scores,
    scored_epochs,
)
from pipeline.evaluation.scores import confusion_matrix
from pipeline.files import damaged
from pipeline.params import flat
from pipeline.runs.manifest import read_manifest
from pipeline.runs.tables import HERE, read_history


@dataclass(frozen=True, eq=False)
class Cell:
    """A variant as one source has it, with all its runs.

    Attributes:
        variant: its name in params.yaml.
        label: its name in tables and figures.
        origin: the source of its runs: `workspace`, a revision or a run.
        parameters: normalisation, network and training, in the shape of params.yaml.
        data_sha256: hash of the prepared data.
        code_sha256: hash of the code that decides a run.
        history: columns `seed, epoch, split, loss, accuracy`.
        scores: on the test set, one row per run: `seed, loss, accuracy` and, where known, the
            `epoch` whose network was scored, the other measures, and the recall of each class.
        predicted: [runs, images], the class that each run predicted for each test image; has no
            images where predictions are unknown.
        color: the same in every figure.
        published: what the notebook printed about this variant, if anything.
    """

    variant: str
    label: str
    origin: str
    parameters: Mapping[str, Any]
    data_sha256: str
    code_sha256: str
    history: pd.DataFrame
    scores: pd.DataFrame
    predicted: NDArray[np.uint8]
    color: str = "black"
    published: PublishedCurve | None = None

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [int(seed) for seed in self.scores["seed"]]

    @property
    def diverged(self) -> tuple[int, ...]:
        """The seeds of the runs that diverged."""
        return diverged_seeds(self.history, self.scores)

    def summary(self, measure: str, confidence: float) -> Summary:
        """Returns mean and spread of a test score over the runs; of an unknown one, nothing."""
        unknown = pd.Series(np.nan, self.scores.index)
        over_runs = summary(self.scores.get(measure, unknown).to_numpy(), confidence)
        return MEASURES[measure].possible(over_runs)

    def curve(self, split: str, measure: str, confidence: float) -> pd.DataFrame:
        """Returns `mean, sd, ci_low, ci_high` over seeds, indexed by epoch.

        A run that ended before others counts on with what it had at the epoch that is scored.
        """
        held = self.held_history()
        rows = held[held["split"] == split].groupby("epoch")[measure]
        by_epoch = {
            epoch: vars(MEASURES[measure].possible(summary(group.to_numpy(), confidence)))
            for epoch, group in rows
        }
        columns = [field.name for field in fields(Summary)]
        return pd.DataFrame.from_dict(by_epoch, orient="index", columns=columns).astype(float)

    def held_history(self) -> pd.DataFrame:
        """Returns the history with all runs of one length.

        A run that ended early has, in the epochs that it lacks, the scores of the network that it
        left behind. Means over runs are then of the same runs at every epoch.
        """
        epochs = scored_epochs(self.history, self.scores)
        last = self.history["epoch"].max()
        held = [
            rows[rows["epoch"] == epochs[seed]].assign(epoch=epoch)
            for seed, rows in self.history.groupby("seed")
            for epoch in range(rows["epoch"].max() + 1, last + 1)
        ]
        return pd.concat([self.history, *held], ignore_index=True) if held else self.history

    def mean_confusion(self, labels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns the counts [classes, classes] averaged over runs; `labels` [images] are true."""
        classes = int(max(labels.max(), self.predicted.max())) + 1
        counts = [confusion_matrix(labels, row, classes) for row in self.predicted]
        return np.mean(counts, axis=0)

    def of_seeds(self, seeds: Sequence[int]) -> Cell:
        """Returns the cell with only the runs of these seeds, in this order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return replace(
            self,
            history=self.history[self.history["seed"].isin(seeds)],
            scores=self.scores.iloc[rows].reset_index(drop=True),
            predicted=self.predicted[rows],
        )


def read_cell(variant: str, label: str, origin: str, root: Path = HERE) -> Cell:
    """Returns the cell whose files the stages left below `root`.

    Raises:
        MissingInputError: if a file other than that of the predictions is missing.
        DataError: if a file is damaged.
    """
    manifest = read_manifest(variant, root)
    # inf - inf is undefined, so that no difference could be formed.
    scores = read_test_scores(variant, root).replace([np.inf, -np.inf], np.nan)
    try:
        predicted = read_predictions(variant, root).predicted
    except MissingInputError:
        predicted = np.empty((len(scores), 0), np.uint8)
    if len(predicted) != len(scores):
        path = root / EVALUATION / variant / "predictions.npz"
        raise damaged(path, f"it has {len(predicted)} runs, test.csv {len(scores)}")
    return Cell(
        variant=variant,
        label=label,
        origin=origin,
        parameters=manifest.parameters,
        data_sha256=manifest.data_sha256,
        code_sha256=manifest.code_sha256,
        history=read_history(variant, root),
        scores=scores,
        predicted=predicted,
    )


def table(cells: Iterable[Cell]) -> pd.DataFrame:
    """Returns all runs as one table, one row per run.

    Its columns are `cell`, the index of the run's cell in `cells`; `origin`, `variant`, `data`,
    `code`; each parameter, by its name in DVC; `seed`; `diverged`; and each test score, by its own
    name. A value that a cell lacks is nan.
    """
    rows = []
    for index, cell in enumerate(cells):
        shared = {
            "cell": index,
            "origin": cell.origin,
            "variant": cell.variant,
            "data": cell.data_sha256,
            "code": cell.code_sha256,
            **dict(flat(cell.parameters)),
        }
        diverged = set(cell.diverged)
        rows += [
            shared | {"seed": seed, "diverged": seed in diverged} | scores
            for seed, scores in zip(
                cell.seeds, cell.scores.drop(columns="seed").to_dict("records"), strict=True
            )
        ]
    return pd.DataFrame(rows)
