"""The datasets and their published files. To add a dataset, add an entry to `DATASETS`."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.datasets import idx
from pipeline.datasets.idx import Labelled
from pipeline.errors import DataError, UnavailableError
from pipeline.files import damaged, missing, sha256

RAW_FOLDER = Path("data/raw")
# A row is an image of 8 by 8 pixels, then its label.
_DIGITS_SHAPE = (1797, 65)


@dataclass(frozen=True)
class PublishedFile:
    """A file as it was published, identified by its size and hash."""

    name: str
    size: int
    sha256: str

    def is_at(self, path: Path) -> bool:
        """Returns whether `path` holds this file, bit for bit."""
        return path.is_file() and path.stat().st_size == self.size and sha256(path) == self.sha256


@dataclass(frozen=True)
class Source:
    """The files of a dataset, where to get them, and how to read them.

    `mirrors` are folders or http(s) URLs, tried in order. `read` takes the folder of raw files and
    returns the training examples and the test examples.
    """

    files: tuple[PublishedFile, ...]
    mirrors: Callable[[], tuple[str, ...]]
    training_examples: int
    read: Callable[[Path], tuple[Labelled, Labelled]]


def _read_mnist(folder: Path) -> tuple[Labelled, Labelled]:
    return (
        idx.read_examples(
            folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"
        ),
        idx.read_examples(
            folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz"
        ),
    )


def _read_digits(folder: Path) -> tuple[Labelled, Labelled]:
    """Returns scikit-learn's digits, scaled from 0…16 to 0…255; the last fifth is the test set."""
    path = folder / "digits.csv.gz"
    try:
        lines = gzip.decompress(path.read_bytes()).decode("ascii").splitlines()
        if len(lines) != _DIGITS_SHAPE[0]:
            raise DataError(f"{path.name} has {len(lines)} digits, not {_DIGITS_SHAPE[0]}")
        table = np.loadtxt(lines, delimiter=",").reshape(_DIGITS_SHAPE)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path.name} is damaged: {error}") from None
    images = np.round(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    labels = table[:, -1].astype(np.uint8)
    training = DATASETS["digits"].training_examples
    return (
        Labelled(images[:training], labels[:training]),
        Labelled(images[training:], labels[training:]),
    )


def _scikit_learn_data() -> tuple[str, ...]:
    """Returns the folder of datasets in the installed scikit-learn, without importing it."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UnavailableError(
            "scikit-learn, which holds the digits, is not installed: run `make setup`"
        )
    return (str(Path(spec.origin).parent / "datasets" / "data"),)


DATASETS: dict[str, Source] = {
    "mnist": Source(
        files=(
            PublishedFile(
                "train-images-idx3-ubyte.gz",
                9912422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            PublishedFile(
                "train-labels-idx1-ubyte.gz",
                28881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            PublishedFile(
                "t10k-images-idx3-ubyte.gz",
                1648877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            PublishedFile(
                "t10k-labels-idx1-ubyte.gz",
                4542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        mirrors=lambda: (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        training_examples=60_000,
        read=_read_mnist,
    ),
    "digits": Source(
        files=(
            PublishedFile(
                "digits.csv.gz",
                57523,
                "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
            ),
        ),
        mirrors=_scikit_learn_data,
        training_examples=1437,
        read=_read_digits,
    ),
}


def read_published(name: str, folder: Path = RAW_FOLDER) -> tuple[Labelled, Labelled]:
    """Returns the training and test examples of a dataset after verifying its files.

    Raises:
        MissingInputError: if a file is missing.
        DataError: if a file differs from the published one.
    """
    for file in DATASETS[name].files:
        path = folder / file.name
        if not path.exists():
            raise missing(path)
        if not file.is_at(path):
            raise damaged(path, "it is not the file that was published")
    return DATASETS[name].read(folder)
