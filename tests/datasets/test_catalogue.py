import io
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.datasets.catalogue import DATASETS, read_published
from pipeline.datasets.fetching import fetch
from pipeline.datasets.mirrors import Mirror
from pipeline.errors import DataError, MissingInputError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import read_prepared, write_prepared

DIGITS = DATASETS["digits"]


def test_digits_are_those_of_scikit_learn(tmp_path):
    fetch(DIGITS.files, map(Mirror, DIGITS.mirrors()), tmp_path)

    training, test = DIGITS.read(tmp_path)

    expected = load_digits()
    images = np.concatenate([training.images, test.images])
    np.testing.assert_array_equal(np.round(images * (16 / 255)), expected.images)
    np.testing.assert_array_equal(np.concatenate([training.labels, test.labels]), expected.target)
    assert images.max() == 255
    assert (len(training.labels), len(test.labels)) == (DIGITS.training_examples, 360)
    assert images.dtype == training.labels.dtype == np.uint8


def digits_table(rows):
    return "\n".join(",".join(map(str, row)) for row in rows).encode()


ROWS = [[0] * 64 + [1], [16] * 64 + [2]]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<html>", id="a web page"),
        pytest.param(digits_table(ROWS)[:-9], id="cut short"),
        pytest.param(digits_table([["a"] * 65]), id="not numbers"),
        pytest.param(digits_table([*ROWS, [1, 2]]), id="a short row"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(
            digits_table([[1, 2, 3], [4, 5, 6]]),
            id="another table",
        ),
        pytest.param(
            digits_table([]),
            id="no rows",
        ),
    ],
)
def test_damaged_digits_are_reported(tmp_path, content):
    (tmp_path / "digits.csv").write_bytes(content)

    with pytest.raises(DataError, match=r"digits\.csv"):
        DIGITS.read(tmp_path)


def test_missing_digits_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(MissingInputError, match=r"digits\.csv is not here: `dvc repro`"):
        DIGITS.read(tmp_path)


def test_mnist_takes_test_examples_from_the_t10k_files(tmp_path):
    for number, prefix in enumerate(["train", "t10k"]):
        images = struct.pack(">4I", 0x803, 1, 28, 28) + bytes([number] * 784)
        labels = struct.pack(">2I", 0x801, 1) + bytes([number])
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)

    training, test = DATASETS["mnist"].read(tmp_path)

    assert (training.images.shape, training.images.max(), training.labels[0]) == ((1, 28, 28), 0, 0)
    assert (test.images.shape, test.images.min(), test.labels[0]) == ((1, 28, 28), 1, 1)


def test_the_names_of_clothes_are_in_the_order_of_their_labels():
    # From the table in the dataset's own README.
    assert DATASETS["fashion_mnist"].classes == (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    )  # fmt: skip


INSTALLED = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not INSTALLED.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_clothes_come_from_the_package_of_debian(tmp_path):
    fetch(DATASETS["fashion_mnist"].files, [Mirror(str(INSTALLED))], tmp_path)

    training, test = read_published("fashion_mnist", tmp_path)

    assert np.bincount(training.labels).tolist() == [6000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10


@pytest.mark.parametrize("source", DATASETS.values(), ids=DATASETS)
def test_files_have_hashes_and_mirrors(source):
    assert len({file.sha256 for file in source.files}) == len(source.files)
    assert all(len(file.sha256) == 64 and file.size > 0 for file in source.files)
    # What comes by http is verified all the same.
    assert all(mirror.startswith(("https://", "http://", "/")) for mirror in source.mirrors())


def test_files_that_differ_from_the_published_ones_are_refused(tmp_path):
    fetch(DIGITS.files, map(Mirror, DIGITS.mirrors()), tmp_path)
    training, _ = read_published("digits", tmp_path)
    assert len(training.labels) == DIGITS.training_examples

    path = tmp_path / "digits.csv"
    path.write_bytes(path.read_bytes().replace(b"0,", b"1,", 1))

    with pytest.raises(DataError, match=r"digits\.csv is damaged: it is not the file that"):
        read_published("digits", tmp_path)


def examples(first, count):
    images = np.arange(first, first + 6 * count, dtype=np.uint8).reshape(count, 2, 3)
    return Examples(images, np.arange(count, dtype=np.uint8))


DATASET = Dataset(
    train=examples(0, 4), validation=examples(100, 2), test=examples(200, 3), classes=tuple("abcd")
)


def test_prepared_arrays_survive_writing_and_reading(tmp_path):
    write_prepared(tmp_path / "prepared.npz", DATASET)

    again = read_prepared(tmp_path / "prepared.npz")

    for name in ("train", "validation", "test"):
        for part in ("inputs", "labels"):
            expected, actual = (
                getattr(getattr(DATASET, name), part),
                getattr(getattr(again, name), part),
            )
            np.testing.assert_array_equal(actual, expected)
            assert actual.dtype == np.uint8


def test_prepared_arrays_are_the_same_bytes_each_time(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_prepared(tmp_path / name, DATASET)

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def prepared_bytes():
    buffer = io.BytesIO()
    parts = [
        f"{name}_{part}"
        for name in ("train", "validation", "test")
        for part in ("inputs", "labels")
    ]
    np.savez(buffer, **dict.fromkeys(parts, np.arange(5, dtype=np.uint8)))
    return buffer.getvalue()


def pickled_objects():
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, train_inputs=np.array([{"any": "object"}]))
    return buffer.getvalue()


def one_array():
    buffer = io.BytesIO()
    np.save(buffer, np.arange(5))
    return buffer.getvalue()


def changed(content, place, value):
    return content[:place] + bytes([value]) + content[place + 1 :]


DIRECTORY = prepared_bytes().index(b"PK\x01\x02")
VALUES = prepared_bytes().index(bytes(range(5)))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="a web page"),
        pytest.param(prepared_bytes()[:-30], id="cut short"),
        pytest.param(changed(prepared_bytes(), VALUES, 7), id="a changed value"),
        pytest.param(pickled_objects(), id="pickled objects"),
        pytest.param(b"\x80\x04N.", id="a pickle"),
        pytest.param(
            one_array(),
            id="a single array",
        ),
        pytest.param(
            changed(prepared_bytes(), DIRECTORY + 8, 1),
            id="marked as encrypted",
        ),
        pytest.param(
            changed(prepared_bytes(), DIRECTORY + 10, 99),
            id="marked as compressed with another method",
        ),
    ],
)
def test_damaged_arrays_name_the_command_that_remakes_them(tmp_path, content):
    (tmp_path / "prepared.npz").write_bytes(content)

    with pytest.raises(DataError, match=r"prepared\.npz is damaged: .*dvc repro"):
        read_prepared(tmp_path / "prepared.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"test_labels": np.zeros(4, np.uint8)},
        {"validation_inputs": np.zeros((2, 6), np.uint8)},
        {"train_inputs": np.zeros((4, 2, 3))},
        {"train_labels": np.zeros(4, np.int64)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_arrays_that_are_not_examples_with_labels_are_reported(tmp_path, changes):
    write_prepared(tmp_path / "prepared.npz", DATASET)
    with np.load(tmp_path / "prepared.npz") as arrays:
        np.savez(tmp_path / "prepared.npz", **(dict(arrays) | changes))

    with pytest.raises(
        DataError, match=r"prepared\.npz is damaged: \w+ holds .* not examples with"
    ):
        read_prepared(tmp_path / "prepared.npz")


def test_a_missing_array_is_reported(tmp_path):
    np.savez(tmp_path / "prepared.npz", train_inputs=np.zeros(3, np.uint8))

    with pytest.raises(DataError, match="train_labels"):
        read_prepared(tmp_path / "prepared.npz")


def test_missing_arrays_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(MissingInputError, match=r"prepared\.npz is not here: `dvc repro` makes it"):
        read_prepared(tmp_path / "prepared.npz")
