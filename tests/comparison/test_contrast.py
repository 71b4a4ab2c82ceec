import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.contrast import Contrast, Difference, contrasts, record
from pipeline.comparison.measures import MEASURES
from pipeline.errors import ArgumentError, MissingInputError
from pipeline.reporting import contrast_report, pages
from pipeline.reporting.certainty import certainty

BETTER = [0.98, 0.94, 0.97, 0.95, 0.99, 0.97]
WORSE = [0.90, 0.91, 0.92, 0.95, 0.96, 0.90]
ACCURACY = MEASURES["accuracy"]


@pytest.fixture
def cell(make_cell):
    """Makes a cell from the test accuracy of each run."""

    def make(label, accuracy, *, seeds=None, **fields):
        hashes = {"data_sha256": "da7a0000ff", "code_sha256": "c0de0000ff"}
        cell = make_cell(label, accuracy, **(hashes | fields))
        if seeds is not None:
            renamed = dict(enumerate(seeds))
            cell.scores["seed"] = cell.scores["seed"].map(renamed)
            cell.history["seed"] = cell.history["seed"].map(renamed)
        return cell

    return make


def contrast(a, b, labels=None, confidence=0.95, measure="accuracy"):
    labels_by_data = {} if labels is None else {a.data_sha256: labels}
    (result,) = contrasts([(a, b)], MEASURES[measure], confidence, labels_by_data)
    return result


def text(result):
    return pages.text(contrast_report.blocks(result))


def words(page):
    """Returns a page as a single line."""
    return " ".join(page.split())


def test_runs_are_paired_by_seed_and_the_rest_left_out(cell, true_labels):
    a = cell("With", [1.0, 0.5, 0.75], seeds=[7, 4, 0])
    b = cell("Without", [0.25, 0.5, 0.6, 0.4], seeds=[0, 1, 7, 9])

    result = contrast(a, b, true_labels, 0.95)

    assert list(result.effect.seeds) == [(7, 7), (0, 0)]
    assert result.effect.left_out == ((4,), (1, 9))
    assert result.a.scores["accuracy"].tolist() == [1.0, 0.75]
    assert result.b.scores["accuracy"].tolist() == [0.6, 0.25]
    assert result.paired.mean == pytest.approx((0.4 + 0.5) / 2)
    assert set(result.a.history["seed"]) == {0, 7}
    np.testing.assert_array_equal(result.a.predicted, a.predicted[[0, 2]])
    np.testing.assert_array_equal(result.b.predicted, b.predicted[[2, 0]])
    assert "Left out, without a partner of the same seed: 1 of With and 2 of Without." in words(
        text(result)
    )


def test_cells_without_a_shared_seed_are_refused(cell):
    a, b = cell("With", [0.9, 0.9], seeds=[0, 1]), cell("Without", [0.8], seeds=[2])
    message = r"With \(workspace\) and Without \(workspace\) have no run of the same seed"
    with pytest.raises(ArgumentError, match=message):
        contrast(a, b)


def test_two_single_runs_are_paired_whatever_their_seeds(cell):
    result = contrast(cell("x", [0.9], seeds=[3]), cell("y", [0.8], seeds=[5]), None, 0.95)

    assert (result.effect.seeds, result.effect.left_out) == (((3, 5),), ((), ()))
    assert result.paired.mean == pytest.approx(0.1)
    page = words(text(result))
    assert "One pair says nothing about other seeds: a verdict takes 6." in page
    assert "Their seeds differ, 3 and 5" in page
    assert "Wilcoxon" not in page


def test_statistics_are_those_of_the_pairs(cell, true_labels):
    result = contrast(cell("With", BETTER), cell("Without", WORSE), true_labels, 0.9)

    differences = np.subtract(BETTER, WORSE).round(9)
    accuracy = result.paired
    assert accuracy.mean == pytest.approx(differences.mean())
    assert accuracy.t_test_p == pytest.approx(stats.ttest_rel(BETTER, WORSE).pvalue)
    assert accuracy.wilcoxon_p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert result.others["loss"].mean == pytest.approx(-differences.mean())
    beyond = result.beyond_test_set
    assert beyond.ci_low < accuracy.ci_low < accuracy.mean < accuracy.ci_high < beyond.ci_high
    own = result.a.summary("accuracy", 0.9)
    expected = stats.t.interval(0.9, 5, np.mean(BETTER), stats.sem(BETTER))
    assert (own.mean, own.sd) == pytest.approx((np.mean(BETTER), np.std(BETTER, ddof=1)))
    assert (own.ci_low, own.ci_high) == pytest.approx(expected)


def test_swapping_sides_flips_the_sign(cell, true_labels):
    a, b = cell("With", BETTER), cell("Without", WORSE)
    there, back = contrast(a, b, true_labels, 0.95), contrast(b, a, true_labels, 0.95)
    assert there.paired.mean == -back.paired.mean


@pytest.mark.parametrize(
    ("images", "labels"),
    [(0, "true"), (99, "true"), (100, None)],
    ids=["no predictions", "other images", "no labels"],
)
def test_other_images_are_covered_only_where_predictions_and_labels_are_known(
    cell, true_labels, images, labels
):
    a = cell("With", BETTER, predicted=np.zeros((6, images), np.uint8))
    b = cell("Without", WORSE)
    result = contrast(a, b, true_labels if labels else None, 0.95)
    assert result.beyond_test_set is None
    (interval,) = [value for name, value in certainty(result) if "other examples" in name]
    assert interval == "no interval"


def test_parameters_that_differ_are_named_as_dvc_does(cell):
    a = cell("With", BETTER, parameters={"momentum": 0.9, "network": {"hidden_dims": [4]}})
    b = cell("Without", WORSE, parameters={"network": {"hidden_dims": [4, 4]}, "scale": True})
    assert contrast(a, b, None, 0.95).parameters == (
        Difference("momentum", 0.9, None),
        Difference("network.hidden_dims", [4], [4, 4]),
        Difference("scale", None, b=True),
    )


def test_numbers_read_as_text_equal_numbers(cell):
    a = cell("With", BETTER, parameters={"epsilon": 1e-8, "center": True})
    b = cell("Without", WORSE, parameters={"epsilon": "1e-08", "center": "True"})
    assert contrast(a, b, None, 0.95).parameters == ()


def test_different_data_and_code_are_shown_with_a_warning(cell):
    a = cell("With", BETTER)
    b = cell("Without", WORSE, data_sha256="0123456789", code_sha256="9876543210")

    page = text(contrast(a, b, None, 0.95))

    assert "data     da7a0000  01234567\ncode     c0de0000  98765432" in page
    assert (
        "They were made from different data and different code, so the difference is not"
        in words(page)
    )


def test_the_same_runs_have_no_statistics(cell):
    a, b = (cell("With", BETTER, origin=origin) for origin in ("HEAD", "workspace"))

    result = contrast(a, b, None, 0.95)

    assert result.same_inputs
    assert result.same_scores
    assert text(result).splitlines()[0] == "With (HEAD) and With (workspace): the same runs"


def test_equal_scores_from_different_code_have_no_statistics(cell):
    result = contrast(
        cell("With", BETTER), cell("With", BETTER, origin="HEAD~1", code_sha256="1"), None, 0.95
    )
    assert not result.same_inputs
    assert result.same_scores
    assert "the same test scores in every pair" in text(result)


def test_different_scores_from_the_same_inputs_are_put_down_to_the_machine(cell):
    result = contrast(cell("With", BETTER), cell("With", WORSE, origin="HEAD~1"), None, 0.95)
    assert result.same_inputs
    assert not result.same_scores
    assert "other packages or another machine made the difference" in words(text(result))


def test_equal_labels_are_distinguished_by_origin(cell):
    a, b = cell("With BN", BETTER, origin="HEAD~1"), cell("With BN", WORSE)
    result = contrast(a, b, None, 0.95)
    assert result.a.label == "With BN (HEAD~1)"
    assert result.b.label == "With BN (workspace)"


def test_a_missing_loss_leaves_the_mean_difference_empty(cell):
    a, b = cell("With", BETTER), cell("Without", WORSE)
    a.scores.loc[2, "loss"] = np.nan

    result = contrast(a, b, None, 0.95)

    assert result.others["loss"].mean is None
    assert "Mean difference in loss, nats, and its interval – (no interval)" in words(text(result))  # noqa: RUF001
    json.dumps(record(result), allow_nan=False)


def test_diverged_runs_of_the_pairs_are_counted(cell):
    a = cell("With", BETTER, diverged=(1, 5))
    b = cell("Without", [*WORSE[:3], 0.1], diverged=(1, 3))

    result = contrast(a, b, None, 0.95)

    page = words(text(result))
    assert "Runs that diverged: 1 of 4 of With, 2 of 4 of Without." in page
    # Of seeds 0 to 3, the pairs of 0 and 2 remain: 8 and 5 points.
    assert "neither diverged, 2 of 4, the difference is +6.50 percentage points" in page
    assert [record(result)[name]["diverged"] for name in "ab"] == [1, 2]


def test_divergence_is_not_mentioned_where_nothing_diverged(cell):
    result = contrast(cell("With", BETTER), cell("Without", WORSE), None, 0.95)
    assert "diverged" not in text(result)
    assert [record(result)[name]["diverged"] for name in "ab"] == [0, 0]


def test_equal_runs_that_diverged_are_counted(cell):
    sides = [cell(label, [0.1] * 2, diverged=(0, 1)) for label in ("With", "Without")]
    page = words(text(contrast(*sides, None, 0.95)))
    assert "Runs that diverged: 2 of 2 of With, 2 of 2 of Without." in page


def test_runs_that_all_diverged_are_equal(cell):
    sides = [cell(label, [0.098] * 2) for label in ("With", "Without")]
    for side in sides:
        side.scores["loss"] = np.nan
    assert contrast(*sides).same_scores


def test_a_record_has_everything_but_the_runs(cell, true_labels):
    result = contrast(cell("With", BETTER), cell("Without", WORSE), true_labels, 0.95)

    recorded = json.loads(json.dumps(record(result), allow_nan=False))

    assert recorded["a"]["label"] == "With"
    assert recorded["a"]["test"]["accuracy"]["mean"] == pytest.approx(np.mean(BETTER))
    assert recorded["b"]["data_sha256"] == "da7a0000ff"
    assert recorded["pairs"] == [{"a": seed, "b": seed} for seed in range(6)]
    assert recorded["left_out"] == {"a": [], "b": []}
    assert recorded["test"]["accuracy"]["n"] == 6
    assert recorded["test"]["sentence"] == "Not settled whether With or Without is better"
    assert recorded["test"]["loss"].keys() == {"mean", "ci_low", "ci_high", "wilcoxon_p"}
    assert (recorded["same_inputs"], recorded["same_scores"]) == (False, False)


def test_the_page_starts_with_the_answer(cell):
    accuracy = np.linspace(0.9, 0.99, 10).round(2)
    result = contrast(cell("With", accuracy), cell("Without", accuracy - 0.05), None, 0.95)

    page = text(result)

    assert page.startswith(
        "With is better than Without\n===========================\n\nOver 10 pairs"
    )
    assert "by +5.00 percentage points on average" in words(page)
    assert "accuracy, % (decides) 94.50 89.50" in words(page)
    assert "Pairs won 10 of 10" in words(page)


def test_the_longest_labels_fit_a_hundred_columns(cell):
    a, b = (cell("With a label of just as many as 40 signs", BETTER, origin=o * 12) for o in "ab")
    b.scores["loss"] = 7.0
    assert max(map(len, text(contrast(a, b, None, 0.95)).splitlines())) <= pages.WIDTH


def test_pairs_with_a_diverged_run_count_but_are_not_steady(cell):
    candidate = cell("With", [0.98, 0.94, 0.97, 0.1, 0.99], diverged=(3,))
    baseline = cell("Without", [0.1, 0.91, 0.92, 0.1, 0.96], diverged=(0, 3))

    result = contrast(candidate, baseline)

    # Differences in hundredths: 88, 3, 5, 0, 3; the pairs of seeds 1, 2 and 4 are steady.
    assert (result.paired.n, result.steady.n) == (5, 3)
    assert result.paired.mean == pytest.approx(0.99 / 5)
    assert result.steady.mean == pytest.approx(0.11 / 3)
    assert result.steady.ci_low > 0.02


def test_all_pairs_are_steady_where_no_run_diverged(cell):
    result = contrast(cell("With", [0.9, 0.8, 0.7]), cell("Without", [0.9, 0.7, 0.7]))
    assert result.steady == result.paired


def test_no_pair_is_steady_where_each_has_a_diverged_run(cell):
    result = contrast(
        cell("With", [0.9, 0.1], diverged=(1,)), cell("Without", [0.1, 0.8], diverged=(0,))
    )
    assert result.steady is None


def test_contrasts_made_together_form_one_family(cell):
    # Six of six pairs won: p = 2 / 2**6 is enough alone; with two contrasts Holm doubles it.
    ahead, behind = [0.9, 0.91, 0.92, 0.93, 0.94, 0.95], [0.8, 0.82, 0.81, 0.84, 0.83, 0.86]
    pair = cell("With", ahead), cell("Without", behind)

    (alone,) = contrasts([pair], ACCURACY, 0.95)
    both = contrasts([pair, pair], ACCURACY, 0.95)

    assert (alone.effect.p, alone.verdict) == (0.03125, "candidate_better")
    assert [(each.effect.p, each.verdict) for each in both] == [(0.0625, "not_settled")] * 2
    assert "the same, adjusted over 2 comparisons (Holm)" in words(text(both[0]))


def test_a_contrast_has_the_history_of_its_pairs_only(cell):
    result = contrast(cell("With", BETTER), cell("Without", WORSE[:2]), None, 0.95)
    assert isinstance(result, Contrast)
    assert isinstance(result.a.history, pd.DataFrame)
    assert result.a.history["seed"].nunique() == 2


@pytest.mark.parametrize(
    ("measure", "sign", "verdict"),
    [("accuracy", 1, "candidate_better"), ("loss", -1, "candidate_better")],
)
def test_a_smaller_loss_is_as_good_as_a_higher_accuracy(cell, measure, sign, verdict):
    accuracy = np.linspace(0.9, 0.99, 10).round(2)
    better, worse = cell("With", accuracy), cell("Without", accuracy - 0.05)

    there = contrast(better, worse, measure=measure)
    back = contrast(worse, better, measure=measure)

    assert there.paired.mean == pytest.approx(sign * 0.05)
    assert (there.paired.wins, back.paired.wins) == (10, 0)
    assert (there.verdict, back.verdict) == (verdict, "baseline_better")


def test_a_page_on_losses_says_so(cell, true_labels):
    accuracy = np.linspace(0.9, 0.99, 10).round(2)
    result = contrast(
        cell("With", accuracy, diverged=(3,)), cell("Without", accuracy - 0.05), true_labels,
        measure="loss",
    )  # fmt: skip

    page = words(text(result))

    assert "the test loss of With differs from that of Without by -0.0500 nats on average" in page
    assert "Smaller is better, and With is ahead in 10 of them." in page
    assert "loss (decides) 0.0550 0.1050" in page
    assert "Mean difference in accuracy, percentage points, and its interval 5.00 (5.00" in page
    assert "neither diverged, 9 of 10, the difference is -0.0500 nats" in page
    assert "Their loss still counts" in page
    # Other examples are drawn for accuracies only.
    assert result.beyond_test_set is None
    assert "other examples" not in page


def test_measures_that_do_not_decide_are_compared_too(cell):
    result = contrast(cell("With", BETTER), cell("Without", WORSE), measure="macro_f1")
    assert list(result.others) == [name for name in MEASURES if name != "macro_f1"]
    differences = np.subtract(BETTER, WORSE)
    assert result.others["roc_auc"].mean == pytest.approx(differences.mean() / 2)
    assert result.others["loss"].wins == (differences.round(9) > 0).sum()


def test_runs_scored_without_the_measure_are_refused_or_left_without_it(cell):
    a, b = cell("With", BETTER), cell("Without", WORSE)
    del b.scores["roc_auc"]
    assert "roc_auc" not in contrast(a, b).others
    with pytest.raises(
        MissingInputError, match=r"Without \(workspace\) was scored without roc_auc"
    ):
        contrast(a, b, measure="roc_auc")
