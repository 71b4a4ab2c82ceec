"""Decodes the raw files, splits them, and counts the examples of each class."""

from pathlib import Path

import numpy as np

from pipeline.datasets.catalogue import DATASETS, read_published
from pipeline.datasets.idx import Labelled
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.files import write_json
from pipeline.params import Params


def run(params: Params) -> None:
    """Writes `data/prepared.npz` and the class counts."""
    source = DATASETS[params.data.dataset]
    training_file, test_file = read_published(params.data.dataset)

    dataset = split(training_file, test_file, params.data.validation_size, source.classes)

    write_prepared(PREPARED_FILE, dataset)
    write_json(Path("reports/data.json"), class_counts(dataset))


def split(
    training_file: Labelled, test_file: Labelled, validation_size: int, classes: tuple[str, ...]
) -> Dataset:
    """Holds the first `validation_size` training examples, in file order, out for validation."""
    images, labels = training_file.images, training_file.labels
    return Dataset(
        train=Examples(images[validation_size:], labels[validation_size:]),
        validation=Examples(images[:validation_size], labels[:validation_size]),
        test=Examples(*test_file),
        classes=classes,
    )


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Returns the number of examples per split and class: `{split: {class: count}}`."""
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    classes = 1 + max(int(examples.labels.max()) for examples in splits.values())
    return {
        name: {
            str(digit): int(count)
            for digit, count in enumerate(np.bincount(examples.labels, minlength=classes))
        }
        for name, examples in splits.items()
    }
