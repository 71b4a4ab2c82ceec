import numpy as np

from pipeline.datasets.idx import Labelled
from pipeline.datasets.prepare import class_counts, split
from pipeline.examples.dataset import Dataset, Examples


def examples(*labels):
    """Makes examples; each image is filled with its place in the file."""
    places = np.arange(len(labels), dtype=np.uint8)
    return Examples(np.tile(places[:, None, None], (1, 2, 3)), np.array(labels, np.uint8))


def test_length_is_the_number_of_examples():
    assert len(examples(5, 0, 4, 1)) == 4


def test_split_keeps_the_first_examples_in_file_order_for_validation():
    test_file, training_file = (
        Labelled(part.inputs, part.labels) for part in (examples(7, 2), examples(5, 0, 4, 1, 9))
    )
    dataset = split(training_file, test_file, validation_size=2)
    assert dataset.validation.labels.tolist() == [5, 0]
    assert dataset.validation.inputs[:, 0, 0].tolist() == [0, 1]
    assert dataset.train.labels.tolist() == [4, 1, 9]
    assert dataset.train.inputs[:, 0, 0].tolist() == [2, 3, 4]
    assert dataset.test.inputs is test_file.images
    assert dataset.test.labels is test_file.labels


def test_class_counts_have_every_class_in_every_split():
    dataset = Dataset(train=examples(0, 2, 2), validation=examples(1), test=examples(3, 0))
    assert class_counts(dataset) == {
        "train": {"0": 1, "1": 0, "2": 2, "3": 0},
        "validation": {"0": 0, "1": 1, "2": 0, "3": 0},
        "test": {"0": 1, "1": 0, "2": 0, "3": 1},
    }
