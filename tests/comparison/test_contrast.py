import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.contrast import Contrast, Difference, contrasts, record
from pipeline.errors import ArgumentError
from pipeline.reporting import contrast_report, pages
from pipeline.reporting.certainty import certainty

BETTER = [0.98, 0.94, 0.97, 0.95, 0.99, 0.97]
WORSE = [0.90, 0.91, 0.92, 0.95, 0.96, 0.90]


@pytest.fixture
def cell(make_cell):
    """Makes a cell of which each run's test accuracy is given."""

    def make(label, accuracy, *, seeds=None, **fields):
        made = {"data_sha256": "da7a0000ff", "code_sha256": "c0de0000ff"} | fields
        one = make_cell(label, accuracy, **made)
        if seeds is not None:
            renamed = dict(enumerate(seeds))
            one.scores["seed"] = one.scores["seed"].map(renamed)
            one.history["seed"] = one.history["seed"].map(renamed)
        return one

    return make


def contrast(a, b, labels=None, confidence=0.95):
    known = {} if labels is None else {a.data_sha256: labels}
    (found,) = contrasts([(a, b)], confidence, known)
    return found


def text(one):
    return pages.text(contrast_report.blocks(one))


def words(page):
    """Returns a page without its line ends."""
    return " ".join(page.split())


def test_runs_are_paired_by_seed_and_the_others_left_out(cell, true_labels):
    a = cell("With", [1.0, 0.5, 0.75], seeds=[7, 4, 0])
    b = cell("Without", [0.25, 0.5, 0.6, 0.4], seeds=[0, 1, 7, 9])

    found = contrast(a, b, true_labels, 0.95)

    assert list(found.effect.seeds) == [(7, 7), (0, 0)]
    assert found.effect.left_out == ((4,), (1, 9))
    assert found.a.scores["accuracy"].tolist() == [1.0, 0.75]
    assert found.b.scores["accuracy"].tolist() == [0.6, 0.25]
    assert found.accuracy.mean == pytest.approx((0.4 + 0.5) / 2)
    assert set(found.a.history["seed"]) == {0, 7}
    np.testing.assert_array_equal(found.a.predicted, a.predicted[[0, 2]])
    np.testing.assert_array_equal(found.b.predicted, b.predicted[[2, 0]])
    assert "Left out, without a partner of the same seed: 1 of With and 2 of Without." in words(
        text(found)
    )


def test_runs_without_a_seed_in_common_are_no_contrast(cell):
    a, b = cell("With", [0.9, 0.9], seeds=[0, 1]), cell("Without", [0.8], seeds=[2])
    told = r"With \(workspace\) and Without \(workspace\) have no run of the same seed"
    with pytest.raises(ArgumentError, match=told):
        contrast(a, b)


def test_a_single_run_meets_a_single_run_of_another_seed(cell):
    found = contrast(cell("x", [0.9], seeds=[3]), cell("y", [0.8], seeds=[5]), None, 0.95)

    assert (found.effect.seeds, found.effect.left_out) == (((3, 5),), ((), ()))
    assert found.accuracy.mean == pytest.approx(0.1)
    told = words(text(found))
    assert "One pair says nothing of other seeds: a verdict takes 6." in told
    assert "Their seeds differ, 3 and 5" in told
    assert "Wilcoxon" not in told


def test_statistics_are_those_of_the_pairs(cell, true_labels):
    found = contrast(cell("With", BETTER), cell("Without", WORSE), true_labels, 0.9)

    differences = np.subtract(BETTER, WORSE).round(9)
    accuracy = found.accuracy
    assert accuracy.mean == pytest.approx(differences.mean())
    assert accuracy.t_test_p == pytest.approx(stats.ttest_rel(BETTER, WORSE).pvalue)
    assert accuracy.wilcoxon_p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert found.loss.mean == pytest.approx(-differences.mean())
    beyond = found.beyond_test_set
    assert beyond.ci_low < accuracy.ci_low < accuracy.mean < accuracy.ci_high < beyond.ci_high
    own = found.a.summary("accuracy", 0.9)
    expected = stats.t.interval(0.9, 5, np.mean(BETTER), stats.sem(BETTER))
    assert (own.mean, own.sd) == pytest.approx((np.mean(BETTER), np.std(BETTER, ddof=1)))
    assert (own.ci_low, own.ci_high) == pytest.approx(expected)


def test_sides_turn_the_difference_round(cell, true_labels):
    a, b = cell("With", BETTER), cell("Without", WORSE)
    there, back = contrast(a, b, true_labels, 0.95), contrast(b, a, true_labels, 0.95)
    assert there.accuracy.mean == -back.accuracy.mean


@pytest.mark.parametrize(
    ("images", "labels"),
    [(0, "true"), (99, "true"), (100, None)],
    ids=["no predictions", "other images", "no labels"],
)
def test_other_images_are_spoken_of_only_where_predictions_and_labels_are_known(
    cell, true_labels, images, labels
):
    a = cell("With", BETTER, predicted=np.zeros((6, images), np.uint8))
    b = cell("Without", WORSE)
    found = contrast(a, b, true_labels if labels else None, 0.95)
    assert found.beyond_test_set is None
    (told,) = [value for name, value in certainty(found) if "other images" in name]
    assert told == "no interval"


def test_parameters_that_differ_are_named_as_dvc_does(cell):
    a = cell("With", BETTER, parameters={"momentum": 0.9, "network": {"hidden_dims": [4]}})
    b = cell("Without", WORSE, parameters={"network": {"hidden_dims": [4, 4]}, "scale": True})
    assert contrast(a, b, None, 0.95).parameters == (
        Difference("momentum", 0.9, None),
        Difference("network.hidden_dims", [4], [4, 4]),
        Difference("scale", None, b=True),
    )


def test_numbers_that_came_as_text_are_equal_to_numbers(cell):
    a = cell("With", BETTER, parameters={"epsilon": 1e-8, "center": True})
    b = cell("Without", WORSE, parameters={"epsilon": "1e-08", "center": "True"})
    assert contrast(a, b, None, 0.95).parameters == ()


def test_other_data_and_code_are_shown_and_warned_of(cell):
    a = cell("With", BETTER)
    b = cell("Without", WORSE, data_sha256="0123456789", code_sha256="9876543210")

    told = text(contrast(a, b, None, 0.95))

    assert "data     da7a0000  01234567\ncode     c0de0000  98765432" in told
    assert "They were made from other data and other code, so the difference is not" in words(told)


def test_the_same_runs_have_no_statistics(cell):
    a, b = (cell("With", BETTER, origin=origin) for origin in ("HEAD", "workspace"))

    found = contrast(a, b, None, 0.95)

    assert found.same_inputs
    assert found.same_scores
    assert text(found).splitlines()[0] == "With (HEAD) and With (workspace): the same runs"


def test_the_same_scores_from_other_code_are_told_without_statistics(cell):
    found = contrast(
        cell("With", BETTER), cell("With", BETTER, origin="HEAD~1", code_sha256="1"), None, 0.95
    )
    assert not found.same_inputs
    assert found.same_scores
    assert "the same test scores in every pair" in text(found)


def test_other_scores_from_the_same_inputs_are_laid_to_the_machine(cell):
    found = contrast(cell("With", BETTER), cell("With", WORSE, origin="HEAD~1"), None, 0.95)
    assert found.same_inputs
    assert not found.same_scores
    assert "other packages or another machine made the difference" in words(text(found))


def test_equal_labels_are_told_apart_by_their_origin(cell):
    a, b = cell("With BN", BETTER, origin="HEAD~1"), cell("With BN", WORSE)
    found = contrast(a, b, None, 0.95)
    assert found.a.label == "With BN (HEAD~1)"
    assert found.b.label == "With BN (workspace)"


def test_diverged_runs_leave_no_number_and_break_nothing(cell):
    a, b = cell("With", BETTER), cell("Without", WORSE)
    a.scores.loc[2, "loss"] = np.nan

    found = contrast(a, b, None, 0.95)

    assert found.loss.mean is None
    assert "Mean difference in loss –" in words(text(found))  # noqa: RUF001
    json.dumps(record(found), allow_nan=False)


def test_diverged_runs_of_the_pairs_are_counted(cell):
    a = cell("With", BETTER, diverged=(1, 5))
    b = cell("Without", [*WORSE[:3], 0.1], diverged=(1, 3))

    found = contrast(a, b, None, 0.95)

    told = words(text(found))
    assert "Runs that diverged: 1 of 4 of With, 2 of 4 of Without." in told
    # Of the pairs of seeds 0 to 3 those of 0 and 2 are left: 8 and 5 points.
    assert "neither diverged, 2 of 4, the difference is +6.50 percentage points" in told
    assert [record(found)[name]["diverged"] for name in "ab"] == [1, 2]


def test_where_nothing_diverged_nothing_is_said_of_it(cell):
    found = contrast(cell("With", BETTER), cell("Without", WORSE), None, 0.95)
    assert "diverged" not in text(found)
    assert [record(found)[name]["diverged"] for name in "ab"] == [0, 0]


def test_equal_runs_that_diverged_are_counted(cell):
    sides = [cell(label, [0.1] * 2, diverged=(0, 1)) for label in ("With", "Without")]
    told = words(text(contrast(*sides, None, 0.95)))
    assert "Runs that diverged: 2 of 2 of With, 2 of 2 of Without." in told


def test_runs_that_all_diverged_are_equal(cell):
    sides = [cell(label, [0.098] * 2) for label in ("With", "Without")]
    for one in sides:
        one.scores["loss"] = np.nan
    assert contrast(*sides).same_scores


def test_a_record_has_all_but_the_runs(cell, true_labels):
    one = contrast(cell("With", BETTER), cell("Without", WORSE), true_labels, 0.95)

    made = json.loads(json.dumps(record(one), allow_nan=False))

    assert made["a"]["label"] == "With"
    assert made["a"]["test"]["accuracy"]["mean"] == pytest.approx(np.mean(BETTER))
    assert made["b"]["data_sha256"] == "da7a0000ff"
    assert made["pairs"] == [{"a": seed, "b": seed} for seed in range(6)]
    assert made["left_out"] == {"a": [], "b": []}
    assert made["test"]["accuracy"]["n"] == 6
    assert made["test"]["sentence"] == "Not settled whether With or Without is better"
    assert made["test"]["loss"].keys() == {"mean", "ci_low", "ci_high", "wilcoxon_p"}
    assert (made["same_inputs"], made["same_scores"]) == (False, False)


def test_the_page_answers_in_its_first_lines(cell):
    accuracy = np.linspace(0.9, 0.99, 10).round(2)
    found = contrast(cell("With", accuracy), cell("Without", accuracy - 0.05), None, 0.95)

    told = text(found)

    assert told.startswith(
        "With is better than Without\n===========================\n\nOver 10 pairs"
    )
    assert "by +5.00 percentage points on average" in words(told)
    assert "With      10    94.50" in told
    assert "Pairs won 10 of 10" in words(told)


def test_the_longest_labels_fit_a_hundred_columns(cell):
    a, b = (cell("With a label of just as many as 40 signs", BETTER, origin=o * 12) for o in "ab")
    b.scores["loss"] = 7.0
    assert max(map(len, text(contrast(a, b, None, 0.95)).splitlines())) <= pages.WIDTH


def test_pairs_of_which_a_run_diverged_count_and_are_told_apart(cell):
    candidate = cell("With", [0.98, 0.94, 0.97, 0.1, 0.99], diverged=(3,))
    baseline = cell("Without", [0.1, 0.91, 0.92, 0.1, 0.96], diverged=(0, 3))

    found = contrast(candidate, baseline)

    # Differences in hundredths: 88, 3, 5, 0, 3; those of the seeds 1, 2 and 4 are steady.
    assert (found.accuracy.n, found.steady.n) == (5, 3)
    assert found.accuracy.mean == pytest.approx(0.99 / 5)
    assert found.steady.mean == pytest.approx(0.11 / 3)
    assert found.steady.ci_low > 0.02


def test_where_no_run_diverged_all_pairs_are_steady(cell):
    found = contrast(cell("With", [0.9, 0.8, 0.7]), cell("Without", [0.9, 0.7, 0.7]))
    assert found.steady == found.accuracy


def test_where_every_pair_has_a_run_that_diverged_none_is_steady(cell):
    found = contrast(
        cell("With", [0.9, 0.1], diverged=(1,)), cell("Without", [0.1, 0.8], diverged=(0,))
    )
    assert found.steady is None


def test_contrasts_that_are_made_together_are_one_family(cell):
    # Six of six pairs won: p = 2 / 2**6, which alone is enough; of two, Holm doubles it.
    ahead, behind = [0.9, 0.91, 0.92, 0.93, 0.94, 0.95], [0.8, 0.82, 0.81, 0.84, 0.83, 0.86]
    pair = cell("With", ahead), cell("Without", behind)

    (alone,) = contrasts([pair], 0.95)
    both = contrasts([pair, pair], 0.95)

    assert (alone.effect.p, alone.verdict) == (0.03125, "candidate_better")
    assert [(one.effect.p, one.verdict) for one in both] == [(0.0625, "not_settled")] * 2
    assert "the same, adjusted over 2 comparisons (Holm)" in words(text(both[0]))


def test_a_contrast_has_a_history_of_its_pairs_alone(cell):
    found = contrast(cell("With", BETTER), cell("Without", WORSE[:2]), None, 0.95)
    assert isinstance(found, Contrast)
    assert isinstance(found.a.history, pd.DataFrame)
    assert found.a.history["seed"].nunique() == 2
