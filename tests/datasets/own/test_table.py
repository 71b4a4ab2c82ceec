import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.datasets import load_iris

from pipeline.datasets.own import table
from pipeline.errors import ParamsError

CSV = "a,b,kind\n" + "".join(f"{i},{i / 4},{'uv'[i % 2]}\n" for i in range(8))


@pytest.fixture
def saved(project):
    """Writes a `.csv` from text or bytes, or a `.parquet` from a data frame; returns its path."""

    def save(content):
        if isinstance(content, pd.DataFrame):
            content.to_parquet(project / "own.parquet")
            return "own.parquet"
        content = content if isinstance(content, bytes) else content.encode()
        (project / "own.csv").write_bytes(content)
        return "own.csv"

    return save


def frame(**columns):
    table = {"a": range(8), "b": np.arange(8) / 4, "kind": list("uvuvuvuv")}
    return pd.DataFrame(table | columns)


@pytest.mark.parametrize("content", [CSV, frame()], ids=["csv", "parquet"])
def test_a_row_is_an_example(saved, read, content):
    dataset = read(saved(content), label="kind", validation_size=2, test_size=2)

    parts = (dataset.train, dataset.validation, dataset.test)
    rows = np.concatenate([part.inputs for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    np.testing.assert_array_equal(rows[:, 1], rows[:, 0] / 4)
    np.testing.assert_array_equal(labels, rows[:, 0] % 2)
    assert sorted(rows[:, 0]) == list(range(8))
    assert rows.dtype == np.float32
    assert (dataset.classes, dataset.features) == (("u", "v"), ("a", "b"))


@pytest.mark.parametrize("write", ["to_csv", "to_parquet"])
def test_a_table_of_scikit_learn_comes_back(project, read, write):
    expected = load_iris(as_frame=True).frame
    path = f"iris.{write[3:]}"
    getattr(expected, write)(project / path, index=False)

    dataset = read(path, label="target", validation_size=30, test_size=30)

    rows = np.column_stack([dataset.train.inputs, dataset.train.labels])
    assert set(map(tuple, rows)) <= set(map(tuple, expected.to_numpy(np.float32)))
    assert dataset.features == tuple(expected.columns[:-1])
    assert dataset.classes == ("0", "1", "2")
    assert np.bincount(dataset.train.labels).tolist() == [30, 30, 30]


@pytest.mark.parametrize(
    ("kinds", "classes"),
    [
        ("NA,nan", ("NA", "nan")),
        ("None,null", ("None", "null")),
        ("10,9", ("9", "10")),
        ("01,1", ("01", "1")),
        ("True,False", ("False", "True")),
        ("1.5,-2", ("-2", "1.5")),
        ("<=50K,>50K", ("<=50K", ">50K")),
        (" cat, dog", ("cat", "dog")),
    ],
)
def test_labels_stay_as_they_are_written(saved, read, kinds, classes):
    rows = [f"{i},{kind}" for i, kind in enumerate(4 * kinds.split(","))]

    dataset = read(
        saved("\n".join(["a, kind", *rows])), label="kind", validation_size=2, test_size=2
    )

    assert dataset.classes == classes


@pytest.mark.parametrize(
    ("kinds", "classes"),
    [
        ([2, 10] * 4, ("2", "10")),
        ([2.0, 10.0] * 4, ("2", "10")),
        ([True, False] * 4, ("False", "True")),
        (pd.Categorical(["u", "v"] * 4, categories=["v", "u"]), ("u", "v")),
    ],
)
def test_labels_of_parquet_may_have_types(saved, read, kinds, classes):
    path = saved(frame(kind=kinds))

    assert read(path, label="kind", validation_size=2, test_size=2).classes == classes


def test_spreadsheets_begin_with_a_mark_and_end_lines_their_way(saved, read):
    content = b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode()

    dataset = read(saved(content), label="kind", validation_size=2, test_size=2)

    assert dataset.features == ("a", "b")


def test_numbers_are_rounded_once(saved, read):
    # 1 + 2^-24 + 2^-60 is above the middle between two numbers of 32 bits.
    text = "1.00000005960464477625"
    path = saved("a,kind\n" + "".join(f"{text},{kind}\n" for kind in "uvuvuv"))

    dataset = read(path, label="kind", validation_size=2, test_size=2)

    assert math.isclose(dataset.train.inputs[0, 0], float(text), rel_tol=2**-24)


def with_row(row, place=3):
    lines = CSV.splitlines()
    lines[place] = row
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (with_row("x,1,u"), "has 'x' in row 3 of the data, column 'a', not a number: correct it"),
        (with_row("1,,u"), "has '' in row 3 of the data, column 'b', not a number: correct it"),
        (with_row("1,nan,u"), "has 'nan' in row 3 of the data, column 'b', not a number"),
        (with_row("1,inf,u"), "has inf in row 3 of the data, column 'b', not a finite number of"),
        (with_row("1,1e39,u"), "has 1e+39 in row 3 of the data, column 'b', not a finite number"),
        (with_row("1,-1e400,u"), "has -inf in row 3 of the data, column 'b', not a finite numb"),
        (with_row("1,2"), "has no label in row 3 of the data: add it"),
        (with_row("1"), "has '' in row 3 of the data, column 'b', not a number"),
        (with_row("1,2,u,4"), "is not a table of values separated by commas: Error tokenizing da"),
        (with_row("1,2,u,4", 1), "is not a table of values separated by commas: Length of header"),
        (with_row('1,2,"u'), "is not a table of values separated by commas: Error tokenizing dat"),
        (with_row("1;2;u"), "has '1;2;u' in row 3 of the data, column 'a', not a number: correct"),
        (with_row("a,a,kind", 0), "has two columns 'a': rename one"),
        (with_row(",b,kind", 0), "has no name for column 1: name it; where it only numbers the"),
        (with_row("a,kind", 0), "is not a table of values separated by commas: Length of header"),
        ("a,b,kind\n", "has 0 rows and 3 columns: too few"),
        ("kind\nu\nv\n", "has 2 rows and 1 columns: too few"),
        ("", "is not a table of values separated by commas: No columns to parse from file"),
        (b"\xff\xfe", "is not a table of values separated by commas: 'utf-8' codec can't decode"),
        (b"\0" * 100, "has no name for column 1"),
        (frame(a=list("12x45678")), "has 'x' in row 3 of the data, column 'a', not a number: "),
        (frame(b=[1, 2, None, 4] * 2), "has nan in row 3 of the data, column 'b', not a finite"),
        (frame(b=[[1], [2]] * 4), "has array([1]) in row 1 of the data, column 'b', not a number"),
        (frame(b=pd.to_datetime(["2020"] * 8)), "has datetime64["),
        (with_row("1,2,"), "has no label in row 3 of the data: add it"),
        (b"a;kind\n1;u\n", "has one column: separate its values by commas, not by ';'"),
        (frame(kind=["u", None] * 4), "has no label in row 2 of the data: add it"),
        (frame(kind=[1.5, 2] * 4), ", column 'kind', holds labels that are neither text nor"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused_with_its_place(saved, refusal, content, told):
    path = saved(content)
    separator = "" if told.startswith(",") else " "

    assert refusal(path, label="kind").startswith(f"{path}{separator}{told}")


@pytest.mark.parametrize("content", [CSV, frame()], ids=["csv", "parquet"])
@pytest.mark.parametrize(
    ("label", "told"),
    [
        (None, "is missing: name the column of {} with the classes: 'a', 'b', 'kind'"),
        ("Kind", "must be a column of {}: 'a', 'b', 'kind'; got 'Kind'"),
    ],
)
def test_an_unknown_label_is_told_with_the_columns(saved, refusal, content, label, told):
    path = saved(content)

    line = refusal(path, ParamsError, label=label)

    assert line == f"`label` {told.format(path)} (params.yaml, data)"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(20) + b"PAR1", b"<html>"])
def test_damaged_parquet_is_told(project, refusal, content):
    (project / "own.parquet").write_bytes(content)

    told = refusal("own.parquet", label="kind")

    assert told.startswith("own.parquet cannot be read as a Parquet table: ")


@pytest.mark.parametrize("notes", ["{}", "{", "[]", '{"columns": [{}], "index_columns": [{}]}'])
def test_damaged_notes_for_pandas_are_told(project, refusal, notes):
    rows = pa.Table.from_pandas(frame()).replace_schema_metadata({"pandas": notes})
    parquet.write_table(rows, project / "own.parquet")

    told = refusal("own.parquet", label="kind")

    assert told.startswith("own.parquet cannot be read as a Parquet table: ")


def test_tables_that_are_too_large_are_not_read(saved, refusal, monkeypatch):
    monkeypatch.setattr(table, "_MOST_BYTES_OF_TEXT", len(CSV) - 1)
    monkeypatch.setattr(table, "MOST_BYTES", 8 * 8 * 3 - 1)

    assert refusal(saved(CSV), label="kind").startswith("own.csv is larger than 1 GB")
    assert refusal(saved(frame()), label="kind").startswith("own.parquet unpacks to more than 2")
