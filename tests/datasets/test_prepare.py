import numpy as np

from pipeline.datasets.prepare import class_counts
from pipeline.examples.dataset import Dataset, Examples


def examples(*labels):
    return Examples(np.zeros((len(labels), 2, 2), np.uint8), np.array(labels, np.uint8))


def test_a_class_that_a_split_lacks_is_counted_too():
    dataset = Dataset(train=examples(0, 2, 2), validation=examples(1), test=examples(0))
    assert class_counts(dataset) == {
        "train": {"0": 1, "1": 0, "2": 2},
        "validation": {"0": 0, "1": 1, "2": 0},
        "test": {"0": 1, "1": 0, "2": 0},
    }
