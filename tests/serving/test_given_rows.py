import re

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.own.read import read_own
from pipeline.errors import ArgumentError, DataError, MissingInputError
from pipeline.params import Data
from pipeline.serving import files, given_rows
from pipeline.serving.given_rows import read_rows

TABLE = pd.DataFrame({"b": [1.5, 2, -3], "who": ["me", "you", "she"], "a.b": [4, 5, 6]})
FEATURES = ("a.b", "b")


@pytest.fixture(params=["csv", "parquet"])
def write(request, tmp_path):
    """Writes a table; returns its path."""

    def write(table=TABLE):
        path = tmp_path / f"rows.{request.param}"
        table.to_csv(path, index=False) if request.param == "csv" else table.to_parquet(path)
        return path

    return write


def refusal(path, features=FEATURES, kind=DataError):
    """Returns the one-line error about a file, without the file's name."""
    with pytest.raises(kind) as told:
        read_rows(path, 10, features)
    (line,) = str(told.value).splitlines()
    assert line.startswith(str(path))
    return line.removeprefix(str(path)).lstrip()


def test_columns_are_found_by_name_and_others_are_told(write):
    rows = read_rows(write(), 10, FEATURES)
    np.testing.assert_array_equal(rows.features, [[4, 1.5], [5, 2], [6, -3]])
    assert rows.features.dtype == np.float32
    assert (rows.left_out, rows.unknown) == (0, ("who",))


def test_truth_values_are_1_and_0(write):
    rows = read_rows(write(TABLE.assign(b=[True, False, True])), 10, FEATURES)
    np.testing.assert_array_equal(rows.features, [[4, 1], [5, 0], [6, 1]])


def test_the_first_rows_are_read_and_the_others_counted(write):
    many = pd.concat([TABLE] * 50)
    rows = read_rows(write(many.reset_index(drop=True)), 4, FEATURES)
    assert (len(rows.features), rows.left_out) == (4, 146)


def test_a_column_that_is_missing_is_named_beside_those_that_may_be_meant(write):
    told = refusal(write(TABLE.rename(columns={"a.b": "A.B"})))
    assert told == "lacks the columns a.b; unknown to the model: who, A.B"


def test_of_many_missing_columns_the_first_are_named(write):
    told = refusal(write(TABLE), tuple(f"x{i}" for i in range(30)))
    assert told.startswith("lacks the columns x0, x1, x2 and 27 more; unknown")


@pytest.mark.parametrize("value", ["n/a", "", "nan", "inf", "1e39", "1,5", "\x1b[31m" * 50])
def test_what_is_no_finite_number_is_named(write, value):
    table = TABLE.astype({"b": str})
    table.loc[1, "b"] = value
    told = refusal(write(table))
    assert told.startswith("has '")
    assert told.endswith(" in row 2 of the data, column b, which is not a finite number")
    assert told.isprintable()
    assert len(told) < 200


def test_a_missing_number_is_named(write):
    table = TABLE.copy()
    table.loc[2, "b"] = None
    told = refusal(write(table))
    assert re.fullmatch(
        r"has .+ in row 3 of the data, column b, which is not a finite number", told
    )


def test_a_table_without_rows_is_reported(write):
    assert refusal(write(TABLE[:0])) == "holds no rows"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"", "is not a table: "),
        ("a.csv", b"\xff\xfe\x00", "is not a table: "),
        ("a.csv", b'b,a.b\n"1,2\n', "is not a table: "),
        ("a.parquet", b"", "is not a table: "),
        ("a.parquet", b"PAR1" + bytes(99) + b"PAR1", "is not a table: "),
        ("a.png", b"\x89PNG", "is not a table (.csv or .parquet), which the model takes"),
        ("a.csv.gz", b"\x1f\x8b", "is not a table (.csv or .parquet), which the model takes"),
    ],
)
def test_what_is_no_table_is_reported(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).startswith(told)


def test_a_parquet_file_cut_short_or_with_other_bytes_is_reported(tmp_path):
    path = tmp_path / "rows.parquet"
    TABLE.to_parquet(path)
    content = path.read_bytes()
    for place in range(4, len(content) - 8, 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        try:
            read_rows(path, 10, FEATURES)
        except DataError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
        path.write_bytes(content[:place])
        assert refusal(path).startswith("is not a table: ")


@pytest.mark.parametrize(
    ("repeated", "limit"), [(1, 159), (1000, 1_599_999)], ids=["a few rows", "the whole file"]
)
def test_a_parquet_file_that_unpacks_to_too_much_is_reported(
    tmp_path, monkeypatch, repeated, limit
):
    path = tmp_path / "rows.parquet"
    # Ten rows of two features take 160 bytes. Different numbers cannot be packed.
    values = np.random.default_rng(0).random(100 * repeated)
    table = pd.DataFrame({"a.b": values, "b": values})
    table.to_parquet(path, compression=None, use_dictionary=False)
    monkeypatch.setattr(given_rows, "_MOST_UNPACKED", limit)
    assert refusal(path) == "unpacks to more than 1 GB: give a smaller one"


def test_a_file_that_is_too_large_is_reported(write, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 5)
    assert refusal(write()) == "is larger than 64 MB: give a smaller one"


def test_a_missing_file_and_a_folder_are_reported(tmp_path):
    told = refusal(tmp_path / "a.csv", kind=MissingInputError)
    assert told == "is not here: name a table (.csv or .parquet)"
    assert refusal(tmp_path, kind=ArgumentError) == "is a folder: name the files in it"


def test_a_file_that_was_trained_on_is_read_as_it_was_then(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(0, 1e3, (40, 3)), columns=["x", " y", "z, z"])
    table.insert(1, "class", ["a", "b"] * 20)
    path = tmp_path / "all.csv"
    table.to_csv(path, index=False)
    own = Data(
        dataset="file", path=str(path), label="class", validation_size=8, test_size=8, split_seed=0
    )
    dataset = read_own(own)

    rows = read_rows(path, 100, dataset.features)

    assert rows.unknown == ("class",)
    trained = np.concatenate([dataset.train.inputs, dataset.validation.inputs, dataset.test.inputs])
    assert sorted(map(tuple, rows.features)) == sorted(map(tuple, trained))
