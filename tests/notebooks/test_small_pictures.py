from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from notebooks.small_pictures import small_png
from pipeline.reporting.pictures import png


def figure():
    drawn = Figure(figsize=(4, 3))
    drawn.subplots().plot(np.random.default_rng(0).random((20, 3)))
    return drawn


def test_a_small_picture_is_less_than_half_of_the_whole_one_and_looks_the_same():
    small, whole = small_png(figure()), png(figure())

    assert len(small) < len(whole) / 2
    shown, drawn = (
        np.asarray(Image.open(BytesIO(content)).convert("RGB"), np.int16)
        for content in (small, whole)
    )
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 2


def test_the_same_figure_gives_the_same_bytes():
    assert small_png(figure()) == small_png(figure())
