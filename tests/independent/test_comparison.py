"""What counts as the same experiment."""

import numpy as np
import pytest
from scipy import stats

from tests.independent.comparison import CONFIDENCE, MARGINS, Comparison, Sample, page


def compared(project, independent, measure="test_accuracy"):
    return Comparison("a", "b", measure, Sample.of(project), Sample.of(independent))


def test_what_is_allowed_is_the_margin_and_half_of_students_interval():
    project, independent = [0.95, 0.96, 0.955, 0.94], [0.95, 0.97]
    half = stats.ttest_ind(project, independent).confidence_interval(CONFIDENCE)
    expected = MARGINS["test_accuracy"] + 100 * (half.high - half.low) / 2
    np.testing.assert_allclose(compared(project, independent).allowed, expected)


@pytest.mark.parametrize(("measure", "margin"), MARGINS.items())
def test_without_spread_the_margin_decides(measure, margin):
    within, beyond = 0.9 - 0.0099 * margin, 0.9 - 0.0101 * margin
    assert compared([0.9] * 5, [within] * 3, measure).agrees
    assert not compared([0.9] * 5, [beyond] * 3, measure).agrees
    assert not compared([beyond] * 5, [0.9] * 3, measure).agrees


def test_a_mean_that_is_no_number_agrees_with_nothing():
    assert not compared([0.9, 0.91], [0.9, np.nan]).agrees


def test_the_page_tells_both_sides_the_verdict_and_what_was_not_tried():
    fine, wrong = compared([0.9, 0.92], [0.91, 0.93]), compared([0.9, 0.9], [0.5, 0.5])
    written = page([fine, wrong], ["no data", "no data"])
    assert "91.00 ± 1.41" in written
    assert written.count("yes") == written.count("NO") == written.count("Not tried: no data.") == 1
