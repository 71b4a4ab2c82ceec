"""The rule for repeated looks on simulated series, with its bootstrap and all its conditions.

`test_verdict.py` counts the error of the second condition exactly.
"""

import numpy as np
import pytest

from pipeline.comparison.verdict import ONCE
from tests.comparison.repeated_looks import (
    AT_MOST,
    CONFIDENCE,
    FROM_THE_START,
    REPEATED,
    SERIES,
    WITHOUT_DIFFERENCE,
    after,
    ends,
    errors,
)


@pytest.mark.parametrize("looks", [FROM_THE_START, after(10)], ids=["from the start", "after ten"])
@pytest.mark.slow
def test_without_a_difference_a_verdict_is_wrong_at_most_as_often_as_promised(looks):
    assert SERIES == 2000
    wrong = errors(looks)
    assert wrong.keys() == WITHOUT_DIFFERENCE.keys()
    assert all(share <= 1 - CONFIDENCE for share in wrong.values()), wrong


@pytest.mark.slow
def test_the_rule_for_one_look_would_err_more_often():
    # After every pair.
    drawn = np.random.default_rng(1).normal(size=(300, AT_MOST))
    wrong = {
        looks.repeated: (ends(drawn, [(n, looks) for n in range(6, AT_MOST + 1)]).pairs > 0).mean()
        for looks in (ONCE, REPEATED)
    }
    assert wrong[False] > 0.05 > wrong[True]


def test_a_clear_difference_is_found_soon_and_on_the_right_side():
    drawn = np.random.default_rng(2).normal(2, 1, (50, AT_MOST))
    found = ends(drawn, FROM_THE_START)
    assert CONFIDENCE == 0.95
    assert (found.pairs > 0).all()
    assert found.is_candidate.all()
    assert np.median(found.pairs) == 8
    assert not ends(-drawn, FROM_THE_START).is_candidate.any()
