"""How many pairs would settle what is open, in answers about anybody's runs."""

import numpy as np
import pytest

from pipeline.comparison.needed import pairs_needed
from pipeline.comparison.words import level
from pipeline.reporting.answer_report import blocks
from pipeline.reporting.pages import Paragraph
from tests.designs.invented import answered, run

# Of eight pairs, seven won: too few for the rule, and clear enough for some more to settle it.
DIFFERENCES = np.array([3, 2, 4, 1, 2, 3, 5, -1]) / 100


def in_pairs(differences, scale=1.0, metric="accuracy"):
    base = 0.5 + np.arange(len(differences)) / 100
    return [
        run({metric: scale * value}, model=model, seed=seed)
        for seed, (first, difference) in enumerate(zip(base, differences, strict=True))
        for model, value in (("a", first + difference), ("b", first))
    ]


def told(answer):
    return [
        block.text
        for block in blocks(answer)
        if isinstance(block, Paragraph) and block.text.startswith("If the pairs")
    ]


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_what_is_open_says_how_many_pairs_would_settle_it_whatever_their_size(scale):
    answer = answered(in_pairs(DIFFERENCES, scale))
    (of,) = answer.comparisons
    assert of.verdict == "not_settled"
    expected = pairs_needed(DIFFERENCES / DIFFERENCES.max(), 0.95)
    assert of.needed.pairs == expected.pairs
    assert len(DIFFERENCES) < expected.pairs < 100
    (text,) = told(answer)
    assert text == (
        f"If the pairs to come vary like these, {expected.pairs} in all would settle it, with a "
        f"probability of {level(0.8)}, by simulation."
    )


def test_of_a_difference_that_is_no_more_than_its_spread_no_number_would():
    answer = answered(in_pairs(np.array([3, -3, 2, -2, 1, -1, 4, -4]) / 100))
    (of,) = answer.comparisons
    assert of.needed.pairs is None
    assert told(answer)[0].startswith(
        "If the pairs to come vary like these, not even 1000 in all would settle it,"
    )


def test_what_is_settled_needs_no_more():
    answer = answered(in_pairs(np.arange(1, 9) / 100))
    assert [of.needed for of in answer.comparisons] == [None]
    assert told(answer) == []


@pytest.mark.parametrize("pairs", [2, 5])
def test_fewer_pairs_than_a_verdict_takes_do_not_tell_how_pairs_vary(pairs):
    answer = answered(in_pairs(DIFFERENCES[:pairs]))
    assert told(answer) == []


def test_those_with_different_numbers_are_told_apart():
    rows = in_pairs(DIFFERENCES)
    rows += [
        run({"accuracy": 0.5 + seed / 100 + (-1) ** seed / 10}, model="c", seed=seed)
        for seed in range(len(DIFFERENCES))
    ]
    (text,) = told(answered(rows))
    assert (
        "in all would settle a and b; not even 1000 in all would settle a and c and b and c,"
        in (text)
    )


def test_hundreds_of_pairs_are_not_simulated():
    answer = answered(in_pairs(np.resize([1, -1], 201) / 100))
    assert [of.needed for of in answer.comparisons] == [None]
