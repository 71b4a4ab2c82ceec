import numpy as np

from pipeline.datasets.idx import Labelled
from pipeline.datasets.prepare import class_counts, split
from pipeline.examples.dataset import Dataset, Examples


def examples(*labels):
    """Makes examples; each image is filled with its place in the file."""
    places = np.arange(len(labels), dtype=np.uint8)
    return Examples(np.tile(places[:, None, None], (1, 2, 3)), np.array(labels, np.uint8))


def test_split_keeps_the_first_examples_in_file_order_for_validation():
    test_file, training_file = (
        Labelled(part.inputs, part.labels) for part in (examples(7, 2), examples(5, 0, 4, 1, 9))
    )
    dataset = split(training_file, test_file, validation_size=2, classes=tuple("abcdefghij"))
    assert dataset.validation.labels.tolist() == [5, 0]
    assert dataset.validation.inputs[:, 0, 0].tolist() == [0, 1]
    assert dataset.train.labels.tolist() == [4, 1, 9]
    assert dataset.train.inputs[:, 0, 0].tolist() == [2, 3, 4]
    assert dataset.test.inputs is test_file.images
    assert dataset.test.labels is test_file.labels


def test_a_class_that_a_split_lacks_is_counted_too():
    dataset = Dataset(
        train=examples(0, 2, 2),
        validation=examples(1),
        test=examples(0),
        classes=("cat", "dog", "owl"),
    )
    assert class_counts(dataset) == {
        "train": {"cat": 1, "dog": 0, "owl": 2},
        "validation": {"cat": 0, "dog": 1, "owl": 0},
        "test": {"cat": 1, "dog": 0, "owl": 0},
    }
