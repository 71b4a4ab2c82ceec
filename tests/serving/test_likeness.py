import itertools
import string

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import read_prepared
from pipeline.serving.drawings import as_example
from pipeline.serving.likeness import RARE, Likeness
from tests.faults.command import CHECKOUT

PREPARED = CHECKOUT / "data/prepared.npz"


def examples(images):
    images = np.array(images, np.uint8)
    return Examples(images, np.zeros(len(images), np.uint8))


def test_the_share_is_of_test_images_that_are_no_nearer_to_any_training_image():
    train = examples([[[9, 0], [0, 0]], [[0, 0], [0, 7]]])
    # Cosines of 1, 0.6, 0.6 and 0 with the nearest of them: distances of 0, 0.4, 0.4 and 1.
    test = examples([[[1, 0], [0, 0]], [[3, 4], [0, 0]], [[0, 4], [0, 3]], [[0, 5], [0, 0]]])
    likeness = Likeness(Dataset(train, train, test, ("a", "b")))

    # Distances of 0, 1 - 0.8, 1 and, of an image without ink, 1.
    images = np.array([[[0, 0], [0, 2]], [[4, 3], [0, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 0]]])
    assert likeness.share_less_alike(images).tolist() == [1, 0.75, 0.25, 0.25]


@pytest.fixture(scope="module")
def mnist():
    if not PREPARED.exists():
        pytest.skip("MNIST is not prepared")
    dataset = read_prepared(PREPARED)
    if dataset.train.inputs.shape != (55_000, 28, 28):
        pytest.skip("what is prepared is not MNIST")
    return dataset


@pytest.fixture(scope="module")
def told(mnist):
    """Returns the share of pictures, of any size and dark on light, that would be told."""
    likeness = Likeness(mnist)

    def told(pictures):
        images = np.stack([as_example(np.uint8(one), (28, 28)) for one in pictures])
        return (likeness.share_less_alike(images) < RARE).mean()

    return told


@pytest.fixture(scope="module")
def drawings(mnist):
    """Digits as somebody would draw them, on a large sheet."""
    others = 255 - mnist.test.inputs[1000:1200]
    return [np.pad(np.kron(one, np.ones((5, 5))), 50, constant_values=255) for one in others]


def typed(text):
    font = ImageFont.truetype(f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 60)
    sheet = Image.new("L", (200, 120), 255)
    ImageDraw.Draw(sheet).text((40, 20), text, font=font, fill=0)
    return np.asarray(sheet)


def test_of_true_digits_few_are_told(told, drawings):
    assert told(drawings) < 2 * RARE
    assert told([typed(digit) for digit in string.digits]) == 0


def test_two_digits_and_a_ruled_sheet_are_told(told, drawings):
    pairs = [np.hstack(pair) for pair in itertools.pairwise(drawings)]
    assert told(pairs) > 0.95
    ruled = [
        np.where(np.arange(len(one))[:, None] % 25, one, np.minimum(one, 150)) for one in drawings
    ]
    assert told(ruled) > 0.95


def test_shadows_and_letters_are_often_told(told, drawings):
    shaded = [one * np.linspace(1, 0.5, one.shape[1]) for one in drawings]
    assert told(shaded) > 0.5
    # Many are drawn as some digit is.
    assert told([typed(letter) for letter in string.ascii_letters]) > 0.3
