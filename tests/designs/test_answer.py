import itertools

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.statistics import paired_comparison
from pipeline.designs.answers import Paired, Search, Trends, Unpaired, Values
from pipeline.errors import ArgumentError
from tests.designs.invented import answered, noise, run, seeded


def values_of(rows, cell, metric="accuracy", name="model"):
    return np.array([row["metrics"][metric] for row in rows if row["params"][name] == cell])


def test_pairs_of_seeds_have_the_statistics_of_any_pairs():
    rows = seeded("ab")
    answer = answered(rows)
    assert isinstance(answer, Paired)
    (of,) = answer.comparisons
    assert (of.factor, of.candidate, of.baseline) == ("model", "a", "b")
    assert of.paired == paired_comparison(values_of(rows, "a"), values_of(rows, "b"), 0.95)
    assert of.p == of.paired.wilcoxon_p
    assert (of.family, of.fewest, of.verdict) == (1, 6, "candidate_better")
    assert (of.candidate_mean, of.baseline_mean) == pytest.approx(
        (values_of(rows, "a").mean(), values_of(rows, "b").mean())
    )


def test_a_smaller_loss_is_better():
    (of,) = answered(seeded("ab", metric="loss")).comparisons
    assert (of.paired.wins, of.verdict) == (0, "baseline_better")


def test_several_cells_are_one_family():
    answer = answered(seeded("abc"))
    assert [(of.candidate, of.baseline) for of in answer.comparisons] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    smallest = 2 / 2**10
    assert [of.paired.wilcoxon_p for of in answer.comparisons] == [pytest.approx(smallest)] * 3
    assert [of.p for of in answer.comparisons] == [pytest.approx(3 * smallest)] * 3
    assert {of.family for of in answer.comparisons} == {3}
    assert {of.fewest for of in answer.comparisons} == {7}


def test_many_cells_are_compared_with_the_one_that_has_most_runs():
    rows = [*seeded("abcdefg", gap=0.02), *seeded("d", seeds=11)[10:]]
    answer = answered(rows)
    assert {of.baseline for of in answer.comparisons} == {"d"}
    assert len(answer.comparisons) == 6
    assert [of.text for of in answer.basis.inferences if of.flag == "--against"] == [
        "Each model is compared with d, which has the most runs or comes first."
    ]


def test_a_baseline_can_be_asked_for():
    answer = answered(seeded("abc"), against="b")
    assert [(of.candidate, of.baseline) for of in answer.comparisons] == [("a", "b"), ("c", "b")]
    with pytest.raises(ArgumentError, match=r"--against 'x' is no value .*: model has a, b, c"):
        answered(seeded("abc"), against="x")


def test_a_baseline_may_be_written_in_another_way_or_be_missing():
    rows = [run({"acc": v}, lr=lr, seed=s) for lr in (0.1, 0.2) for s, v in enumerate(noise(7))]
    assert answered(rows, against="1e-1").comparisons[0].baseline == "0.1"
    rows += [run({"acc": v}, seed=s) for s, v in enumerate(noise(7, seed=1))]
    assert answered(rows, against="none").comparisons[0].baseline == ""


def test_a_baseline_applies_to_the_factor_that_has_it():
    values = iter(noise(100))
    rows = [
        run({"accuracy": next(values)}, x=x, y=y, seed=seed)
        for x, y, seed in itertools.product("abc", "pqr", range(3))
    ]
    answer = answered(rows, against="b")
    assert [(of.candidate, of.baseline) for of in answer.comparisons] == [
        *[("a", "b"), ("c", "b")],
        *[("p", "q"), ("p", "r"), ("q", "r")],
    ]


def test_a_number_can_be_compared_with_a_baseline():
    rows = [
        run({"loss": width + 0.1 * value}, width=width, seed=seed)
        for width in range(9)
        for seed, value in enumerate(noise(8, seed=width))
    ]
    assert isinstance(answered(rows), Trends)
    assert len(answered(rows, against="0").comparisons) == 8


def test_the_only_block_that_both_share_is_compared_unpaired():
    values = iter(noise(30))
    rows = [
        run({"accuracy": next(values)}, model=model, lr=lr)
        for model, lr in (("a", 0.1), ("a", 0.2), ("b", 0.1))
        for _ in range(10)
    ]
    answer = answered(rows, by=("model",))
    assert isinstance(answer, Unpaired)
    (of,) = answer.comparisons
    assert (of.compared.n_candidate, of.compared.n_baseline) == (10, 10)
    assert answer.basis.inferences[-1].text == "Compared only where lr is the same: 20 runs."


def test_few_pairs_give_no_verdict_but_how_many_could():
    answer = answered(seeded("abc", seeds=5))
    assert {of.verdict for of in answer.comparisons} == {"too_few_pairs"}
    assert {of.fewest for of in answer.comparisons} == {7}


def test_runs_without_a_partner_are_counted():
    rows = seeded("ab")
    answer = answered(rows[:-2])
    assert answer.comparisons[0].paired.n == 8
    assert answer.comparisons[0].without_partner == 2


def test_cells_that_share_nothing_are_named():
    rows = [*seeded("ab"), run({"accuracy": 0.1}, model="c", seed=99)]
    answer = answered(rows)
    assert answer.apart == (("model", "a", "c"), ("model", "b", "c"))
    assert len(answer.comparisons) == 1


def test_repetitions_in_a_block_are_averaged():
    rows = [
        run({"accuracy": 0.1 * seed + part}, model=model, seed=seed)
        for model, parts in (("a", (0.2, 0.4)), ("b", (0.1,)))
        for seed in range(8)
        for part in parts
    ]
    answer = answered(rows)
    assert answer.basis.repeats == 16
    assert answer.comparisons[0].paired.mean == pytest.approx(0.2)


def test_the_smallest_numbers_there_are_can_be_compared():
    rows = [
        run({"loss": 5e-324 * (model == "b")}, model=model, seed=seed, x=seed)
        for seed in range(8)
        for model in "ab"
    ]
    assert answered(rows, by=("model",), pair_by=("seed",)).comparisons[0].paired.ties == 8


def test_small_values_are_not_taken_for_ties():
    rows = [
        run({"loss": 1e-12 * (1 + seed / 10 + 0.5 * (model == "b"))}, model=model, seed=seed)
        for model in "ab"
        for seed in range(10)
    ]
    (of,) = answered(rows).comparisons
    assert (of.paired.wins, of.paired.ties) == (10, 0)
    assert of.paired.mean == pytest.approx(-5e-13)
    assert of.verdict == "candidate_better"


def test_equal_values_are_ties():
    rows = [
        run({"accuracy": 0.1 * seed, "loss": ord(model)}, model=model, seed=seed)
        for model in "ab"
        for seed in range(8)
    ]
    (of,) = answered(rows, metric="accuracy").comparisons
    assert (of.paired.ties, of.verdict) == (8, "not_settled")


def test_times_are_compared_by_ratio():
    times = np.exp(noise(2, 12) * 0.1 + np.array([[0.0], [0.5]]))
    rows = [
        run({"time": times[place, seed]}, model=model, seed=seed)
        for place, model in enumerate("ab")
        for seed in range(12)
    ]
    (of,) = answered(rows).comparisons
    logs = np.log(times[0] / times[1])
    interval = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert of.ratio.ratio == pytest.approx(np.exp(logs.mean()))
    assert (of.ratio.ci_low, of.ratio.ci_high) == pytest.approx(np.exp([*interval]))
    assert of.verdict == "candidate_better"


def blocks(models, sets, effect=0.1, seeds=1):
    values = iter(noise(10_000))
    return [
        run(
            {"accuracy": effect * place + set_ + 0.01 * next(values)},
            model=model,
            dataset=f"d{set_}",
            seed=seed,
        )
        for place, model in enumerate(models)
        for set_ in range(sets)
        for seed in range(seeds)
    ]


def test_data_sets_get_friedmans_test_and_pairs():
    rows = blocks("abc", 8)
    answer = answered(rows)
    expected = stats.friedmanchisquare(*(values_of(rows, model) for model in "abc"))
    assert answer.unit == "data"
    assert (answer.friedman.chi_square, answer.friedman.p) == pytest.approx(
        (expected.statistic, expected.pvalue)
    )
    assert (answer.friedman.cells, answer.friedman.blocks) == (3, 8)
    assert {of.verdict for of in answer.comparisons} == {"baseline_better"}


def test_two_cells_on_data_sets_need_no_friedman():
    assert answered(blocks("ab", 8)).friedman is None


def test_seeds_on_many_data_sets_are_no_more_pairs():
    answer = answered(blocks("ab", 8, seeds=5))
    assert (answer.unit, answer.comparisons[0].paired.n) == ("data", 8)


def folds(count, repeats=1, effect=0.02):
    values = iter(noise(1000))
    return [
        run(
            {"accuracy": effect * (model == "a") + 0.01 * next(values)},
            model=model,
            fold=fold,
            seed=seed,
        )
        for model in "ab"
        for fold in range(count)
        for seed in range(repeats)
    ]


def test_folds_get_the_corrected_test():
    rows = folds(10)
    (of,) = answered(rows).comparisons
    differences = values_of(rows, "a") - values_of(rows, "b")
    t = differences.mean() / np.sqrt((1 / 10 + 1 / 9) * differences.var(ddof=1))
    assert of.p == pytest.approx(2 * stats.t.sf(abs(t), 9))
    assert of.corrected.folds == 10
    assert of.verdict == "candidate_better"


def test_folds_that_plain_pairs_would_settle_are_not_settled():
    rows = folds(10, effect=0.0095)
    (of,) = answered(rows).comparisons
    assert of.paired.wilcoxon_p < 0.05 < of.p
    assert of.verdict == "not_settled"


def test_equal_folds_have_no_corrected_test():
    rows = [
        run({"accuracy": 0.1 * fold, "loss": ord(model)}, model=model, fold=fold)
        for model in "ab"
        for fold in range(8)
    ]
    (of,) = answered(rows, metric="accuracy").comparisons
    assert (of.corrected, of.p, of.family, of.verdict) == (None, None, 0, "not_settled")


def test_times_in_folds_have_the_corrected_interval_of_their_ratio():
    times = np.exp(noise(2, 10) * 0.05 + np.array([[0.0], [0.5]]))
    rows = [
        run({"time": times[place, fold]}, model=model, fold=fold)
        for place, model in enumerate("ab")
        for fold in range(10)
    ]
    (of,) = answered(rows).comparisons
    logs = np.log(times[0] / times[1])
    half = stats.t.ppf(0.975, 9) * np.sqrt((1 / 10 + 1 / 9) * logs.var(ddof=1))
    assert (of.ratio.ci_low, of.ratio.ci_high) == pytest.approx(
        tuple(np.exp([logs.mean() - half, logs.mean() + half]))
    )


def unpaired(gap, runs=8, metric="accuracy"):
    values = np.exp(0.1 * noise(2, runs) - np.array([[0.0], [gap]]))
    return [
        run({metric: value}, model=model, seed=100 * place + seed)
        for place, model in enumerate("ab")
        for seed, value in enumerate(values[place])
    ]


def test_seeds_that_are_not_shared_are_compared_unpaired():
    rows = unpaired(0.5)
    answer = answered(rows)
    assert isinstance(answer, Unpaired)
    (of,) = answer.comparisons
    a, b = values_of(rows, "a"), values_of(rows, "b")
    assert of.compared.welch_p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert of.p == pytest.approx(stats.mannwhitneyu(a, b).pvalue)
    assert (of.candidate_mean, of.verdict) == (pytest.approx(a.mean()), "candidate_better")


@pytest.mark.parametrize(
    ("gap", "runs", "verdict"), [(-0.1, 8, "not_settled"), (0.5, 3, "too_few_pairs")]
)
def test_unpaired_runs_may_not_settle_it(gap, runs, verdict):
    assert answered(unpaired(gap, runs)).comparisons[0].verdict == verdict


def test_unpaired_times_are_ratios():
    rows = unpaired(0.5, metric="time")
    (of,) = answered(rows).comparisons
    logs = [np.log(values_of(rows, model, "time")) for model in "ab"]
    assert of.as_ratio
    assert of.compared.mean == pytest.approx(logs[0].mean() - logs[1].mean())
    assert of.verdict == "baseline_better"


def test_many_runs_of_a_deterministic_method_are_one():
    rows = [run({"accuracy": ord(model)}, model=model) for model in "ab" for _ in range(10)]
    answer = answered(rows)
    assert isinstance(answer, Values)
    assert [cell.runs for cell in answer.cells] == [1, 1]
    assert answer.basis.copies == 18


def test_one_run_a_setting_gives_values_and_how_many_runs_it_takes():
    rows = [
        run({"accuracy": 0.1 * place}, model=model, git_hash=f"abc{place}")
        for place, model in enumerate("cab")
    ]
    answer = answered(rows)
    assert isinstance(answer, Values)
    assert [(cell.level, cell.mean) for cell in answer.cells] == [
        ("a", pytest.approx(0.1)),
        ("b", pytest.approx(0.2)),
        ("c", 0.0),
    ]
    assert answer.fewest == 7
    assert answer.basis.confounders[0][1][0].name == "git_hash"
    assert answer.cells[0].beside == (("abc1",),)


def test_one_pair_is_no_comparison():
    rows = [run({"accuracy": v}, model=m, seed=0) for m, v in (("a", 1), ("b", 2))]
    assert isinstance(answered(rows), Values)


def line(slope, runs=12, **others):
    return [
        run({"loss": slope * width + value}, width=width, **others)
        for width, value in enumerate(noise(runs))
    ]


def test_one_run_a_number_is_a_trend():
    rows = line(1.0)
    answer = answered(rows)
    assert isinstance(answer, Trends)
    (of,) = answer.trends
    losses = [row["metrics"]["loss"] for row in rows]
    pearson = stats.pearsonr(range(12), losses)
    assert (of.where, of.trend.n) == ("", 12)
    assert of.trend.pearson.coefficient == pytest.approx(pearson.statistic)
    assert of.trend.pearson.p == pytest.approx(pearson.pvalue)
    assert of.points[3] == (3, pytest.approx(losses[3]))


def test_trends_are_held_apart_by_what_else_was_set():
    rows = [*line(1.0, model="a"), *line(-1.0, model="b"), *line(0, runs=3, model="c")]
    answer = answered(rows)
    assert [of.where for of in answer.trends] == ["model a", "model b"]
    assert [of.trend.pearson.coefficient > 0 for of in answer.trends] == [True, False]
    assert answer.elsewhere == 3


def test_a_trend_whose_other_settings_all_differ_names_them():
    rows = [
        run({"loss": value}, width=width, depth=depth)
        for width, depth, value in zip(range(12), noise(12, seed=1), noise(12), strict=True)
    ]
    answer = answered(rows, by=("width",))
    assert len(answer.trends) == 1
    assert [of.name for of in answer.basis.confounders[0][1]] == ["depth"]


def test_a_flat_trend_has_no_correlation():
    rows = [run({"loss": 1.0, "other": width}, width=width) for width in range(10)]
    assert answered(rows, metric="loss").trends[0].trend is None


def search(count=30):
    lrs, widths = noise(2, count, seed=3)
    return [
        run({"accuracy": value}, lr=lr, width=width)
        for lr, width, value in zip(lrs, widths, noise(count), strict=True)
    ]


def test_the_best_of_a_search_is_said_to_be_optimistic():
    answer = answered(search())
    values = noise(30)
    assert isinstance(answer, Search)
    assert answer.settings == 30
    assert [cell.mean for cell in answer.best] == sorted(values, reverse=True)[:10]
    assert answer.ahead == pytest.approx((values.max() - values.mean()) / values.std(ddof=1))
    assert 1.9 < answer.expected_ahead < 2.2


def test_the_best_of_a_search_may_be_the_smallest():
    answer = answered(search(), smaller_is_better=True)
    assert answer.best[0].mean == noise(30).min()
    assert answer.ahead > 0


def test_many_names_are_a_search_unless_there_is_a_baseline():
    rows = seeded([f"m{place:02}" for place in range(15)])
    assert isinstance(answered(rows), Search)
    assert len(answered(rows, against="m03").comparisons) == 14


def test_a_factorial_is_answered_a_factor_at_a_time():
    values = iter(noise(100) * 0.01)
    rows = [
        run({"accuracy": 0.1 * (x == 1) + next(values)}, x=x, y=y, z=z, k=k)
        for x, y, z, k in itertools.product((1, 2), "ab", "uv", "mn")
    ]
    answer = answered(rows)
    by_factor = {of.factor: of for of in answer.comparisons}
    assert by_factor["x"].paired.n == by_factor["y"].paired.n == 8
    assert by_factor["x"].verdict == "candidate_better"
    assert by_factor["y"].verdict == "not_settled"
    assert {of.family for of in answer.comparisons} == {4}


def test_pairs_may_be_asked_for_by_what_changes_with_the_setting():
    rows = [run({"accuracy": x}, x=x, y=2 * x) for x in (1, 2)]
    assert isinstance(answered(rows, by=("x",), pair_by=("y",)), Values)
