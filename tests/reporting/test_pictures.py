from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipeline.reporting.pictures import thumbnail_png, write_figure
from pipeline.tracking.comparison import smaller_png


@pytest.fixture
def figure():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0], label="With BN")
    return figure


def test_a_picture_is_a_png_of_the_figures_size(tmp_path, figure):
    write_figure(tmp_path / "figures" / "curves.png", figure)

    with Image.open(tmp_path / "figures" / "curves.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (260, 130))


def test_a_picture_does_not_say_when_or_by_what_it_was_made(tmp_path, figure):
    write_figure(tmp_path / "curves.png", figure)

    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.info.keys() == {"dpi"}


def test_a_picture_is_the_same_bytes_each_time(tmp_path, figure):
    write_figure(tmp_path / "a.png", figure)
    write_figure(tmp_path / "b.png", figure)

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_ink_is_dark_on_white_and_as_large_as_the_image():
    image = np.array([[0, 255, 0], [10, 0, 255]], np.uint8)
    with Image.open(BytesIO(thumbnail_png(image, is_ink=True))) as picture:
        assert np.array(picture).tolist() == [[255, 0, 255], [245, 255, 0]]
        assert not picture.info


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)], ids=["grey", "colour"])
def test_an_image_that_is_no_ink_is_shown_as_it_is(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(BytesIO(thumbnail_png(image, is_ink=False))) as picture:
        np.testing.assert_array_equal(np.array(picture), image)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_that_are_no_colours_are_shown_by_their_mean(channels):
    image = np.arange(2 * 3 * channels, dtype=np.uint8).reshape(2, 3, channels)
    with Image.open(BytesIO(thumbnail_png(image, is_ink=False))) as picture:
        np.testing.assert_array_equal(np.array(picture), image.mean(axis=2).round())


def test_a_large_image_is_made_smaller_in_its_proportions():
    image = np.full((200, 100, 3), 7, np.uint8)
    with Image.open(BytesIO(thumbnail_png(image, is_ink=False))) as picture:
        assert picture.size == (28, 56)
        assert np.unique(np.array(picture)) == [7]


@pytest.mark.parametrize(
    ("width", "size"), [(130, (130, 65)), (260, (260, 130)), (999, (260, 130))]
)
def test_a_picture_is_scaled_down_never_up(tmp_path, figure, width, size):
    write_figure(tmp_path / "curves.png", figure)

    content = smaller_png((tmp_path / "curves.png").read_bytes(), width)

    with Image.open(BytesIO(content)) as picture:
        assert (picture.format, picture.size) == ("PNG", size)
