import numpy as np
import pytest

from pipeline.studies.measures.course import mean_and_drift, parted


def test_mean_and_drift_by_hand():
    by_name = mean_and_drift([{"loss": 3.0}, {"loss": 1.0}, {"loss": 2.0}])

    # The last value is 2: the others are 1 away from it, and it is 0 away from itself.
    assert by_name == {"loss_mean": 2.0, "loss_drift": pytest.approx(2 / 3)}


def test_units_that_drift_apart_do_not_cancel_each_other():
    by_name = mean_and_drift([{"middle": np.array([0.0, 2.0])}, {"middle": np.array([1.0, 1.0])}])

    assert by_name["middle_mean"] == 1.0
    assert by_name["middle_drift"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("test_loss_mean", ("test_loss", "_mean")),
        ("percentile_50_drift", ("percentile_50", "_drift")),
        ("test_loss", ("test_loss", "")),
    ],
)
def test_the_followed_measure_and_its_ending_are_split(measure, expected):
    assert parted(measure) == expected
