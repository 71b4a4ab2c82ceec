import itertools

import numpy as np
import pytest

from pipeline.training.batches import epoch_batches

UNEVEN = {"examples": 55, "batch_size": 8}


def permutations(seed, examples):
    for draw in itertools.count():
        sequence = np.random.SeedSequence(seed, spawn_key=(0, draw))
        yield np.random.default_rng(sequence).permutation(examples)


class TutorialReader:
    """`next_batch` of TensorFlow 1's input_data.py, with indices in place of images."""

    def __init__(self, orders):
        self._orders = orders
        self._order = next(orders)
        self._index_in_epoch = 0

    def next_batch(self, batch_size):
        start = self._index_in_epoch
        if start + batch_size <= len(self._order):
            self._index_in_epoch = start + batch_size
            return self._order[start : self._index_in_epoch]
        rest = self._order[start:]
        self._order = next(self._orders)
        self._index_in_epoch = batch_size - len(rest)
        return np.concatenate([rest, self._order[: self._index_in_epoch]])


@pytest.mark.parametrize(
    ("examples", "batch_size"), [(55, 8), (9, 5), (100, 32), (12, 4), (7, 1), (10, 10), (1, 1)]
)
def test_batches_are_those_of_the_notebooks_reader(examples, batch_size):
    reader = TutorialReader(permutations(seed=3, examples=examples))
    for epoch in range(9):
        batches = epoch_batches(3, epoch, examples=examples, batch_size=batch_size)
        expected = [reader.next_batch(batch_size) for _ in range(examples // batch_size)]
        np.testing.assert_array_equal(batches, expected)


def test_each_whole_pass_sees_every_example_once():
    epochs = [epoch_batches(0, epoch, **UNEVEN) for epoch in range(12)]
    stream = np.concatenate(epochs, axis=None)
    whole_passes = stream[: len(stream) // 55 * 55].reshape(-1, 55)
    assert len(whole_passes) == 10
    np.testing.assert_array_equal(np.sort(whole_passes), np.tile(np.arange(55), (10, 1)))


def test_an_epoch_has_as_many_steps_as_whole_batches_fit():
    batches = epoch_batches(0, 0, **UNEVEN)
    assert batches.shape == (6, 8)
    assert batches.dtype == np.int32


def test_equal_seeds_agree():
    np.testing.assert_array_equal(epoch_batches(1, 4, **UNEVEN), epoch_batches(1, 4, **UNEVEN))


@pytest.mark.parametrize(("seed", "epoch"), [(2, 4), (1, 5), (4, 1)])
def test_another_seed_or_epoch_gives_another_order(seed, epoch):
    assert (epoch_batches(1, 4, **UNEVEN) != epoch_batches(seed, epoch, **UNEVEN)).any()


def test_batches_are_shuffled():
    assert (epoch_batches(0, 0, **UNEVEN).ravel() != np.arange(48)).any()
