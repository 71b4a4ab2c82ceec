from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipeline.reporting.pictures import ink_png, write_figure
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
    with Image.open(BytesIO(ink_png(image))) as picture:
        assert np.array(picture).tolist() == [[255, 0, 255], [245, 255, 0]]
        assert not picture.info


@pytest.mark.parametrize(
    ("width", "size"), [(130, (130, 65)), (260, (260, 130)), (999, (260, 130))]
)
def test_a_picture_is_scaled_down_never_up(tmp_path, figure, width, size):
    write_figure(tmp_path / "curves.png", figure)

    content = smaller_png((tmp_path / "curves.png").read_bytes(), width)

    with Image.open(BytesIO(content)) as picture:
        assert (picture.format, picture.size) == ("PNG", size)
