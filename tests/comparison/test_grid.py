import json

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.grid import Experiment, grid, named, record
from pipeline.comparison.measures import MEASURES
from pipeline.comparison.verdict import Looks
from pipeline.errors import ArgumentError
from pipeline.reporting import grid_report, pages

ACCURACY = MEASURES["accuracy"]
# Ten pairs each; the differences range from clear to none.
WITHOUT = np.array([0.90, 0.91, 0.92, 0.90, 0.91, 0.90, 0.93, 0.89, 0.90, 0.91])
CLEAR = WITHOUT + np.array([3, 4, 5, 3, 4, 6, 2, 5, 4, 3]) / 100
WEAK = WITHOUT + np.array([3, 2, -1, 3, 1, 2, -2, 4, 5, 2]) / 100
NONE = WITHOUT + np.array([1, -1, 2, -2, 3, -3, 1, -1, 2, -2]) / 100
WORSE = WITHOUT - np.array([3, 4, 5, 3, 4, 6, 2, 5, 4, 3]) / 100


@pytest.fixture(scope="module")
def cell(make_cell):
    """Makes a cell from a variant, the accuracy of each run, and parameters."""

    def make(variant, accuracy, *, diverged=(), data="da7a", code="c0de", **parameters):
        rate = parameters.pop("learning_rate", 0.01)
        whole = {"normalization": variant, "training": {"optimizer": {"learning_rate": rate}}}
        return make_cell(
            variant.upper(), list(accuracy), diverged, parameters=whole | parameters,
            variant=variant, origin="HEAD", data_sha256=data * 16, code_sha256=code * 16,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def experiments(cell):
    """Two learning rates by two momenta; the baseline has no momentum."""
    accuracy = {(0.1, 0.9): CLEAR, (0.1, 0.99): WEAK, (0.01, 0.9): NONE, (0.01, 0.99): WORSE}
    without = {0.1: WITHOUT, 0.01: WITHOUT.round(2)}
    return [
        Experiment(
            f"exp-{rate}-{momentum}",
            {
                "bn": cell("bn", values, learning_rate=rate, momentum=momentum),
                "no": cell("no", without[rate], learning_rate=rate),
            },
        )
        for (rate, momentum), values in accuracy.items()
    ]


@pytest.fixture(scope="module")
def result(experiments):
    return grid(experiments, "no", ACCURACY, 0.95)


def of(result, *at):
    """Returns the contrast of the cell at these values."""
    (contrast,) = [contrast for row, contrast in result.contrasts if tuple(row.at.values()) == at]
    return contrast


def names(result):
    return [f"{row.cell.variant}: {named(row.at)}" for row in result.rows]


def text(result):
    return grid_report.text(grid_report.blocks(result))


def words(result):
    return " ".join(text(result).split())


def test_cells_are_named_by_what_differs_and_sorted_along_it(result):
    assert result.axes == ("learning_rate", "momentum")
    assert names(result) == [
        "no: learning_rate 0.01",
        "bn: learning_rate 0.01, momentum 0.9",
        "bn: learning_rate 0.01, momentum 0.99",
        "no: learning_rate 0.1",
        "bn: learning_rate 0.1, momentum 0.9",
        "bn: learning_rate 0.1, momentum 0.99",
    ]


def test_a_cell_that_experiments_share_appears_once_with_all_of_them(result):
    first, fourth = result.rows[0], result.rows[3]
    assert first.experiments == ("exp-0.01-0.9", "exp-0.01-0.99")
    assert fourth.experiments == ("exp-0.1-0.9", "exp-0.1-0.99")
    assert "exp-0.01-0.9 +1" in text(result)


def test_each_cell_is_compared_with_the_baseline_of_its_own_experiment(result):
    accuracy = of(result, 0.1, 0.9).paired
    differences = (CLEAR - WITHOUT).round(9)
    assert accuracy.mean == pytest.approx(0.039)
    assert accuracy.wins == 10
    expected = stats.bootstrap(
        (differences,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (accuracy.ci_low, accuracy.ci_high) == pytest.approx(tuple(expected))
    assert result.rows[4].against == {"learning_rate": 0.1}


def test_p_is_wilcoxons_adjusted_over_all_effects(result):
    effects = [contrast.effect for _, contrast in result.contrasts]
    none, worse, clear, weak = (
        stats.wilcoxon((values - WITHOUT).round(9)).pvalue for values in (NONE, WORSE, CLEAR, WEAK)
    )
    # The two smallest are equal: Holm takes four times the first, and the second may not be less.
    assert worse == clear < weak < none
    expected = [none, 4 * worse, 4 * clear, 2 * weak]
    assert [effect.p for effect in effects] == pytest.approx(expected)
    assert result.family == 4


def test_a_verdict_needs_a_small_adjusted_p(result):
    verdicts = [contrast.verdict for _, contrast in result.contrasts]
    assert verdicts == ["not_settled", "baseline_better", "candidate_better", "not_settled"]


def test_an_effect_settled_alone_may_not_be_settled_in_a_family(cell):
    # All six pairs won: p = 2 / 2**6 = 0.03125 alone, twice that in a family of two.
    without, ahead = WITHOUT[:6], CLEAR[:6]
    alone = [Experiment("a", {"bn": cell("bn", ahead, momentum=0.9), "no": cell("no", without)})]
    two = [
        *alone,
        Experiment("b", {"bn": cell("bn", ahead, momentum=0.8), "no": cell("no", without)}),
    ]

    ((_, contrast),) = grid(alone, "no", ACCURACY, 0.95).contrasts
    assert (contrast.effect.p, contrast.verdict) == (0.03125, "candidate_better")
    both = grid(two, "no", ACCURACY, 0.95)
    verdicts = [(contrast.effect.p, contrast.verdict) for _, contrast in both.contrasts]
    assert verdicts == [(0.0625, "not_settled")] * 2
    sentence = "6 pairs cannot give a verdict where 2 comparisons are adjusted together"
    # 2 / 2**7 * 2 = 0.03125.
    assert f"{sentence}, whatever they show: that takes 7 seeds." in words(both)


def test_too_few_pairs_have_no_verdict(cell):
    few = {"bn": cell("bn", CLEAR[:3]), "no": cell("no", WITHOUT[:3])}
    result = grid([Experiment("a", few)], "no", ACCURACY, 0.95)
    ((_, contrast),) = result.contrasts
    assert contrast.verdict == "too_few_pairs"
    assert " too few pairs " in words(result)
    assert "3 pairs cannot give a verdict, whatever they show: that takes 6 seeds." in words(result)


def test_equal_scores_are_the_same_and_do_not_count_in_the_family(cell):
    equal = {"bn": cell("bn", WITHOUT), "ln": cell("ln", CLEAR), "no": cell("no", WITHOUT)}
    result = grid([Experiment("a", equal)], "no", ACCURACY, 0.95)
    verdicts = {row.cell.variant: contrast.verdict for row, contrast in result.contrasts}
    assert verdicts == {"bn": "same", "ln": "candidate_better"}
    assert " the same " in words(result)
    assert result.family == 1
    (same,) = [one for one in record(result)["cells"] if one["variant"] == "bn"]
    assert (same["difference"]["accuracy"], same["difference"]["steady"]) == (None, None)
    assert "p is Wilcoxon's. The rule" in words(result)


def test_a_cell_has_a_row_for_each_baseline_that_it_meets(cell):
    experiments = [
        Experiment(name, {"bn": cell("bn", CLEAR), "no": cell("no", values, learning_rate=rate)})
        for name, values, rate in (("a", WITHOUT, 0.1), ("b", WEAK, 0.2))
    ]
    result = grid(experiments, "no", ACCURACY, 0.95)
    references = [row.against for row, _ in result.contrasts]
    assert references == [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
    header, *rows = grid_report.blocks(result)[2].header, *grid_report.blocks(result)[2].rows
    at = header.index("against")
    assert [row[at] for row in rows if row[1] == "BN"] == ["learning_rate 0.1", "learning_rate 0.2"]


def test_different_scores_from_the_same_inputs_stay_separate_with_a_warning(cell):
    experiments = [
        Experiment(name, {"bn": cell("bn", values), "no": cell("no", WITHOUT)})
        for name, values in (("here", CLEAR), ("there", WEAK))
    ]
    result = grid(experiments, "no", ACCURACY, 0.95)
    assert [row.experiments for row in result.disagreeing] == [("here",), ("there",)]
    assert "BN of there scored differently elsewhere with the same inputs: other packages" in words(
        result
    )


def test_data_code_and_number_of_seeds_are_axes_where_they_differ(cell):
    experiments = [
        Experiment("a", {"no": cell("no", WITHOUT)}),
        Experiment("b", {"no": cell("no", WITHOUT[:6], data="beef", code="f00d")}),
    ]
    result = grid(experiments, "no", ACCURACY, 0.95)
    assert result.axes == ("seeds", "data", "code")
    assert named(result.rows[0].at) == "seeds 6, data beefbeef, code f00df00d"
    assert "Not all cells were made from the same data and code." in words(result)


def test_axes_have_the_shortest_name_that_is_clear(cell):
    optimizers = {"name": "adam", "epsilon": 0.1}, {"name": "sgd", "momentum": 0.9}
    experiments = [
        Experiment(
            optimizer["name"],
            {"bn": cell("bn", WITHOUT, momentum=own, training={"optimizer": optimizer})},
        )
        for own, optimizer in zip((0.5, 0.7), optimizers, strict=True)
    ]
    result = grid(experiments, "bn", ACCURACY, 0.95)
    assert result.axes == ("optimizer.name", "epsilon", "momentum", "optimizer.momentum")
    # A parameter that an optimizer lacks is a difference too.
    absent = "epsilon –"  # noqa: RUF001
    rest = "momentum 0.7, optimizer.momentum 0.9"
    assert named(result.rows[1].at) == f"optimizer.name sgd, {absent}, {rest}"


def test_numbers_and_lists_are_sorted_by_size(cell):
    experiments = [
        Experiment(str(place), {"no": cell("no", WITHOUT, network={"hidden_dims": dims})})
        for place, dims in enumerate(([128], [32, 32], [32]))
    ]
    result = grid(experiments, "no", ACCURACY, 0.95)
    assert [row.at["hidden_dims"] for row in result.rows] == [[32], [32, 32], [128]]


def test_an_axis_of_mixed_values_has_an_order(cell):
    wanted = [{}, {"hidden_dims": 7}, {"hidden_dims": [32]}, {"hidden_dims": "auto"}]
    experiments = [
        Experiment(str(place), {"no": cell("no", WITHOUT, network=network)})
        for place, network in reversed([*enumerate(wanted)])
    ]
    result = grid(experiments, "no", ACCURACY, 0.95)
    assert [row.at["hidden_dims"] for row in result.rows] == [None, 7, [32], "auto"]


def test_an_experiment_without_the_baseline_is_refused(cell):
    experiments = [Experiment("x", {"bn": cell("bn", CLEAR)})]
    with pytest.raises(ArgumentError, match=r"x has no variant 'no', which params\.yaml names"):
        grid(experiments, "no", ACCURACY, 0.95)


def test_a_variant_that_shares_no_seed_with_its_baseline_is_refused(cell):
    other = cell("no", WITHOUT)
    other.scores["seed"] += 10
    with pytest.raises(
        ArgumentError, match=r"BN \(HEAD\) and NO \(HEAD\) have no run of the same seed"
    ):
        grid([Experiment("x", {"bn": cell("bn", CLEAR), "no": other})], "no", ACCURACY, 0.95)


def test_the_table_has_means_differences_and_verdicts(result):
    lines = text(result).splitlines()
    row = next(line for line in lines if "exp-0.1-0.9" in line and "BN" in line)
    half = stats.t.ppf(0.975, 9) * stats.sem(CLEAR)
    assert row.split()[:7] == [
        "0.1", "0.9", "BN", "10", f"{100 * CLEAR.mean():.2f}", "±", f"{100 * half:.2f}",
    ]  # fmt: skip
    assert "+3.90 (" in row
    assert "10 of 10" in row
    assert " better " in row
    baseline = next(line for line in lines if line.startswith("0.1") and " NO " in line)
    assert baseline.split()[-6:-2] == ["–"] * 4  # noqa: RUF001
    assert lines[0] == "learning_rate, momentum: 6 cells of 4 experiments"


def test_the_page_can_be_markdown(result):
    page = pages.markdown(grid_report.blocks(result))
    assert "## learning_rate, momentum: 6 cells of 4 experiments\n" in page
    assert sum(line.startswith("| 0.") for line in page.splitlines()) == 6


def test_baselines_alone_have_no_differences(cell):
    experiments = [
        Experiment(str(rate), {"no": cell("no", WITHOUT, learning_rate=rate)}) for rate in (1, 2)
    ]
    result = grid(experiments, "no", ACCURACY, 0.95)
    page = text(result)
    assert result.family == 0
    assert "Test accuracy: mean over the runs, and half of its 95 % interval.\n" in page
    assert "difference" not in page


def test_diverged_runs_and_left_out_seeds_are_reported(cell):
    fewer = cell("no", WITHOUT[:8])
    result = grid(
        [Experiment("x", {"bn": cell("bn", CLEAR, diverged=[0, 1]), "no": fewer})],
        "no",
        ACCURACY,
        0.95,
    )
    page = words(result)
    assert "Left out of differences, without a partner of the same seed: 2 of BN (BN" in page
    assert "Runs that diverged: 2 of 10 of BN at seeds" not in page
    assert "Runs that diverged: 2 of 10 of BN. Their training loss ended above twice" in page
    (cell,) = [cell for cell in record(result)["cells"] if cell["difference"]]
    assert cell["difference"]["left_out"] == {"cell": [8, 9], "baseline": []}
    assert cell["diverged"] == [0, 1]
    remaining = 100 * (CLEAR - WITHOUT)[2:8].mean()
    steady = "BN: over the pairs in which neither diverged, 6 of 8, the difference is"
    assert f"{steady} {remaining:+.2f} percentage points (" in page


def test_the_record_has_cells_and_differences(result):
    recorded = json.loads(json.dumps(record(result), allow_nan=False))
    assert (recorded["baseline"], recorded["axes"]) == ("no", ["learning_rate", "momentum"])
    assert recorded["p_values_in_family"] == 4
    baseline, cell = recorded["cells"][3:5]
    assert baseline["difference"] is None
    assert cell["at"] == {"learning_rate": 0.1, "momentum": 0.9}
    assert cell["seeds"] == list(range(10))
    assert cell["test"]["accuracy"]["mean"] == pytest.approx(CLEAR.mean())
    difference = cell["difference"]
    assert difference["baseline_at"] == {"learning_rate": 0.1}
    assert difference["accuracy"]["mean"] == pytest.approx(0.039)
    # No run diverged.
    assert difference["steady"] == difference["accuracy"]
    assert difference["verdict"] == "candidate_better"


def test_a_grid_of_losses_has_their_units_and_their_direction(cell):
    experiments = [Experiment("x", {"bn": cell("bn", CLEAR), "no": cell("no", WITHOUT)})]

    result = grid(experiments, "no", MEASURES["loss"], 0.95)

    ((_, contrast),) = result.contrasts
    assert contrast.paired.mean == pytest.approx(-0.039)
    assert (contrast.paired.wins, contrast.verdict) == (10, "candidate_better")
    assert "Test loss: mean over the runs" in words(result)
    assert "Smaller is better. Difference" in words(result)
    assert "in nats, with its 95 % interval" in words(result)
    assert "variant runs loss difference" in words(result)
    assert "BN 10 0.0540" in words(result)
    assert "-0.0390 (-0.04" in words(result)
    recorded = record(result)
    assert recorded["measure"] == "loss"
    assert recorded["cells"][1]["difference"]["loss"]["wins"] == 10
    assert list(recorded["cells"][0]["test"]) == list(MEASURES)


def test_a_column_says_how_many_pairs_would_settle_an_open_row(cell, result):
    without, ahead = WITHOUT[:6], CLEAR[:6]
    two = [
        Experiment(name, {"bn": cell("bn", ahead, momentum=momentum), "no": cell("no", without)})
        for name, momentum in (("a", 0.9), ("b", 0.8))
    ]
    both = grid(two, "no", ACCURACY, 0.95)
    # 2 / 2**7 * 2 = 0.03125.
    assert [contrast.needed.pairs for _, contrast in both.contrasts] == [7, 7]
    page = grid_report.blocks(both)
    header, *rows = next([block.header, *block.rows] for block in page if hasattr(block, "rows"))
    assert [row[header.index("pairs to settle it")] for row in rows if row[-1] in "ab"] == [
        "7",
        "7",
    ]
    assert "if those to come vary like these" in words(both)
    assert "is not known from so few" not in words(both)
    # Of no difference no number is enough.
    assert of(result, 0.01, 0.9).needed.pairs is None
    assert " > 1000 " in words(result)


def test_of_two_pairs_it_says_the_fewest_that_the_rule_takes(cell):
    two = [Experiment("a", {"bn": cell("bn", CLEAR[:2]), "no": cell("no", WITHOUT[:2])})]
    told = words(grid(two, "no", ACCURACY, 0.95))
    assert "how much pairs vary is not known from so few; a verdict takes at least so many" in told
    assert "simulation" not in told


def test_where_all_is_settled_there_is_no_such_column(cell):
    settled = [Experiment("a", {"bn": cell("bn", CLEAR), "no": cell("no", WITHOUT)})]
    assert "settle it" not in words(grid(settled, "no", ACCURACY, 0.95))


def test_repeated_looks_are_told_once(cell):
    settled = [Experiment("a", {"bn": cell("bn", CLEAR), "no": cell("no", WITHOUT)})]
    told = words(grid(settled, "no", ACCURACY, 0.95, Looks(repeated=True)))
    assert told.count("Looks were repeated while pairs were added.") == 1
    # 10 of 10 pairs, with 2 / 2**10.
    assert "with its 99.8 % interval" in told
    assert " better " in told
