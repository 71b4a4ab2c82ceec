import struct

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError, MissingInputError
from pipeline.serving.drawings import as_example
from pipeline.serving.given import read_given
from pipeline.tracking.trained_on import TrainedOn


def trained_on(*shape, dataset="file", features=()):
    return TrainedOn(dataset, shape, ("a", "b"), features)


@pytest.fixture
def picture(tmp_path):
    """A picture in colour of 6 by 4 pixels, and its path."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return pixels, tmp_path / "a.png"


def test_a_picture_of_the_right_size_is_taken_as_it_is(picture):
    pixels, path = picture
    given = read_given(path, 10, trained_on(4, 6, 3))
    np.testing.assert_array_equal(given.inputs, [pixels])
    assert (given.names, given.is_single, given.left_out) == ([str(path)], True, 0)


def test_a_picture_is_scaled_by_averages(picture):
    pixels, path = picture
    (image,) = read_given(path, 10, trained_on(2, 3, 3)).inputs
    expected = pixels.reshape(2, 2, 3, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(image, expected, atol=1)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1)])
def test_a_grey_model_is_given_grey(picture, shape):
    pixels, path = picture
    given = read_given(path, 10, trained_on(*shape))
    assert given.inputs.shape == (1, *shape)
    grey = given.inputs.reshape(4, 6)
    np.testing.assert_allclose(grey, pixels @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
def test_a_drawing_of_a_digit_is_prepared_as_those_were(tmp_path, dataset):
    stroke = np.full((90, 90), 255, np.uint8)
    stroke[20:70, 40:50] = 0
    Image.fromarray(stroke).save(tmp_path / "a.png")
    side = {"mnist": 28, "digits": 8}[dataset]
    (image,) = read_given(tmp_path / "a.png", 10, trained_on(side, side, dataset=dataset)).inputs
    np.testing.assert_array_equal(image, as_example(stroke, (side, side)))


def test_images_with_channels_that_no_picture_has_are_reported(picture):
    with pytest.raises(DataError, match=r"a\.png is of no use: .* images of 4 channels"):
        read_given(picture[1], 10, trained_on(4, 6, 4))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_images_of_an_idx_file_have_names_by_their_places(tmp_path, shape):
    path = tmp_path / "images"
    path.write_bytes(struct.pack(">4I", 0x803, 5, 2, 3) + bytes(range(30)))
    given = read_given(path, 2, trained_on(*shape))
    assert (given.names, given.left_out) == ([f"{path}[0]", f"{path}[1]"], 3)
    np.testing.assert_array_equal(given.inputs, np.arange(12).reshape(2, *shape))


@pytest.mark.parametrize(
    ("shape", "takes"), [((3, 2), "3 by 2"), ((2, 3, 3), "2 by 3 by 3"), ((6, 1), "6 by 1")]
)
def test_images_of_another_size_are_reported(tmp_path, shape, takes):
    path = tmp_path / "images"
    path.write_bytes(struct.pack(">4I", 0x803, 5, 2, 3) + bytes(range(30)))
    with pytest.raises(DataError, match=f"has images of 2 by 3 pixels, the model takes {takes}:"):
        read_given(path, 2, trained_on(*shape))


def test_rows_have_names_by_their_places(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("y,who,x\n1,me,2\n3,you,4\n5,she,6\n", encoding="utf-8")
    given = read_given(path, 2, trained_on(2, features=("x", "y")))
    assert given.inputs.tolist() == [[2, 1], [4, 3]]
    assert (given.names, given.left_out) == ([f"{path}, row 1", f"{path}, row 2"], 1)
    assert given.unknown == ("who",)


@pytest.mark.parametrize("name", ["x", "x_test"])
def test_images_of_an_array_are_taken_as_they_are(tmp_path, name):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    # A file may hold both; then x is meant.
    others = {"x_test": images[:1]} if name == "x" else {"x_train": images[:1]}
    np.savez(tmp_path / "a.npz", **{name: images}, **others)
    given = read_given(tmp_path / "a.npz", 2, trained_on(4, 6, 3))
    np.testing.assert_array_equal(given.inputs, images[:2])
    assert (given.left_out, given.is_single) == (1, False)


def test_images_divided_by_255_are_bytes_again(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6), np.uint8)
    np.savez(tmp_path / "a.npz", x=images / 255)
    given = read_given(tmp_path / "a.npz", 9, trained_on(4, 6))
    np.testing.assert_array_equal(given.inputs, images)


def test_features_of_an_array_are_taken_in_their_order(tmp_path):
    features = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=features)
    given = read_given(tmp_path / "a.npz", 9, trained_on(2, features=("x0", "x1")))
    np.testing.assert_array_equal(given.inputs, features)


@pytest.mark.parametrize(
    ("held", "data", "fault"),
    [
        ({"y_test": np.zeros(3)}, trained_on(4, 6), "has no array x or x_test; .* y_test"),
        ({"x": np.zeros((3, 4))}, trained_on(2, features=("a", "b")), r"of \[4\], .* takes \[2\]"),
        ({"x": np.zeros((3, 4, 6))}, trained_on(2, features=("a", "b")), r"of \[4, 6\], .* \[2\]"),
        ({"x": np.zeros((3, 4, 6))}, trained_on(4, 5), "images of 4 by 6 pixels, .* 4 by 5"),
        ({"x": np.zeros((3, 24))}, trained_on(4, 6), "images of 24 pixels, .* 4 by 6"),
        ({"x": np.full((3, 4, 6), 0.3)}, trained_on(4, 6), "neither a byte"),
        ({"x": np.array([object()])}, trained_on(4, 6), "cannot be read"),
        ({"x": np.zeros(())}, trained_on(4, 6), r"x is \[\]: pictures are"),
        ({"x": np.zeros((0, 4, 6))}, trained_on(4, 6), "holds no examples"),
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path, held, data, fault):
    np.savez(tmp_path / "a.npz", **held)
    with pytest.raises(DataError, match=rf"a\.npz.* {fault}"):
        read_given(tmp_path / "a.npz", 9, data)


def test_a_missing_file_of_arrays_is_told(tmp_path):
    with pytest.raises(MissingInputError, match=r"none\.npz is not here"):
        read_given(tmp_path / "none.npz", 9, trained_on(4, 6))
