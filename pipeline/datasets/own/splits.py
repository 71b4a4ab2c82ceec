"""Splits examples by class: each split has about the same share of every class."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from pipeline.datasets.own.given import Given, Part, data_error, params_error
from pipeline.datasets.picture_file import printable_path
from pipeline.errors import one_line
from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import Data


def split(given: Given, classes: tuple[str, ...], data: Data) -> Dataset:
    """Returns the dataset, each split in the order of the file.

    `validation_size` of the training examples are held out, and before them, where the file has no
    test examples, `test_size`; which ones is drawn by `split_seed`.

    Raises:
        ParamsError: if a size is missing, needless, or does not fit the number of examples.
        DataError: if a class has too few examples.
    """
    training = _examples(given.training, classes)
    if given.test is not None:
        if data.test_size is not None:
            raise params_error(
                "test_size", f"must be left out: {_file(data)} has test examples of its own"
            )
        test = _examples(given.test, classes)
        if (counts := _counts(test, classes)).min() == 0:
            rare = one_line(classes[int(np.argmin(counts))])
            raise data_error(
                Path(data.path),
                f"has no test examples of class {rare!r}: add some, or leave the class out",
            )
    else:
        if data.test_size is None:
            raise params_error(
                "test_size", f"is missing: {_file(data)} has no test examples, so say how many"
            )
        _expect_enough(training, classes, 3, data)
        training, test = _drawn(training, classes, "test_size", data)
    _expect_enough(training, classes, 2, data)
    training, validation = _drawn(training, classes, "validation_size", data)
    return Dataset(training, validation, test, classes, given.features)


def _examples(part: Part, classes: tuple[str, ...]) -> Examples:
    names, places = np.unique(part.labels, return_inverse=True)
    numbers = np.array([classes.index(name) for name in names.tolist()], np.uint8)
    return Examples(part.inputs, numbers[places])


def _drawn(
    examples: Examples, classes: tuple[str, ...], key: str, data: Data
) -> tuple[Examples, Examples]:
    """Returns what is left of the examples, and as many as `key` of `data` says held out."""
    size, count = getattr(data, key), len(examples)
    # Of each class one is held out, and one left for each split that is still to be made.
    splits_left = 2 if key == "test_size" else 1
    most = count - splits_left * len(classes)
    if not len(classes) <= size <= most:
        raise params_error(
            key,
            f"must be from {len(classes)} to {most}, for every class of {_file(data)} to be in "
            f"each split, got {size}",
        )
    places = train_test_split(
        np.arange(count), test_size=size, stratify=examples.labels, random_state=data.split_seed
    )
    left, out = (Examples(examples.inputs[i], examples.labels[i]) for i in map(np.sort, places))
    given, held, kept = (_counts(one, classes) for one in (examples, out, left))
    if held.min() == 0:
        rare = int(np.argmin(held))
        raise params_error(
            key,
            f"must be at least {math.ceil(count / given[rare])} to have class "
            f"{_named(classes[rare])}, of which there are {given[rare]} in {count}, "
            f"got {size}; or leave the class out",
        )
    if kept.min() < splits_left:
        rare = int(np.argmin(kept))
        raise params_error(
            key,
            f"must be less, to leave {splits_left} of class {_named(classes[rare])}, of "
            f"which there are {given[rare]} in {count}, got {size}",
        )
    return left, out


def _expect_enough(examples: Examples, classes: tuple[str, ...], splits: int, data: Data) -> None:
    """Raises if a class has fewer examples than there are splits to be made of them."""
    counts = _counts(examples, classes)
    if counts.min() < splits:
        rare = int(np.argmin(counts))
        raise data_error(
            Path(data.path),
            f"has too few training examples of class {_named(classes[rare])}: {counts[rare]}, "
            f"where each split takes one, {splits} in all; add some, or leave the class out",
        )


def _named(name: str) -> str:
    """Returns a class's name in quotes, which show a space at its end."""
    return one_line(repr(str(name)))


def _counts(examples: Examples, classes: tuple[str, ...]) -> NDArray[np.intp]:
    return np.bincount(examples.labels, minlength=len(classes))


def _file(data: Data) -> str:
    return printable_path(Path(data.path))
