"""Reads the tables that people pass in: CSV and Parquet, a column for each feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from pipeline.datasets.picture_file import printable_path
from pipeline.errors import DataError, one_line, printable
from pipeline.serving.files import beginning

_WANTED = "a table (.csv or .parquet)"
# Parquet is packed, and may unpack to far more than the file's own size.
_MOST_UNPACKED = 2**30
_COUNTED_AT_ONCE = 100_000
_DAMAGED = (ValueError, OSError, pa.ArrowException, OverflowError, MemoryError)
# As pandas writes and reads them.
_TRUTH = {"True": "1", "TRUE": "1", "true": "1", "False": "0", "FALSE": "0", "false": "0"}
# How many columns a message names.
_NAMED = 3


@dataclass(frozen=True, eq=False)
class GivenRows:
    """The rows of a table.

    Attributes:
        features: [rows, features], float32, finite, in the order of the model's features.
        left_out: how many further rows the table has.
        unknown: its columns that are none of the features.
    """

    features: NDArray[np.float32]
    left_out: int
    unknown: tuple[str, ...]


def read_rows(path: Path, first: int, features: Sequence[str]) -> GivenRows:
    """Returns the `first` rows of a table that has these columns, in any order.

    Raises:
        MissingInputError: if the file is not there, or may not be read.
        ArgumentError: if it is not a regular file.
        DataError: if it is not a table, lacks a column, or has anything but finite numbers there.
    """
    beginning(path, _WANTED)
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise DataError(f"{printable_path(path)} is not {_WANTED}, which the model takes")
    read = _parquet if kind == ".parquet" else _csv
    try:
        table, count, columns = read(path, first, features)
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(f"{printable_path(path)} is not a table: {one_line(error)}") from None
    if table.empty:
        raise DataError(f"{printable_path(path)} holds no rows")
    unknown = tuple(name for name in columns if name not in set(features))
    return GivenRows(_numbers(path, table), count - len(table), unknown)


def _csv(
    path: Path, first: int, features: Sequence[str]
) -> tuple[pd.DataFrame, int, Sequence[str]]:
    """Returns the first rows of the features, how many rows there are, and all columns."""
    # As text, so that what is not a number can be shown as it was written.
    as_text = {
        "dtype": str, "na_filter": False, "skipinitialspace": True, "index_col": False,
        "encoding": "utf-8-sig", "compression": None,
    }  # fmt: skip
    columns = pd.read_csv(path, nrows=0, **as_text).columns.tolist()
    _expect_columns(path, columns, features)
    table = pd.read_csv(path, nrows=first, usecols=list(features), **as_text)
    chunks = pd.read_csv(path, chunksize=_COUNTED_AT_ONCE, usecols=[0], **as_text)
    return table[list(features)], sum(map(len, chunks)), columns


def _parquet(
    path: Path, first: int, features: Sequence[str]
) -> tuple[pd.DataFrame, int, Sequence[str]]:
    """Returns the same of a Parquet file."""
    with parquet.ParquetFile(path) as file:
        columns, count = file.schema_arrow.names, file.metadata.num_rows
        groups = range(file.metadata.num_row_groups)
        unpacked = sum(file.metadata.row_group(i).total_byte_size for i in groups)
        # Repeated values take no place in the file, but eight bytes each in memory.
        if max(unpacked, 8 * min(first, count) * len(features)) > _MOST_UNPACKED:
            raise DataError(f"{printable_path(path)} unpacks to more than 1 GB: give a smaller one")
        _expect_columns(path, columns, features)
        batches = file.iter_batches(min(first, max(count, 1)), columns=list(features))
        batch = next(batches, None)
        table = batch.to_pandas() if batch else pd.DataFrame(columns=list(features))
        return table[list(features)], count, columns


def _expect_columns(path: Path, columns: Sequence[str], features: Sequence[str]) -> None:
    missing = [name for name in features if name not in set(columns)]
    if not missing:
        return
    unknown = [name for name in columns if name not in set(features)]
    others = f"; unknown to the model: {listed(unknown)}" if unknown else ""
    raise DataError(f"{printable_path(path)} lacks the columns {listed(missing)}{others}")


def listed(names: Sequence[str]) -> str:
    """Returns names in a line; of many, the first."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(one_line(name, 60) for name in names[:_NAMED]) + more


def _numbers(path: Path, table: pd.DataFrame) -> NDArray[np.float32]:
    """Returns a table's values, of which all must be finite as float32."""
    numbers = table.replace(_TRUTH).apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    with np.errstate(over="ignore"):
        features = numbers.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(features))
    if len(wrong):
        row, column = wrong[0]
        value = printable(repr(table.iloc[row, column]))
        raise DataError(
            f"{printable_path(path)} has {one_line(value, 60)} in row {row + 1} of the data, "
            f"column {one_line(table.columns[column], 60)}, which is not a finite number"
        )
    return features
