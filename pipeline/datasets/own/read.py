"""Reads a file or folder of the user's own, of whatever kind, and splits it."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets.own import arrays, idx_files, pictures, splits, table
from pipeline.datasets.own.given import Given, class_names, data_error, params_error
from pipeline.datasets.picture_file import printable_path
from pipeline.errors import one_line
from pipeline.examples.dataset import Dataset
from pipeline.params import Data

_TABLES = (".csv", ".parquet")


def read_own(data: Data) -> Dataset:
    """Returns the examples at `data.path`, split.

    Raises:
        ParamsError: if a key of `data` does not fit the file.
        DataError: if the file holds anything but examples with their labels.
    """
    path = Path(data.path)
    try:
        given = _given(path, data.label)
    except OSError as error:
        place = Path(error.filename) if isinstance(error.filename, str) else path
        raise data_error(place, f"cannot be read: {error.strerror}") from None
    _expect_equal_shapes(given, path)
    return splits.split(given, class_names(given, path), data)


def _given(path: Path, label: str | None) -> Given:
    kind = path.suffix.lower()
    if not path.exists():
        raise params_error("path", f"must be a file or folder that is here, got {str(path)!r}")
    if not path.is_dir() and (not path.is_file() or kind not in (*_TABLES, ".npz")):
        raise params_error(
            "path",
            "must be a .npz, .csv or .parquet, or a folder of IDX files or of pictures by class, "
            f"got {one_line(path)!r}",
        )
    if kind in _TABLES and path.is_file():
        return table.read(path, label)
    if label is not None:
        raise params_error("label", f"must be left out: {printable_path(path)} is not a table")
    if path.is_file():
        return arrays.read(path)
    return idx_files.read(path) if idx_files.are_in(path) else pictures.read(path)


def _expect_equal_shapes(given: Given, path: Path) -> None:
    shape = given.training.inputs.shape[1:]
    for name, part in given.parts.items():
        if len(part.inputs) != len(part.labels):
            raise data_error(
                path, f"has {len(part.labels)} labels for {len(part.inputs)} {name} examples"
            )
        if part.inputs.size == 0:
            raise data_error(path, f"has no {name} examples")
        if part.inputs.shape[1:] != shape:
            raise data_error(
                path,
                f"has {name} examples of {list(part.inputs.shape[1:])}, and "
                f"train examples of {list(shape)}",
            )
