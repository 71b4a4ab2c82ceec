import pytest

from benchmarks.waiting import compared

ROUNDS = [
    {"before": {"whole": 60.0, "train": 40.0}, "now": {"whole": 30.0, "train": 30.0}},
    {"before": {"whole": 40.0, "train": 10.0}, "now": {"whole": 36.0, "train": 10.0}},
    {"before": {"whole": 50.0, "train": 20.0}, "now": {"whole": 40.0, "train": 30.0, "draw": 1.0}},
]


def test_times_are_the_ratios_of_each_round_by_hand():
    whole = compared(ROUNDS)["whole"]
    assert whole["before"]["median"] == 50
    assert whole["now"]["median"] == 36
    # 0.5, 0.9 and 0.8; not 36 / 50.
    assert whole["times"] == pytest.approx({"median": 0.8, "min": 0.5, "max": 0.9})


@pytest.mark.parametrize("when", ["before", "now"])
def test_a_stage_that_not_all_have_is_left_out(when):
    rounds = [{"before": dict(one["before"]), "now": dict(one["now"])} for one in ROUNDS]
    rounds[0][when]["new"] = 1.0
    assert list(compared(rounds)) == ["whole", "train"]
