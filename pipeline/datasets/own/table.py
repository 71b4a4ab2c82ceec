"""Tables: `.csv` with a line of names first, or `.parquet`; a row is an example."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from pipeline.datasets.own.given import (
    MOST_BYTES,
    Given,
    Part,
    as_features,
    as_labels,
    data_error,
    params_error,
    printable_path,
)
from pipeline.errors import one_line

# Of text, which takes more memory than the numbers in it.
_MOST_BYTES_OF_TEXT = 2**30
# What pyarrow was seen to raise for files with flipped bytes, some of them in notes for pandas.
_PARQUET_ERRORS = (
    pa.ArrowException, OSError, ValueError, TypeError, LookupError, AttributeError, MemoryError,
)  # fmt: skip


def read(path: Path, label: str | None) -> Given:
    """Returns the rows as examples; what stands in the column `label` are their classes.

    Args:
        path: of a `.csv` or a `.parquet`.
        label: the name of a column.

    Raises:
        ParamsError: if there is no such column.
        DataError: if another column does not hold finite numbers; the message names the place.
    """
    table = _read_csv(path, label) if path.suffix.lower() == ".csv" else _read_parquet(path)
    names = [str(name) for name in table.columns]
    if label not in names:
        raise _no_label(path, names, label)
    classes, columns = table[label], table.drop(columns=label)
    if not len(table) or columns.empty:
        raise data_error(path, f"has {len(table)} rows and {len(names)} columns: too few")
    features = tuple(str(name) for name in columns.columns)
    values = np.column_stack([_numbers(columns[name], path) for name in features])
    is_empty = classes.isna() | (classes.astype(str).str.strip() == "")
    if is_empty.any():
        row = int(np.argmax(is_empty)) + 1
        raise data_error(path, f"has no label in row {row} of the data: add it")
    return Given(
        Part(as_features(values, printable_path(path), features), _labels(classes, path)),
        None,
        features,
    )


def _read_csv(path: Path, label: str | None) -> pd.DataFrame:
    if path.stat().st_size > _MOST_BYTES_OF_TEXT:
        raise data_error(path, "is larger than 1 GB: save the table as .parquet")
    # Nothing stands for a missing value, so that a class can be called NA.
    read = partial(
        pd.read_csv, path, na_filter=False, skipinitialspace=True, encoding="utf-8",
        compression=None,
    )  # fmt: skip
    try:
        with warnings.catch_warnings():
            # A first row that is longer than the line of names.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            names = read(header=None, nrows=1, dtype=str).iloc[0].tolist()
            _expect_distinct(names, path)
            # Labels stay as they are written: 01 is not 1.
            kinds: dict[Any, Any] = {label: str} if label in names else {}
            return read(index_col=False, dtype=kinds, low_memory=False)
    except (pd.errors.ParserWarning, ValueError, OverflowError, MemoryError) as error:
        raise data_error(
            path, f"is not a table of values separated by commas: {one_line(error)}"
        ) from None


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        with parquet.ParquetFile(path) as file:
            held = file.metadata
            groups = [held.row_group(i).total_byte_size for i in range(held.num_row_groups)]
            # Repeated values take no place in the file, but eight bytes each in memory.
            if max(sum(groups), 8 * held.num_rows * held.num_columns) > MOST_BYTES:
                raise data_error(path, "unpacks to more than 2 GB: give fewer rows")
            table = file.read().to_pandas()
    except _PARQUET_ERRORS as error:
        raise data_error(path, f"cannot be read as a Parquet table: {one_line(error)}") from None
    _expect_distinct([str(name) for name in table.columns], path)
    return table


def _expect_distinct(names: list[str], path: Path) -> None:
    for place, name in enumerate(names):
        if not name.strip() or not name.isprintable():
            raise data_error(
                path,
                f"has no name for column {place + 1}: name it; where it only numbers "
                "the rows, write the table without it (index=False)",
            )
        if name in names[:place]:
            raise data_error(path, f"has two columns {one_line(name)!r}: rename one")


def _no_label(path: Path, names: list[str], label: str | None) -> Exception:
    if len(names) == 1 and (other := set(names[0]) & set(";\t|")):
        return data_error(
            path, f"has one column: separate its values by commas, not by {min(other)!r}"
        )
    # Quoted, for the space at an end to be seen.
    columns = one_line(", ".join(map(repr, names)))
    if label is None:
        return params_error(
            "label",
            f"is missing: name the column of {printable_path(path)} with the classes: {columns}",
        )
    return params_error(
        "label", f"must be a column of {printable_path(path)}: {columns}; got {label!r}"
    )


def _numbers(column: pd.Series, path: Path) -> NDArray[np.float64]:
    if column.dtype.kind not in "biufO":
        raise data_error(
            path,
            f"has {column.dtype} in column {one_line(column.name)!r}, not numbers: "
            "write them as numbers, or remove the column",
        )
    if column.dtype.kind != "O":
        return column.to_numpy(np.float64, na_value=np.nan)
    numbers = pd.to_numeric(column.astype(object), errors="coerce")
    if numbers.isna().any():
        row = int(np.argmax(numbers.isna()))
        raise data_error(
            path,
            f"has {one_line(repr(column.iloc[row]), 60)} in row {row + 1} of the data, "
            f"column {one_line(column.name)!r}, not a number: correct it, leave the row out, or "
            "write the column as numbers",
        )
    return numbers.to_numpy(np.float64)


def _labels(classes: pd.Series, path: Path) -> NDArray[np.str_]:
    values = classes.to_numpy()
    if classes.dtype.kind == "O" and all(isinstance(value, str) for value in values):
        values = values.astype(np.str_)
    return as_labels(values, f"{printable_path(path)}, column {one_line(classes.name)!r},")
