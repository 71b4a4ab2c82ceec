import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.results import compare


def test_curve_has_the_mean_over_seeds_and_students_interval_of_each_epoch(variant_results):
    history = pd.DataFrame(
        [
            (seed, epoch, split, 0, values[epoch] if split == "train" else -1)
            for seed, values in enumerate([[0.5, 0.9], [0.6, 0.8], [0.4, 0.7]])
            for epoch in (0, 1)
            for split in ("train", "validation")
        ],
        columns=["seed", "epoch", "split", "loss", "accuracy"],
    )
    curve = variant_results("With", [0.9] * 3, history=history).curve("train", "accuracy", 0.9)
    assert curve.index.tolist() == [0, 1]
    np.testing.assert_allclose(curve["mean"], [0.5, 0.8])
    low, high = stats.t.interval(0.9, 2, [0.5, 0.8], 0.1 / np.sqrt(3))
    np.testing.assert_allclose(curve[["ci_low", "ci_high"]], np.transpose([low, high]))


def test_curve_of_one_seed_has_no_interval(variant_results):
    curve = variant_results("With", [0.9]).curve("validation", "loss", 0.95)
    assert curve["mean"].notna().all()
    assert curve[["ci_low", "ci_high"]].isna().all(axis=None)


def test_mean_confusion_averages_the_runs(variant_results):
    labels = np.array([0, 0, 1, 1, 2], np.uint8)
    predicted = np.array([[0, 1, 1, 1, 2], [0, 0, 1, 3, 0]], np.uint8)
    results = variant_results("With", [0.8, 0.6], predicted=predicted)
    assert results.mean_confusion(labels).tolist() == [
        [1.5, 0.5, 0, 0],
        [0, 1.5, 0, 0.5],
        [0.5, 0, 0.5, 0],
        [0, 0, 0, 0],
    ]


def test_comparison_pairs_runs_by_seed(variant_results, true_labels):
    candidate = variant_results("With", [0.98, 0.94, 0.97, 0.95, 0.99, 0.97])
    baseline = variant_results("Without", [0.90, 0.91, 0.92, 0.95, 0.96, 0.90])
    comparison = compare(candidate, baseline, true_labels, confidence=0.95)
    accuracy = comparison.accuracy
    assert (accuracy.n, accuracy.wins, accuracy.ties) == (6, 5, 1)
    assert accuracy.mean == pytest.approx(0.26 / 6)
    assert comparison.loss.mean == pytest.approx(-0.26 / 6)
    beyond = comparison.beyond_test_set
    assert beyond.ci_low < accuracy.ci_low < accuracy.mean < accuracy.ci_high < beyond.ci_high


def test_comparison_turns_with_its_sides(variant_results, true_labels):
    better = variant_results("With", np.linspace(0.9, 0.99, 10).round(2))
    worse = variant_results("Without", np.linspace(0.9, 0.8, 10).round(2) - 0.01)
    verdicts = [
        compare(*sides, true_labels, 0.95).accuracy.verdict
        for sides in ((better, worse), (worse, better))
    ]
    assert verdicts == ["candidate_better", "baseline_better"]


def test_without_labels_nothing_is_said_of_other_images(variant_results):
    results = variant_results("With", [0.9, 0.8])
    assert compare(results, results, None, 0.95).beyond_test_set is None


def test_pairs_of_which_a_run_diverged_count_and_are_told_apart(variant_results, true_labels):
    candidate = variant_results("With", [0.98, 0.94, 0.97, 0.1, 0.99], diverged=(3,))
    baseline = variant_results("Without", [0.1, 0.91, 0.92, 0.1, 0.96], diverged=(0, 3))

    comparison = compare(candidate, baseline, true_labels, 0.95)

    assert (candidate.diverged, baseline.diverged) == ((3,), (0, 3))
    # Differences in hundredths: 88, 3, 5, 0, 3; those of the seeds 1, 2 and 4 are steady.
    assert (comparison.accuracy.n, comparison.steady.n) == (5, 3)
    assert comparison.accuracy.mean == pytest.approx(0.99 / 5)
    assert comparison.steady.mean == pytest.approx(0.11 / 3)
    assert comparison.steady.ci_low > 0.02


def test_where_no_run_diverged_all_pairs_are_steady(variant_results, true_labels):
    results = [variant_results(label, [0.9, 0.8, 0.7]) for label in ("With", "Without")]
    comparison = compare(*results, true_labels, 0.95)
    assert comparison.steady == comparison.accuracy


def test_where_every_pair_has_a_run_that_diverged_none_is_steady(variant_results, true_labels):
    candidate = variant_results("With", [0.9, 0.1], diverged=(1,))
    baseline = variant_results("Without", [0.1, 0.8], diverged=(0,))
    assert compare(candidate, baseline, true_labels, 0.95).steady is None


def test_losses_that_are_both_infinite_have_no_difference(variant_results, true_labels):
    results = [variant_results(label, [0.9, 0.8]) for label in ("With", "Without")]
    for one in results:
        one.scores.loc[1, "loss"] = np.inf
    assert compare(*results, true_labels, 0.95).loss.mean is None
