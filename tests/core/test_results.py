import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.core.results import compare


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
