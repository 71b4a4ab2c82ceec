"""The job that all contestants are timed at, and its data.

Nothing here needs TensorFlow or pydantic, because the peers' environment has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.examples.dataset import Examples
from pipeline.examples.prepared import read_prepared
from pipeline.training.batches import epoch_batches

VARIANTS = ("batch_norm", "no_norm")
_BRIGHTEST = 255


@dataclass(frozen=True)
class Job:
    """The notebook's two networks, one normalised, and how they are trained.

    Attributes:
        hidden_dims: widths of the hidden dense layers.
        epochs: of each training.
        batch_size: examples in a step.
        learning_rate: of Adam.
        epsilon: of Adam.
        momentum: of the moving averages.
        norm_epsilon: added to the variance.
        data: path of the file that `prepare` wrote.
        filters: of convolutions before the dense layers, each with its pooling, as in
            networks/conv.py; none in the notebook.
        kernel_size: of the filters.
    """

    hidden_dims: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    epsilon: float
    momentum: float
    norm_epsilon: float
    data: str
    filters: tuple[int, ...] = ()
    kernel_size: int = 3

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Job:
        """Returns the job from its JSON, in which tuples are lists."""
        lists = {name: tuple(fields[name]) for name in ("hidden_dims", "filters")}
        return cls(**{**fields, **lists})


class Scores(NamedTuple):
    """The scores that the notebook computes after every epoch, in inference mode."""

    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


class Set(NamedTuple):
    """Images [examples, pixels], float32 in 0…1, and labels [examples], int32."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.int32]


class Arrays(NamedTuple):
    """The data to train on, and the data to validate on."""

    train: Set
    validation: Set

    def batches(self, seed: int, epoch: int, batch_size: int) -> NDArray[np.int32]:
        """Returns the examples of each step, [steps, batch]; the same for all contestants."""
        examples = len(self.train.labels)
        return epoch_batches(seed, epoch, examples=examples, batch_size=batch_size)


# (variant, seed) -> scores of each epoch, starting from new weights.
TrainOne = Callable[[str, int], Sequence[Scores]]
# The same for several seeds: (variant, seeds) -> scores by seed and epoch.
TrainMany = Callable[[str, Sequence[int]], Sequence[Sequence[Scores]]]


def read_arrays(job: Job) -> Arrays:
    """Returns the prepared data as the notebook has it: flat, float32, 0 to 1."""
    dataset = read_prepared(Path(job.data))
    return Arrays(_set(dataset.train), _set(dataset.validation))


def one_by_one(train: TrainOne) -> TrainMany:
    """Returns a function that trains seeds one after the other."""
    return lambda variant, seeds: [train(variant, seed) for seed in seeds]


def side_by_side(train: TrainOne, workers: int) -> TrainMany:
    """Returns a function that trains seeds on several threads."""
    pool = ThreadPool(workers)

    def train_many(variant: str, seeds: Sequence[int]) -> Sequence[Any]:
        return pool.starmap(train, [(variant, seed) for seed in seeds], chunksize=1)

    return train_many


def _set(examples: Examples) -> Set:
    images = examples.inputs.reshape(len(examples), -1).astype(np.float32) / _BRIGHTEST
    return Set(images, examples.labels.astype(np.int32))
