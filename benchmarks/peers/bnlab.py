"""This project: seeds side by side, one worker per core."""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine import Engine, of_epochs
from benchmarks.job import Job, Scores, TrainMany
from benchmarks.protocol import serve
from pipeline.examples.prepared import read_prepared
from pipeline.params_file import read_params
from pipeline.runs.epochs import EpochScores


def make(job: Job) -> TrainMany:
    """Returns a function that trains seeds as the stage `train` does."""
    engine = Engine(read_prepared(Path(job.data)), workers=os.cpu_count() or 1)
    variants = read_params().variants

    def train(variant: str, seeds: Sequence[int]) -> list[list[Scores]]:
        runs = engine.train(of_epochs(variants[variant], job.epochs), seeds)
        return [[_scores(epoch) for epoch in run.history] for run in runs]

    return train


def _scores(epoch: EpochScores) -> Scores:
    train, validation = epoch.train, epoch.validation
    return Scores(train.loss, train.accuracy, validation.loss, validation.accuracy)


if __name__ == "__main__":
    serve(make)
