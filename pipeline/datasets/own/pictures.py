"""Pictures in folders: a folder for each class, by themselves or below `train` and `test`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.own.given import MOST_BYTES, Given, Part, data_error
from pipeline.datasets.picture_file import FORMATS, printable_path, read_colors

_ENDINGS = {
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm",
}  # fmt: skip
# What file managers leave in folders.
_IGNORED = {"thumbs.db", "desktop.ini"}
_VALIDATION = {"dev", "val", "valid", "validation"}


def read(folder: Path) -> Given:
    """Returns the pictures as examples, in the order of their classes' names and their own.

    They are grey if there is no colour in any of them.

    Raises:
        DataError: if there is anything else, a picture cannot be read, or two differ in size.
    """
    parts = {name: _paths(place) for name, place in _parts(folder).items()}
    pictures = _pictures([path for paths in parts.values() for path in paths])
    given, first = {}, 0
    for name, paths in parts.items():
        labels = np.array([path.parent.name for path in paths], np.str_)
        given[name] = Part(pictures[first : first + len(paths)], labels)
        first += len(paths)
    return Given(given["train"], given.get("test"))


def _parts(folder: Path) -> dict[str, Path]:
    """Returns the folder of each part."""
    names = {path.name for path in _entries(folder)}
    if "train" not in names or not names <= {"train", "test"} | _VALIDATION:
        return {"train": folder}
    for name in sorted(names & _VALIDATION):
        raise data_error(
            folder / name,
            "has no use: validation examples are drawn from train, so put these there too",
        )
    return {name: folder / name for name in ("train", "test") if name in names}


def _paths(folder: Path) -> list[Path]:
    """Returns the pictures of a part."""
    paths = []
    for directory in _entries(folder):
        if not directory.is_dir():
            raise data_error(
                directory,
                "is not in a folder: pictures are in one for each class, and "
                "nothing else is beside these",
            )
        held = list(_entries(directory))
        if not held:
            raise data_error(directory, "holds no pictures: add some, or remove it")
        for path in held:
            if path.suffix.lower() not in _ENDINGS or not path.is_file():
                raise data_error(path, f"is not a picture ({', '.join(FORMATS)}): remove it")
        paths += held
    if not paths:
        raise data_error(folder, "holds neither pictures by class nor IDX files")
    return paths


def _entries(folder: Path) -> Iterator[Path]:
    """Yields what is in a folder, by name, but for what is hidden."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name.lower() not in _IGNORED:
            yield path


def _pictures(paths: list[Path]) -> NDArray[np.uint8]:
    """Returns pictures [pictures, height, width], or [pictures, height, width, 3] in colour."""
    pictures: list[NDArray[np.uint8]] = []
    for path in paths:
        pixels = read_colors(path)
        if pictures and pixels.shape[:2] != pictures[0].shape[:2]:
            raise data_error(
                path,
                f"has {_size(pixels)} pixels and {printable_path(paths[0])} {_size(pictures[0])}: "
                "bring all to one size",
            )
        if pixels.size * len(paths) > MOST_BYTES:
            raise data_error(
                path,
                f"and all others of {_size(pixels)} pixels take more than 2 GB: make them smaller, "
                "or give fewer",
            )
        pictures.append(pixels[..., 0] if _is_grey(pixels) else pixels)
    if all(picture.ndim == 2 for picture in pictures):
        return np.stack(pictures)
    return np.stack([one if one.ndim == 3 else np.dstack([one] * 3) for one in pictures])


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
