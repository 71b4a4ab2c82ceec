import numpy as np
import pytest

from pipeline.studies.measures.course import parted, taken


def test_mean_and_drift_by_hand():
    found = taken([{"loss": 3.0}, {"loss": 1.0}, {"loss": 2.0}])

    # The last value is 2: the others are 1 away from it, and it is 0 away from itself.
    assert found == {"loss_mean": 2.0, "loss_drift": pytest.approx(2 / 3)}


def test_units_that_drift_apart_do_not_make_up_for_each_other():
    found = taken([{"middle": np.array([0.0, 2.0])}, {"middle": np.array([1.0, 1.0])}])

    assert found["middle_mean"] == 1.0
    assert found["middle_drift"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("test_loss_mean", ("test_loss", "_mean")),
        ("percentile_50_drift", ("percentile_50", "_drift")),
        ("test_loss", ("test_loss", "")),
    ],
)
def test_what_is_followed_is_told_from_what_is_taken_of_it(measure, expected):
    assert parted(measure) == expected
