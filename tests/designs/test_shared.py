"""Stores that strangers published: the answers that were worked out apart from this project."""

import json
from functools import cache

import pytest

from pipeline.designs.answer import answer
from pipeline.designs.answers import Paired, Search, Trends, Values
from pipeline.designs.asked import Asked
from pipeline.designs.design import design
from pipeline.errors import ArgumentError
from pipeline.stores.read import read_store


@pytest.fixture(scope="module")
def answered(shared):
    @cache
    def read(name, experiments):
        folder, expected = shared(name)
        return read_store(str(folder), experiments=experiments), expected

    def ask(name, experiments=(), **asked):
        stored, expected = read(name, experiments)
        found = answer(design(stored, Asked(**asked)), 0.95)
        return found, json.loads(expected.read_text("utf-8"))

    return ask


def close(value):
    # Differences are rounded to nine decimals before they are summed.
    return pytest.approx(value, rel=1e-6, abs=2e-9)


def check(of, expected, *, smaller_is_better):
    wins = expected["losses_a"] if smaller_is_better else expected["wins_a"]
    assert of.paired.n == expected["n_pairs"]
    assert of.candidate_mean == close(expected["mean_a"])
    assert of.baseline_mean == close(expected["mean_b"])
    assert of.paired.mean == close(expected["mean_difference"])
    assert of.paired.sd == close(expected["sd_difference"])
    assert (of.paired.wins, of.paired.ties) == (wins, expected["ties"])
    assert of.paired.t_test_p == close(expected["t_p"])
    assert of.paired.wilcoxon_p == close(expected["wilcoxon_p"])


def test_minlp_factorial(answered):
    found, expected = answered("minlp-factorial", ("486716780144883832",), metric="time")
    assert isinstance(found, Paired)
    assert found.basis.metric.smaller_is_better is expected["smaller_is_better"]
    by_factor = {of.factor: of for of in found.comparisons}
    assert len(by_factor) == len(expected["comparisons"])
    for comparison in expected["comparisons"]:
        of = by_factor[comparison["factor"]]
        assert (of.candidate, of.baseline) == (comparison["a"], comparison["b"])
        check(of, comparison, smaller_is_better=True)
        assert of.p == close(comparison["wilcoxon_p_holm"])
        assert of.ratio.ratio == close(comparison["ratio_of_geometric_means"])
        assert [of.ratio.ci_low, of.ratio.ci_high] == close(comparison["ratio_ci95"])
        assert of.ratio.t_test_p == close(comparison["log_t_p"])
    assert {(of.factor, *of.aliases) for of in found.comparisons if of.aliases} == {
        tuple(names) for names in expected["aliased"]
    }
    verdicts = {factor: of.verdict for factor, of in by_factor.items()}
    assert verdicts.pop("dimension") == "candidate_better"
    assert verdicts.pop("min volume") == "baseline_better"
    assert set(verdicts.values()) == {"not_settled"}


def test_minlp_factorial_with_both_experiments(answered):
    found, _ = answered("minlp-factorial", metric="time")
    dimension = {
        (of.candidate, of.baseline): of for of in found.comparisons if of.factor == "dimension"
    }
    assert dimension["2", "4"].paired.n == 32
    assert dimension["2", "4"].verdict == "candidate_better"
    assert found.apart == (("dimension", "3", "4"),)
    assert {left.reason: left.count for left in found.basis.left_out} == {"deleted": 8}


@pytest.mark.parametrize("metric", ["mae", "f1score"])
def test_nilm_models(answered, metric):
    found, expected = answered("nilm-windows", metric=metric, by=("model_name",))
    assert (found.unit, found.pair_by) == ("data", ("experiment",))
    of_metric = [of for of in expected["comparisons"] if of["metric"] == metric]
    assert len(found.comparisons) == len(of_metric) == 3
    for of, comparison in zip(found.comparisons, of_metric, strict=True):
        assert (of.candidate, of.baseline) == (comparison["a"], comparison["b"])
        check(of, comparison, smaller_is_better=metric == "mae")
        assert (of.verdict, of.fewest) == ("too_few_pairs", 7)


def test_nilm_models_are_what_final_runs_compare_by_themselves(answered):
    found, _ = answered("nilm-windows", metric="mae")
    assert {of.factor for of in found.comparisons} == {"model_name"}


@pytest.mark.parametrize("by", [(), ("in_size",)])
def test_nilm_windows(answered, by):
    found, expected = answered("nilm-windows", metric="val_loss", by=by)
    assert isinstance(found, Trends)
    assert found.factor == "in_size"
    assert found.elsewhere == 7
    trends = {of.where.removeprefix("experiment "): of.trend for of in found.trends}
    assert trends.keys() == expected["window_sweep"].keys()
    for where, of in expected["window_sweep"].items():
        trend = trends[where]
        assert trend.n == of["n"]
        assert (trend.pearson.coefficient, trend.pearson.p) == close(
            (of["pearson_r"], of["pearson_p"])
        )
        assert (trend.spearman.coefficient, trend.spearman.p) == close(
            (of["spearman_rho"], of["spearman_p"])
        )


def test_fairprune_has_no_verdict(answered):
    found, expected = answered("fairprune", metric="accuracy_dev", by=("fairness",))
    assert isinstance(found, Values)
    means = {cell.level: cell.mean for cell in found.cells if cell.runs == 1}
    assert means == {
        run["fairness"]: close(run["accuracy_dev"]) for run in expected["fairness_runs"]
    }
    ((_, confounders),) = found.basis.confounders
    assert {"checkpoint", "epochs", "git_hash"} <= {of.name for of in confounders}
    assert {left.reason: left.count for left in found.basis.left_out} == {"deleted": 2, "failed": 1}


def test_fairprune_as_a_whole_is_a_search(answered):
    found, expected = answered("fairprune", metric="accuracy_dev")
    assert isinstance(found, Search)
    assert found.settings == expected["distinct_settings"]


@pytest.mark.parametrize("name", ["minlp-factorial", "nilm-windows", "fairprune"])
def test_without_a_metric_they_are_listed(answered, name):
    with pytest.raises(ArgumentError, match="which metric"):
        answered(name)
