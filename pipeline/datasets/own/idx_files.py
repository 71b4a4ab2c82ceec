"""IDX files of images and labels in a folder, with names like those of MNIST's."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.datasets import idx
from pipeline.datasets.own.given import (
    MOST_BYTES,
    Given,
    Part,
    as_images,
    as_labels,
    data_error,
    printable_path,
)

# Other datasets in this format put their own name first, say `emnist-letters-`, and call the
# test files so.
_NAME = re.compile(r"(.*-)?(train|t10k|test)-(images|labels)[-.]idx(\d)-ubyte(\.gz)?")


def are_in(folder: Path) -> bool:
    """Returns whether a folder holds such files."""
    return any(_NAME.fullmatch(path.name) for path in folder.iterdir())


def read(folder: Path) -> Given:
    """Returns the examples of two files, or of four: for training, and for the test.

    Images have three dimensions, or four in colour: [examples, height, width, 3].

    Raises:
        DataError: if a file is missing, twice there or damaged, or two do not belong together.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        if name := _NAME.fullmatch(path.name):
            key = ("train" if name[2] == "train" else "test", name[3])
            if key in found:
                raise data_error(folder, f"has both {found[key].name} and {path.name}: remove one")
            found[key] = path
    has_test = any(split == "test" for split, _ in found)
    for split in ("train", "test") if has_test else ("train",):
        for kind in ("images", "labels"):
            if (split, kind) not in found:
                published = "train" if split == "train" else "t10k"
                number = 3 if kind == "images" else 1
                raise data_error(folder, f"has no file {published}-{kind}-idx{number}-ubyte")
    test = _part(found["test", "images"], found["test", "labels"]) if has_test else None
    return Given(_part(found["train", "images"], found["train", "labels"]), test)


def _part(images: Path, labels: Path) -> Part:
    name = _NAME.fullmatch(images.name)
    dimensions = 4 if name and name[4] == "4" else 3
    values = idx.read_array(images, dimensions=dimensions, most_bytes=MOST_BYTES)
    named = idx.read_array(labels, dimensions=1, most_bytes=MOST_BYTES)
    return Part(as_images(values, printable_path(images)), as_labels(named, printable_path(labels)))
