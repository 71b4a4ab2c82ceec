import numpy as np
import pandas as pd
import pytest

from pipeline.designs.values import are_numbers, ordered, unified


@pytest.mark.parametrize(
    ("written", "one", "merged"),
    [
        (["1000", "1000.0", "1000"], ["1000", "1000", "1000"], [("1000", "1000.0")]),
        (["1e-3", "0.001", "0.001"], ["0.001"] * 3, [("0.001", "1e-3")]),
        (["0", "False", "0", "1"], ["0", "0", "0", "1"], [("0", "False")]),
        (["0", "False", "2"], ["0", "False", "2"], []),
        (["1", "True", "2"], ["1", "True", "2"], []),
        (["true", "True", "False"], ["True", "True", "False"], [("True", "true")]),
        ([" adam", "adam", "adam "], ["adam"] * 3, [(" adam", "adam", "adam ")]),
        (["Adam", "adam"], ["Adam", "adam"], []),
        (["1.0", "1", "2"], ["1", "1", "2"], [("1", "1.0")]),
    ],
)
def test_one_value_is_written_in_one_way(written, one, merged):
    column, ways = unified(pd.Series(written))
    assert (column.tolist(), ways) == (one, merged)


def test_missing_values_are_values_of_their_own():
    column, ways = unified(pd.Series(["a", np.nan, None], dtype=object))
    assert (column.tolist(), ways) == (["a", "", ""], [])


def test_addresses_in_memory_mean_nothing_but_names_beside_them_do():
    written = ["<function f at 0x7f00aa>", "<function f at 0x7f00bb>", "<function g at 0x7f00cc>"]
    column, ways = unified(pd.Series(written))
    assert column[0] == column[1] != column[2]
    assert ways == []


def test_long_numbers_are_told_apart_to_the_last_digit():
    written = ["12345678901234567890", "12345678901234567891"]
    assert unified(pd.Series(written))[0].nunique() == 2


def test_numbers_are_ordered_by_size_before_texts():
    assert ordered(["b", "10", "9", "", "1e-3", "a", "9"]) == ["", "1e-3", "9", "10", "a", "b"]


def test_are_numbers():
    assert are_numbers(["1", "2.5"])
    assert not are_numbers(["1", ""])
    assert not are_numbers(["1", "a"])
