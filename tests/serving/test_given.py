import struct

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError
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
    assert (given.names, given.left_out) == ([f"{path}[0]", f"{path}[1]"], 1)
    assert given.unknown == ("who",)
