import numpy as np
import pytest

from pipeline.examples.dataset import Dataset, Examples


def examples(*shape):
    return Examples(np.zeros(shape, np.uint8), np.zeros(shape[0], np.uint8))


def test_length_is_the_number_of_examples():
    assert len(examples(4, 2, 3)) == 4


@pytest.mark.parametrize(
    ("shape", "has_images"), [((4, 2, 3), True), ((4, 2, 3, 3), True), ((4, 6), False)]
)
def test_images_are_told_from_features(shape, has_images):
    parts = [examples(*shape)] * 3
    assert Dataset(*parts, classes=("a", "b")).has_images == has_images
