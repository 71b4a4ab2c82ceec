import io
import zipfile

import numpy as np
import pytest

from pipeline.datasets.own import arrays
from pipeline.errors import ParamsError

BYTES = np.arange(6 * 12, dtype=np.uint8).reshape(6, 3, 4)
LABELS = np.array([0, 1, 0, 1, 0, 1])


@pytest.fixture
def saved(project):
    """Saves arrays, by default six training examples; returns the path."""

    def save(x_train=BYTES, y_train=LABELS, **others):
        np.savez(project / "own.npz", x_train=x_train, y_train=y_train, **others)
        return "own.npz"

    return save


def test_arrays_are_the_examples(saved, read):
    path = saved(x_test=BYTES[::-1], y_test=LABELS)

    dataset = read(path, validation_size=2)

    assert (len(dataset.train), len(dataset.validation)) == (4, 2)
    np.testing.assert_array_equal(dataset.test.inputs, BYTES[::-1])
    np.testing.assert_array_equal(dataset.test.labels, LABELS)
    assert dataset.test.inputs.dtype == dataset.test.labels.dtype == np.uint8
    assert (dataset.classes, dataset.features) == (("0", "1"), ())


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(BYTES.astype(np.int64), id="integers"),
        pytest.param(BYTES.astype(">f4"), id="whole numbers in another order of bytes"),
        pytest.param(BYTES / 255, id="divided by 255"),
        pytest.param((BYTES / np.float32(255)).astype(np.float32), id="divided in float32"),
        pytest.param(BYTES.astype(np.float32) / 255, id="divided as float32"),
        pytest.param(BYTES[..., None], id="one channel"),
        pytest.param(np.asfortranarray(BYTES), id="columns first"),
    ],
)
def test_pictures_come_out_as_the_bytes_they_were_made_from(saved, read, same):
    dataset = read(saved(x_test=same, y_test=LABELS), validation_size=2)

    np.testing.assert_array_equal(dataset.test.inputs, BYTES)
    assert dataset.test.inputs.dtype == np.uint8


def test_colours_are_kept(saved, read):
    colours = np.arange(6 * 2 * 2 * 3, dtype=np.uint8).reshape(6, 2, 2, 3)

    dataset = read(saved(colours, x_test=colours, y_test=LABELS), validation_size=2)

    np.testing.assert_array_equal(dataset.test.inputs, colours)


@pytest.mark.parametrize("kind", [np.float64, np.int16, np.uint8, bool])
def test_two_dimensions_are_features(saved, read, kind):
    values = np.arange(12).reshape(6, 2).astype(kind)

    dataset = read(saved(values, x_test=values, y_test=LABELS), validation_size=2)

    np.testing.assert_array_equal(dataset.test.inputs, values.astype(np.float32))
    assert dataset.test.inputs.dtype == np.float32
    assert dataset.features == ("x0", "x1")


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        ([10, 9, 10, 9, 2, 2], ("2", "9", "10"), [2, 1, 2, 1, 0, 0]),
        ([-1, 1, -1, 1, -1, 1], ("-1", "1"), [0, 1, 0, 1, 0, 1]),
        ([2.0, 1.0, 2.0, 1.0, 2.0, 1.0], ("1", "2"), [1, 0, 1, 0, 1, 0]),
        ([True, False] * 3, ("False", "True"), [1, 0, 1, 0, 1, 0]),
        (["owl", "cat"] * 3, ("cat", "owl"), [1, 0, 1, 0, 1, 0]),
        (["10", "9"] * 3, ("9", "10"), [1, 0, 1, 0, 1, 0]),
        (["10", "9b"] * 3, ("10", "9b"), [0, 1, 0, 1, 0, 1]),
        ([[3], [4]] * 3, ("3", "4"), [0, 1, 0, 1, 0, 1]),
    ],
)
def test_classes_are_sorted_numbers_as_numbers(saved, read, labels, classes, numbers):
    dataset = read(saved(x_test=BYTES, y_test=labels, y_train=labels), validation_size=3)

    assert dataset.classes == classes
    assert dataset.test.labels.tolist() == numbers


def with_one(value):
    values = np.zeros((6, 2))
    values[3, 1] = value
    return values


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"x_train": with_one(np.nan)}, ": x_train[3, 1] is nan, not a finite number of 32 bits: "),
        ({"x_train": with_one(-np.inf)}, ": x_train[3, 1] is -inf, not a finite number of 32 "),
        ({"x_train": with_one(1e39)}, ": x_train[3, 1] is 1e+39, not a finite number of 32 bits"),
        (
            {"x_train": BYTES / 256},
            ": x_train[0, 0, 1] is 0.00390625, neither a byte nor a byte div",
        ),
        (
            {"x_train": BYTES * 4.0},
            ": x_train[5, 1, 0] is 256.0, neither a byte nor a byte divided",
        ),
        ({"x_train": BYTES - 1.0}, ": x_train[0, 0, 0] is -1.0, neither a byte nor a byte divided"),
        (
            {"x_train": np.full((6, 2, 2), np.nan)},
            ": x_train[0, 0, 0] is nan, neither a byte nor a",
        ),
        ({"x_train": BYTES.astype(str)}, ": x_train holds <U3, not numbers"),
        ({"x_train": np.zeros(6)}, ": x_train is [6]: pictures are [examples, height, width] or"),
        ({"x_train": np.zeros((6, 3, 8, 8))}, ": x_train is [6, 3, 8, 8]: pictures are [example"),
        ({"x_train": BYTES[:5]}, " has 6 labels for 5 train examples"),
        ({"x_train": BYTES[:, :0]}, " has no train examples"),
        ({"x_train": BYTES[:0], "y_train": LABELS[:0]}, " has no train examples"),
        ({"x_test": BYTES[:, 1:], "y_test": LABELS}, " has test examples of [2, 4], and train exa"),
        ({"x_test": BYTES}, " has no array y_test; its arrays are x_test, x_train, y_train"),
        ({"x_test": BYTES[:0], "y_test": LABELS[:0]}, " has no test examples"),
        ({"y_test": LABELS}, " has no array x_test; its arrays are x_train, y_test, y_train"),
        ({"x_test": BYTES[:1], "y_test": [0]}, " has no test examples of class '1': add some"),
        (
            {"x_test": BYTES[:3], "y_test": [0, 1, 7]},
            " has too few training examples of class '7': 0,",
        ),
        ({"y_train": np.zeros(6, int)}, " has one class only, '0'"),
        ({"y_train": np.eye(6)}, ": y_train is [6, 6]: labels are [examples]; of one column for "),
        ({"y_train": LABELS / 2}, ": y_train holds labels that are neither text nor whole numbers"),
        (
            {"y_train": np.where(LABELS, np.inf, 0)},
            ": y_train holds labels that are neither text nor whole num",
        ),
        ({"y_train": LABELS * 1e300}, ": y_train holds labels that are neither text nor whole num"),
        ({"y_train": LABELS + np.nan}, ": y_train holds labels that are neither text nor whole "),
        ({"y_train": ["", "a"] * 3}, " has a class with the name '': names are 1 to 100 character"),
        ({"y_train": ["a\nb", "a"] * 3}, " has a class with the name 'a\\nb': names are 1 to 100"),
        ({"y_train": ["a" * 101, "a"] * 3}, " has a class with the name 'aaaa"),
        ({"y_train": [b"a", b"b"] * 3}, ": y_train holds labels that are neither text nor whole"),
    ],
)
def test_what_is_no_example_is_refused(saved, refusal, changes, told):
    path = saved(**changes)

    size = None if {"x_test", "y_test"} & set(changes) else 2
    assert refusal(path, test_size=size).startswith(f"own.npz{told}")


def test_more_classes_than_a_byte_has_are_refused(saved, refusal):
    count = 3 * 257
    path = saved(np.zeros((count, 1)), np.arange(count) % 257)

    assert refusal(path).startswith("own.npz has 257 classes, and 256 are the most")


def test_as_many_classes_as_a_byte_has_are_read(saved, read):
    count = 3 * 256

    dataset = read(
        saved(np.zeros((count, 1)), np.arange(count) % 256), validation_size=256, test_size=256
    )

    assert sorted(dataset.train.labels) == list(range(256))


@pytest.mark.parametrize("name", ["x_train", "y_train"])
def test_objects_are_not_unpickled(saved, refusal, project, name):
    class Writes:
        def __reduce__(self):
            return (project.joinpath("written").write_text, ("run",))

    objects = np.array([Writes()] * 6, object)
    path = saved(**{name: objects})

    assert "Object arrays cannot be loaded" in refusal(path)
    assert not (project / "written").exists()


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    place = content.index(BYTES.tobytes()) + 5
    return content[:place] + b"!" + content[place + 1 :]


@pytest.mark.parametrize(
    "change",
    [truncated, flipped, lambda _: b"", lambda _: b"\x80\x04N."],
    ids=["truncated", "flipped", "empty", "pickle"],
)
def test_damage_is_told(saved, refusal, project, change):
    path = saved()
    content = (project / path).read_bytes()
    (project / path).write_bytes(change(content))

    assert refusal(path).startswith("own.npz cannot be read: ")


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(refusal, project, monkeypatch):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (6, 1000, 1000)}
    )
    with zipfile.ZipFile(project / "own.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", header.getvalue() + bytes(6_000_000))
        archive.writestr("y_train.npy", b"")
    monkeypatch.setattr(arrays, "MOST_BYTES", 6_000_000)

    assert refusal("own.npz") == "own.npz unpacks to more than 2 GB: give fewer examples"


def test_a_label_column_is_for_tables(saved, refusal):
    told = refusal(saved(), ParamsError, label="y")

    assert told == "`label` must be left out: own.npz is not a table (params.yaml, data)"
