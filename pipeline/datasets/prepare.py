"""Decodes the raw files, splits them, and counts the examples of each class."""

from pathlib import Path

import numpy as np

from pipeline.datasets.catalogue import DATASETS, OWN_FILE, read_published
from pipeline.datasets.idx import Labelled
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.files import write_json
from pipeline.params import Data, Params


def run(params: Params) -> None:
    """Writes `data/prepared.npz` and the class counts."""
    dataset = _dataset(params.data)

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
    return {
        name: dict(
            zip(
                dataset.classes,
                np.bincount(examples.labels, minlength=len(dataset.classes)).tolist(),
                strict=True,
            )
        )
        for name, examples in splits.items()
    }


def _dataset(data: Data) -> Dataset:
    if data.dataset == OWN_FILE:
        # Pandas and scikit-learn take longer to import than the rest takes.
        from pipeline.datasets.own.read import read_own  # noqa: PLC0415

        return read_own(data)
    training_file, test_file = read_published(data.dataset)
    return split(training_file, test_file, data.validation_size, DATASETS[data.dataset].classes)
