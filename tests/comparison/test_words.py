"""Numbers in words; each expected by hand."""

import pytest

from pipeline.comparison import words
from pipeline.comparison.statistics import Interval, Summary


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),  # noqa: RUF001
        (0.5, "50.00"),
        (-0.00001, "0.00"),
        (0.98765, "98.77"),
    ],
)
def test_a_share_is_told_as_a_percentage(value, told):
    assert words.percent(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),  # noqa: RUF001
        (0.123456, "0.1235"),
        (-0.00001, "0.0000"),
        (9999.5, "9999.5000"),
        (10_000, "1.00e+04"),
        (-10_000, "-1.00e+04"),
    ],
)
def test_a_large_number_is_told_with_a_power_of_ten(value, told):
    assert words.number(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),  # noqa: RUF001
        (1.0, "1"),
        (0.03125, "0.031"),
        (0.0001, "0.0001"),
        (0.000099, "< 0.0001"),
        (0.0, "< 0.0001"),
    ],
)
def test_a_p_value_has_two_digits(value, told):
    assert words.p_value(value) == told


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (None, "no interval"),
        (Summary(0.5, None, None, None), "no interval"),
        (Interval(-0.0123, 0.0456), "-1.23 to 4.56"),
    ],
)
def test_an_interval_is_told_by_its_ends(of, told):
    assert words.interval(of, 100, 2) == told


def test_a_confidence_is_told_in_percent():
    assert [words.level(one) for one in (0.95, 0.999)] == ["95 %", "99.9 %"]
