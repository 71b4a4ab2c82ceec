import numpy as np

from pipeline.datasets.prepare import class_counts
from pipeline.examples.dataset import Dataset, Examples


def examples(*labels):
    return Examples(np.zeros((len(labels), 2, 2), np.uint8), np.array(labels, np.uint8))


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
