import gzip
import struct

import numpy as np
import pytest

from pipeline.datasets.own import idx_files

IMAGES = np.arange(6 * 6, dtype=np.uint8).reshape(6, 2, 3)
LABELS = np.array([0, 1, 0, 1, 0, 1], np.uint8)


def idx(values):
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def saved(project):
    """Writes arrays as IDX files of these names, packed if the name says so; returns a folder."""

    def save(**files):
        (project / "own").mkdir()
        for name, values in files.items():
            content = values if isinstance(values, bytes) else idx(values)
            packed = gzip.compress(content) if name.endswith(".gz") else content
            (project / "own" / name).write_bytes(packed)
        return "own"

    return save


TRAINING = {"train-images-idx3-ubyte": IMAGES, "train-labels-idx1-ubyte": LABELS}


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte.gz"),
        ("emnist-letters-test-images-idx3-ubyte.gz", "emnist-letters-test-labels-idx1-ubyte.gz"),
    ],
)
def test_four_files_are_the_training_and_the_test_examples(saved, read, images, labels):
    path = saved(**TRAINING, **{images: IMAGES[::-1], labels: 1 - LABELS})

    dataset = read(path, validation_size=2)

    np.testing.assert_array_equal(dataset.test.inputs, IMAGES[::-1])
    np.testing.assert_array_equal(dataset.test.labels, 1 - LABELS)
    assert (len(dataset.train), dataset.classes) == (4, ("0", "1"))


def test_test_examples_are_drawn_where_two_files_hold_none(saved, read):
    dataset = read(saved(**TRAINING), validation_size=2, test_size=2)

    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [2, 2, 2]


def test_labels_may_be_more_than_those_of_digits(saved, read):
    labels = 250 + LABELS

    dataset = read(
        saved(**TRAINING | {"train-labels-idx1-ubyte": labels}), validation_size=2, test_size=2
    )

    assert dataset.classes == ("250", "251")


def test_four_dimensions_are_in_colour(saved, read):
    colours = np.arange(6 * 2 * 2 * 3, dtype=np.uint8).reshape(6, 2, 2, 3)

    dataset = read(
        saved(**{"train-images-idx4-ubyte": colours, "train-labels-idx1-ubyte": LABELS}),
        validation_size=2, test_size=2,
    )  # fmt: skip

    assert dataset.train.inputs.shape == (2, 2, 2, 3)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"train-labels-idx1-ubyte": b""}, "train-labels-idx1-ubyte ends within its header"),
        ({"train-labels-idx1-ubyte": LABELS[:5]}, "own has 5 labels for 6 train examples"),
        ({"train-images-idx3-ubyte.gz": IMAGES}, "own has both train-images-idx3-ubyte and train-"),
        ({"t10k-images-idx3-ubyte": IMAGES}, "own has no file t10k-labels-idx1-ubyte"),
        ({"t10k-labels-idx1-ubyte": LABELS}, "own has no file t10k-images-idx3-ubyte"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(saved, refusal, files, told):
    assert refusal(saved(**TRAINING | files)).startswith(told)


def test_training_files_are_needed(saved, refusal):
    path = saved(**{"t10k-images-idx3-ubyte": IMAGES, "t10k-labels-idx1-ubyte": LABELS})

    assert refusal(path) == "own has no file train-images-idx3-ubyte"


def test_files_that_are_too_large_are_refused(saved, refusal, monkeypatch):
    monkeypatch.setattr(idx_files, "MOST_BYTES", 35)

    told = refusal(saved(**TRAINING))

    assert told.startswith("train-images-idx3-ubyte claims [6, 2, 3] values, more than")
