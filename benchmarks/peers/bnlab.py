"""This project: seeds side by side, one worker per core."""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine import Engine, of_epochs
from benchmarks.job import Job, Scores, TrainMany
from benchmarks.protocol import serve
from pipeline.examples.prepared import read_prepared
from pipeline.params import Variant
from pipeline.params_file import read_params
from pipeline.runs.epochs import EpochScores
from pipeline.training.network_file import network_class

CONV = "networks/conv.py"


def make(job: Job) -> TrainMany:
    """Returns a function that trains seeds as the stage `train` does."""
    engine = Engine(read_prepared(Path(job.data)), workers=os.cpu_count() or 1)
    variants = {name: _at(job, variant) for name, variant in read_params().variants.items()}

    def train(variant: str, seeds: Sequence[int]) -> list[list[Scores]]:
        runs = engine.train(of_epochs(variants[variant], job.epochs), seeds)
        return [[_scores(epoch) for epoch in run.history] for run in runs]

    return train


def _at(job: Job, variant: Variant) -> Variant:
    """Returns the variant with the network of the job."""
    if not job.filters:
        return variant
    network = network_class(CONV)(
        code=CONV,
        filters=list(job.filters),
        kernel_size=job.kernel_size,
        units=job.hidden_dims[0],
        activation="relu",
        dropout=0.0,
    )
    return variant.model_copy(update={"network": network})


def _scores(epoch: EpochScores) -> Scores:
    train, validation = epoch.train, epoch.validation
    return Scores(train.loss, train.accuracy, validation.loss, validation.accuracy)


if __name__ == "__main__":
    serve(make, is_peer=False)
