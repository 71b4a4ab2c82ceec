import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.contrast import Contrast, Difference, Side, contrast, record
from pipeline.reporting import contrast_report, pages

BETTER = [0.98, 0.94, 0.97, 0.95, 0.99, 0.97]
WORSE = [0.90, 0.91, 0.92, 0.95, 0.96, 0.90]


@pytest.fixture
def side(variant_results):
    """Makes a side of which each run's test accuracy is given."""

    def make(label, accuracy, *, seeds=None, predicted=None, diverged=(), **fields):
        results = variant_results(label, accuracy, diverged)
        if seeds is not None:
            renamed = dict(enumerate(seeds))
            results.scores["seed"] = results.scores["seed"].map(renamed)
            results.history["seed"] = results.history["seed"].map(renamed)
        if predicted is not None:
            results = type(results)(**vars(results) | {"predicted": predicted})
        if "parameters" in fields:
            results = type(results)(**vars(results) | {"parameters": fields.pop("parameters")})
        made = {"variant": label, "origin": "workspace", "data_sha256": "da7a0000ff"}
        return Side(results, **(made | {"code_sha256": "c0de0000ff"} | fields))

    return make


def text(one):
    return pages.text(contrast_report.blocks(one))


def words(page):
    """Returns a page without its line ends."""
    return " ".join(page.split())


def test_runs_are_paired_by_seed_and_the_others_left_out(side, true_labels):
    a = side("With", [1.0, 0.5, 0.75], seeds=[7, 4, 0])
    b = side("Without", [0.25, 0.5, 0.6, 0.4], seeds=[0, 1, 7, 9])

    found = contrast(a, b, true_labels, 0.95)

    assert found.seeds == [(7, 7), (0, 0)]
    assert found.left_out == ((4,), (1, 9))
    assert found.a.results.scores["accuracy"].tolist() == [1.0, 0.75]
    assert found.b.results.scores["accuracy"].tolist() == [0.6, 0.25]
    assert found.comparison.accuracy.mean == pytest.approx((0.4 + 0.5) / 2)
    assert set(found.a.results.history["seed"]) == {0, 7}
    np.testing.assert_array_equal(found.a.results.predicted, a.results.predicted[[0, 2]])
    np.testing.assert_array_equal(found.b.results.predicted, b.results.predicted[[2, 0]])
    assert "Left out, without a partner of the same seed: 1 of With and 2 of Without." in words(
        text(found)
    )


def test_runs_without_a_seed_in_common_are_no_contrast(side):
    a, b = side("With", [0.9, 0.9], seeds=[0, 1]), side("Without", [0.8], seeds=[2])
    assert contrast(a, b, None, 0.95) is None


def test_a_single_run_meets_a_single_run_of_another_seed(side):
    found = contrast(side("x", [0.9], seeds=[3]), side("y", [0.8], seeds=[5]), None, 0.95)

    assert (found.seeds, found.left_out) == ([(3, 5)], ((), ()))
    assert found.comparison.accuracy.mean == pytest.approx(0.1)
    told = words(text(found))
    assert "One pair says nothing of other seeds: a verdict takes 6." in told
    assert "Their seeds differ, 3 and 5" in told
    assert "Wilcoxon" not in told


def test_statistics_are_those_of_the_pairs(side, true_labels):
    found = contrast(side("With", BETTER), side("Without", WORSE), true_labels, 0.9)

    differences = np.subtract(BETTER, WORSE).round(9)
    accuracy = found.comparison.accuracy
    assert accuracy.mean == pytest.approx(differences.mean())
    assert accuracy.t_test_p == pytest.approx(stats.ttest_rel(BETTER, WORSE).pvalue)
    assert accuracy.wilcoxon_p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert found.comparison.loss.mean == pytest.approx(-differences.mean())
    beyond = found.comparison.beyond_test_set
    assert beyond.ci_low < accuracy.ci_low < accuracy.mean < accuracy.ci_high < beyond.ci_high
    own = found.summary(found.a, "accuracy")
    expected = stats.t.interval(0.9, 5, np.mean(BETTER), stats.sem(BETTER))
    assert (own.mean, own.sd) == pytest.approx((np.mean(BETTER), np.std(BETTER, ddof=1)))
    assert (own.ci_low, own.ci_high) == pytest.approx(expected)


def test_sides_turn_the_difference_round(side, true_labels):
    a, b = side("With", BETTER), side("Without", WORSE)
    there, back = contrast(a, b, true_labels, 0.95), contrast(b, a, true_labels, 0.95)
    assert there.comparison.accuracy.mean == -back.comparison.accuracy.mean


@pytest.mark.parametrize(
    ("images", "labels"),
    [(0, "true"), (99, "true"), (100, None)],
    ids=["no predictions", "other images", "no labels"],
)
def test_other_images_are_spoken_of_only_where_predictions_and_labels_are_known(
    side, true_labels, images, labels
):
    a = side("With", BETTER, predicted=np.zeros((6, images), np.uint8))
    b = side("Without", WORSE)
    found = contrast(a, b, true_labels if labels else None, 0.95)
    assert found.comparison.beyond_test_set is None
    assert "its 95 % interval on other images like these    no interval" in text(found)


def test_parameters_that_differ_are_named_as_dvc_does(side):
    a = side("With", BETTER, parameters={"momentum": 0.9, "network": {"hidden_dims": [4]}})
    b = side("Without", WORSE, parameters={"network": {"hidden_dims": [4, 4]}, "scale": True})
    assert contrast(a, b, None, 0.95).parameters == (
        Difference("momentum", 0.9, None),
        Difference("network.hidden_dims", [4], [4, 4]),
        Difference("scale", None, b=True),
    )


def test_numbers_that_came_as_text_are_equal_to_numbers(side):
    a = side("With", BETTER, parameters={"epsilon": 1e-8, "center": True})
    b = side("Without", WORSE, parameters={"epsilon": "1e-08", "center": "True"})
    assert contrast(a, b, None, 0.95).parameters == ()


def test_other_data_and_code_are_shown_and_warned_of(side):
    a = side("With", BETTER)
    b = side("Without", WORSE, data_sha256="0123456789", code_sha256="9876543210")

    told = text(contrast(a, b, None, 0.95))

    assert "data     da7a0000  01234567\ncode     c0de0000  98765432" in told
    assert "They were made from other data and other code, so the difference is not" in words(told)


def test_the_same_runs_have_no_statistics(side):
    a, b = (side("With", BETTER, origin=origin) for origin in ("HEAD", "workspace"))

    found = contrast(a, b, None, 0.95)

    assert found.same_inputs
    assert found.comparison is None
    assert text(found).splitlines()[0] == "With (HEAD) and With (workspace): the same runs"


def test_the_same_scores_from_other_code_are_told_without_statistics(side):
    found = contrast(
        side("With", BETTER), side("With", BETTER, origin="HEAD~1", code_sha256="1"), None, 0.95
    )
    assert not found.same_inputs
    assert found.comparison is None
    assert "the same test scores in every pair" in text(found)


def test_other_scores_from_the_same_inputs_are_laid_to_the_machine(side):
    found = contrast(side("With", BETTER), side("With", WORSE, origin="HEAD~1"), None, 0.95)
    assert found.same_inputs
    assert found.comparison
    assert "other packages or another machine made the difference" in words(text(found))


def test_equal_labels_are_told_apart_by_their_origin(side):
    a, b = side("With BN", BETTER, origin="HEAD~1"), side("With BN", WORSE)
    found = contrast(a, b, None, 0.95)
    assert found.a.results.label == "With BN (HEAD~1)"
    assert found.b.results.label == "With BN (workspace)"


def test_diverged_runs_leave_no_number_and_break_nothing(side):
    a, b = side("With", BETTER), side("Without", WORSE)
    a.results.scores.loc[2, "loss"] = np.nan

    found = contrast(a, b, None, 0.95)

    assert found.comparison.loss.mean is None
    assert "Mean difference in loss                         –\n" in text(found)  # noqa: RUF001
    json.dumps(record(found), allow_nan=False)


def test_diverged_runs_of_the_pairs_are_counted(side):
    a = side("With", BETTER, diverged=(1, 5))
    b = side("Without", [*WORSE[:3], 0.1], diverged=(1, 3))

    found = contrast(a, b, None, 0.95)

    told = words(text(found))
    assert "Runs that diverged: 1 of 4 of With, 2 of 4 of Without." in told
    # Of the pairs of seeds 0 to 3 those of 0 and 2 are left: 8 and 5 points.
    assert "neither diverged, 2 of 4, the difference is +6.50 percentage points" in told
    assert [record(found)[name]["diverged"] for name in "ab"] == [1, 2]


def test_where_nothing_diverged_nothing_is_said_of_it(side):
    found = contrast(side("With", BETTER), side("Without", WORSE), None, 0.95)
    assert "diverged" not in text(found)
    assert [record(found)[name]["diverged"] for name in "ab"] == [0, 0]


def test_equal_runs_that_diverged_are_counted(side):
    sides = [side(label, [0.1] * 2, diverged=(0, 1)) for label in ("With", "Without")]
    told = words(text(contrast(*sides, None, 0.95)))
    assert "Runs that diverged: 2 of 2 of With, 2 of 2 of Without." in told


def test_runs_that_all_diverged_are_equal(side):
    sides = [side(label, [0.098] * 2) for label in ("With", "Without")]
    for one in sides:
        one.results.scores["loss"] = np.nan
    assert contrast(*sides, None, 0.95).comparison is None


def test_a_record_has_all_but_the_runs(side, true_labels):
    one = contrast(side("With", BETTER), side("Without", WORSE), true_labels, 0.95)

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


def test_the_page_answers_in_its_first_lines(side):
    accuracy = np.linspace(0.9, 0.99, 10).round(2)
    found = contrast(side("With", accuracy), side("Without", accuracy - 0.05), None, 0.95)

    told = text(found)

    assert told.startswith(
        "With is better than Without\n===========================\n\nOver 10 pairs"
    )
    assert "by +5.00 percentage points on average" in words(told)
    assert "With      10    94.50" in told
    assert "Pairs won                                       10 of 10" in told


def test_the_longest_labels_fit_a_hundred_columns(side):
    a, b = (side("With a label of just as many as 40 signs", BETTER, origin=o * 12) for o in "ab")
    b.results.scores["loss"] = 7.0
    assert max(map(len, text(contrast(a, b, None, 0.95)).splitlines())) <= pages.WIDTH


def test_a_contrast_has_a_history_of_its_pairs_alone(side):
    found = contrast(side("With", BETTER), side("Without", WORSE[:2]), None, 0.95)
    assert isinstance(found, Contrast)
    assert isinstance(found.a.results.history, pd.DataFrame)
    assert found.a.results.history["seed"].nunique() == 2
