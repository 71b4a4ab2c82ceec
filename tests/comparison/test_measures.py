from typing import get_args

import pytest

from pipeline import params
from pipeline.comparison.measures import MEASURES
from pipeline.comparison.statistics import Interval
from pipeline.evaluation.scores import BESIDES

ACCURACY, LOSS = MEASURES["accuracy"], MEASURES["loss"]


def test_the_measures_are_those_of_params_yaml():
    names = get_args(params.Measure)
    assert {name: measure.name for name, measure in MEASURES.items()} == dict(
        zip(names, names, strict=True)
    )


def test_the_measures_are_those_that_are_computed():
    assert MEASURES.keys() == {"accuracy", "loss", *BESIDES}


def test_of_losses_and_calibration_errors_less_is_better():
    assert {name for name, measure in MEASURES.items() if measure.smaller_is_better} == {
        "loss",
        "expected_calibration_error",
    }


def test_all_but_the_loss_are_shares():
    assert [name for name, measure in MEASURES.items() if not measure.is_share] == ["loss"]


@pytest.mark.parametrize(
    ("measure", "value", "shown", "difference", "by"),
    [
        (ACCURACY, 0.01828, "1.83", "+1.83", "+1.83 percentage points"),
        (ACCURACY, -0.5, "-50.00", "-50.00", "-50.00 percentage points"),
        (ACCURACY, -1e-6, "0.00", "+0.00", "+0.00 percentage points"),
        (LOSS, 0.01828, "0.0183", "+0.0183", "+0.0183 nats"),
        (LOSS, -1e30, "-1.00e+30", "-1.00e+30", "-1.00e+30 nats"),
        (LOSS, None, "–", "–", "no finite number"),  # noqa: RUF001
    ],
)
def test_values_and_differences_in_words(measure, value, shown, difference, by):
    found = measure.value(value), measure.difference(value), measure.by(value)
    assert found == (shown, difference, by)


def test_intervals_have_the_units_of_the_values():
    ends = Interval(-0.01, 0.0234)
    assert ACCURACY.interval(ends) == "-1.00 to 2.34"
    assert LOSS.interval(ends) == "-0.0100 to 0.0234"
    assert (ACCURACY.heading, LOSS.heading) == ("accuracy, %", "loss")
