import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.words import ABSENT
from pipeline.studies.judgement import judge
from pipeline.studies.report import gallery, in_words, page, verdict
from pipeline.studies.study import Rule

RATE = "training.optimizer.learning_rate"
RULE = Rule(measure="test_accuracy", expected="greater", at={RATE: 0.1})
AXES = {RATE: (0.01, 0.1)}
NOTHING = pd.DataFrame()


@pytest.fixture(scope="module")
def rows():
    """Makes rows in which A is about two points ahead, and two of its runs at 0.01 diverged."""
    rng = np.random.default_rng(0)
    keys = pd.MultiIndex.from_product(
        [AXES[RATE], ("a", "b"), range(8)], names=["learning_rate", "variant", "seed"]
    ).to_frame(index=False)
    ahead = (keys["variant"] == "a") * rng.normal(0.02, 0.002, len(keys))
    diverged = keys.eval("variant == 'a' and learning_rate == 0.01 and seed < 2")
    return keys.assign(
        test_accuracy=0.9 + ahead,
        dead_units=rng.uniform(0, 0.5, len(keys)),
        diverged=diverged.astype(float),
    )


def verdict_and_page(study, rows, course=NOTHING):
    judged = judge(study, rows)
    record = verdict(study, judged, course)
    return record, page(study, rows, judged, record)


def test_the_page_has_verdict_numbers_and_rule(study, rows):
    record, text = verdict_and_page(study(RULE, axes=AXES), rows)

    at = rows.query("learning_rate == 0.1").groupby("variant")["test_accuracy"].mean() * 100
    assert record["verdict"] == "supported"
    assert f"Test accuracy: {at['a']:.2f} % A and {at['b']:.2f} % B" in record["measured"]
    assert f"difference {at['a'] - at['b']:.2f} points" in record["measured"]
    assert "greater in 8 of 8" in record["measured"]
    assert text.startswith("# A > B\n\n**Supported at learning rate 0.1.** ")
    assert "test accuracy of A > B, at learning rate 0.1: supported." in text
    assert "Published: none." in text
    assert "`dvc repro studies/dvc.yaml:study@test`" in text
    assert "--quick" not in text


def test_a_number_is_what_the_candidate_is_compared_with(study, rows):
    number = RULE.model_copy(update={"number": 0.9})
    record, text = verdict_and_page(study(number, axes=AXES), rows)

    of_a = rows.query("learning_rate == 0.1 and variant == 'a'")["test_accuracy"] * 100
    assert record["verdict"] == "supported"
    assert record["rules"][0]["baseline"] is None
    assert record["rules"][0]["means"]["number"] == 0.9
    told = f"Test accuracy: {of_a.mean():.2f} % A against 90.00 %, difference "
    assert record["measured"].startswith(f"{told}{of_a.mean() - 90:.2f} points (")
    assert "test accuracy of A > 90.00 %, at learning rate 0.1: supported." in text
    everywhere = number.model_copy(update={"at": None, "everywhere": True})
    record, _ = verdict_and_page(study(everywhere, axes=AXES), rows)
    assert record["measured"].startswith(
        "Test accuracy of A against 90.00 % at each of 2 points of the grid: supported at 2."
    )


def test_pairs_with_less_are_counted_where_less_is_expected(study, rows):
    # A is ahead in all pairs but one, which is tied.
    tied = rows.assign(
        dead_units=np.where(rows["variant"] == "a", 0.25, 0.5 - 0.25 * (rows["seed"] == 3))
    )
    rule = RULE.model_copy(update={"measure": "dead_units", "expected": "smaller"})
    record, _ = verdict_and_page(study(rule, axes=AXES), tied)

    assert "smaller in 7 of 8" in record["measured"]


def test_the_figure_is_explained_with_its_measures(study, rows):
    _, text = verdict_and_page(study(RULE, axes=AXES), rows)

    (caption,) = [line for line in text.splitlines() if line.startswith("Each dot is a seed")]
    assert "the line their mean, the band its 95 % interval." in caption
    assert "A hidden unit is dead if it is 0 for every test image." in caption
    assert "gradient" not in caption
    alone = rows.query("learning_rate == 0.1").drop(columns="learning_rate")
    _, text = verdict_and_page(study(RULE.model_copy(update={"at": None}), axes={}), alone)
    assert "Each dot is a run, and a line joins the runs of a pair." in text


def test_the_table_has_a_row_per_cell_with_its_diverged_runs(study, rows):
    _, text = verdict_and_page(study(RULE, axes=AXES), rows)

    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(("| A", "| B"))
    ]
    assert [(row[0], row[1], row[-1]) for row in cells] == [
        ("A", "0.01", "2"), ("A", "0.1", "0"), ("B", "0.01", "0"), ("B", "0.1", "0"),
    ]  # fmt: skip
    mean, half = map(float, cells[1][2].split(" ± "))
    values = rows.query("variant == 'a' and learning_rate == 0.1")["test_accuracy"] * 100
    assert mean == pytest.approx(values.mean(), abs=0.005)
    width = stats.t.ppf(0.975, 7) * values.std(ddof=1) / np.sqrt(8)
    assert half == pytest.approx(width, abs=0.005)


@pytest.mark.parametrize(
    ("mean", "half", "shown"),
    [
        (1.4312, 0.00553, "1.4312 ± 0.0055"),
        (0.9899, 0.0172, "0.990 ± 0.017"),
        (11.04, 0.25, "11.04 ± 0.25"),
        (1234.5, 56.0, "1234 ± 56"),
        (98765.0, 432.0, "98765 ± 432"),
        (0.00028, 1.23e-6, "0.0002800 ± 0.0000012"),
        (7.42e-8, 6.6e-9, "7.4e-08 ± 6.6e-09"),
        (2.0, 0.0, "2 ± 0"),
    ],
)
def test_a_mean_has_the_decimals_of_its_interval(study, rows, mean, half, shown):
    # Eight values whose mean and interval are these: half = t * sd / sqrt(8).
    signs = np.array([1, -1] * 4)
    width = half * np.sqrt(8) / stats.t.ppf(0.975, 7) * np.sqrt(7 / 8)
    alone = rows.query("learning_rate == 0.1").drop(columns="learning_rate")
    alone = alone.assign(loss_range=np.concatenate([mean + width * signs] * 2))
    rule = RULE.model_copy(update={"at": None, "measure": "loss_range"})
    _, text = verdict_and_page(study(rule, axes={}), alone)

    (line,) = [line for line in text.splitlines() if line.startswith("| A ")]
    assert line.split("|")[3].strip() == shown


def test_of_untrained_networks_the_table_has_neither_accuracy_nor_divergence(study, rows):
    measured = rows.query("learning_rate == 0.1").drop(columns=["learning_rate", "diverged"])
    rule = RULE.model_copy(update={"at": None, "measure": "dead_units"})
    _, text = verdict_and_page(study(rule, axes={}, untrained=True), measured)

    (header,) = [line for line in text.splitlines() if line.startswith("|  ")]
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["", "dead units, %"]


def test_the_rank_correlation_of_two_measures_is_shown_per_cell(study, rows):
    related = ("dead_units", "test_accuracy")
    _, text = verdict_and_page(study(RULE, axes=AXES, related=related), rows)

    cell = rows.query("variant == 'a' and learning_rate == 0.1")
    expected = stats.spearmanr(cell["dead_units"], cell["test_accuracy"])
    assert "Spearman's correlation of dead units and test accuracy" in text
    assert f"{expected.statistic:+.2f} (p {expected.pvalue:.2g})" in text
    # All runs of B have the same accuracy: there is nothing to correlate.
    (line,) = [line for line in text.splitlines() if line.startswith("| B") and "0.01" in line]
    assert line.split("|")[-3].strip() == ABSENT


@pytest.mark.parametrize(
    ("changes", "stated"),
    [
        ({"at": None, "best_by": "test_loss", "chosen_on": 3},
         "test accuracy of A > B, each at its best by test loss on 3 other seeds"),
        ({"at": None, "largest": RATE, "reaching": 0.9},
         "largest learning rate with test accuracy ≥ 0.9 of A > B"),
        ({"expected": "equal", "margin": 0.03},
         "test accuracy of A = B within 3.00 points, at learning rate 0.1"),
        ({"expected": "not_smaller", "margin": 0.03},
         "test accuracy of A ≥ B within 3.00 points, at learning rate 0.1"),
        ({"minus": {RATE: 0.01}},
         "test accuracy of A > B, at learning rate 0.1 minus that at learning rate 0.01"),
    ],
)  # fmt: skip
def test_every_kind_of_rule_is_stated(study, rows, changes, stated):
    rule = RULE.model_copy(update=changes)
    _, text = verdict_and_page(
        study(rule, axes=AXES), rows.assign(test_loss=1 - rows["test_accuracy"])
    )

    assert stated in text


def test_a_point_that_a_rule_chose_is_reported(study, rows):
    rule = RULE.model_copy(update={"at": None, "best_by": "test_accuracy", "chosen_on": 2})
    record, _ = verdict_and_page(study(rule, axes=AXES), rows)

    (chosen,) = [rule["chosen"] for rule in record["rules"]]
    assert chosen.keys() == {"a", "b"}
    assert f"A at learning rate {chosen['a']['learning_rate']:g}" in record["measured"]


def test_the_distance_from_a_published_curve_is_reported(study):
    steps = pd.MultiIndex.from_product(
        [("a", "b"), range(8), (0, 100, 200)], names=["variant", "seed", "step"]
    ).to_frame(index=False)
    # Ours rises by 0.1 in 100 steps.
    course = steps.assign(test_accuracy=0.5 + steps["step"] / 1000)
    rows = course[course["step"] == 200].drop(columns="step").assign(diverged=0.0)
    published = {"a": {"step": [50, 150, 900], "test_accuracy": [0.56, 0.62, 0.99]}}
    rule = RULE.model_copy(update={"at": None})
    of = study(rule, axes={}, course=(), published_values=published)

    record, text = verdict_and_page(of, rows, course)

    # By hand: ours are 0.55 and 0.65 there; step 900 is beyond ours.
    (distance,) = record["distance_from_published"]
    assert distance["variant"] == "a"
    assert distance["points"] == 2
    assert distance["steps"] == [50, 150]
    assert distance["mean_absolute"] == pytest.approx(0.02)
    assert distance["mean"] == pytest.approx(0.01)
    assert "lies 2.00 points from the published curve on average (+1.00 points" in text


def test_the_quick_scale_is_marked_on_page_and_in_the_gallery(study, rows):
    record, text = verdict_and_page(study(RULE, axes=AXES, is_quick=True), rows)

    assert record["quick"] is True
    assert "Its verdict is not reliable" in text
    assert "(quick)" in gallery([record])
    # Its seeds are not those that the study has, so none can be added to them.
    assert "would settle it" not in text
    assert text.endswith("To run it again: `python -m pipeline study test --quick`.\n")


def test_the_gallery_has_verdict_numbers_and_picture_of_each(study, rows):
    two = RULE.model_copy(update={"expected": "smaller"})
    record, _ = verdict_and_page(study(RULE, two, axes=AXES), rows)

    text = gallery([record])

    assert "**refuted at learning rate 0.1**" in text
    assert record["rules"][0]["measured"] in text
    assert "0 of 1 more rules hold" in text
    assert "(test/figure.png)" in text
    both, _ = verdict_and_page(study(RULE, RULE, axes=AXES), rows)
    assert [rule["verdict"] for rule in both["rules"]] == ["supported", "supported"]
    assert "1 of 1 more rules hold" in gallery([both])


def test_the_gallery_says_each_claim_plainly_and_goes_by_verdict(study, rows):
    against = RULE.model_copy(update={"expected": "smaller"})
    records = [
        verdict_and_page(study(rule, axes=AXES, plainly=words), rows)[0]
        for rule, words in ((against, "It is worse"), (RULE, "It is better"))
    ]
    text = gallery(records)
    assert -1 < text.index("**supported") < text.index("**refuted")
    assert -1 < text.index("\nIt is better.\n") < text.index("\nIt is worse.\n")
    told = {"plainly": "It is better", "limits": "it is one network"}
    _, page_text = verdict_and_page(study(RULE, axes=AXES, **told), rows)
    assert "\n\nLimits: it is one network.\n" in page_text
    assert "In plain words: It is better." in page_text
    assert "In plain words" not in verdict_and_page(study(RULE, axes=AXES), rows)[1]


def test_a_verdict_names_the_part_of_the_grid_that_was_tested(study, rows):
    record, text = verdict_and_page(study(RULE, axes=AXES), rows)

    assert (record["verdict"], record["where"]) == ("supported", "at learning rate 0.1")
    assert record["not_tested"] == ["learning rate 0.01"]
    assert "tests the claim at learning rate 0.1 only. Not tested" in text
    assert "figure: learning rate 0.01." in text
    assert in_words(record).count("Supported at learning rate 0.1.") == 1


def test_a_verdict_on_all_of_the_grid_names_no_part_and_each_point(study, rows):
    rule = RULE.model_copy(update={"at": None, "everywhere": True})
    record, text = verdict_and_page(study(rule, axes=AXES), rows)

    assert (record["where"], record["not_tested"]) == (None, [])
    assert text.startswith("# A > B\n\n**Supported.** Test accuracy of A and B at each of 2 points")
    assert "Not tested" not in text
    assert "test accuracy of A > B, at every point of the grid: supported." in text
    (judged,) = record["rules"]
    assert [point["at"] for point in judged["points"]] == [{RATE: 0.01}, {RATE: 0.1}]
    means = rows.groupby(["learning_rate", "variant"])["test_accuracy"].mean()
    gains = {rate: means[rate, "a"] - means[rate, "b"] for rate in AXES[RATE]}
    least = min(gains, key=gains.get)
    assert f"at learning rate {least:g}: difference {100 * gains[least]:.2f} points" in text


def test_points_of_two_axes_are_named_in_full(study, rows):
    axes = {"network.activation": ("relu", "tanh"), **AXES}
    two = pd.concat([rows.assign(activation=name) for name in axes["network.activation"]])
    at = {RATE: 0.1, "network.activation": "tanh"}
    record, _ = verdict_and_page(study(RULE.model_copy(update={"at": at}), axes=axes), two)

    assert record["where"] == "at activation tanh, learning rate 0.1"
    assert len(record["not_tested"]) == 3


def test_a_rule_that_is_not_settled_says_how_many_seeds_would_settle_it(study, rows):
    # Four of eight seeds.
    few = rows[rows["seed"] < 4]
    _, text = verdict_and_page(study(RULE, axes=AXES), few)
    assert (
        "test accuracy of A > B, at learning rate 0.1: not settled. If the pairs to come vary like "
        "these 4, 6 in all would settle it with a probability of 80 %, by simulation. With "
        "`seeds: 6` in `studies/test/study.yaml` only those that are missing are trained."
    ) in text


def test_seeds_that_only_choose_are_added_to_those_that_are_needed(study, rows):
    rule = Rule(measure="test_accuracy", expected="greater", best_by="test_accuracy", chosen_on=4)
    _, text = verdict_and_page(study(rule, axes=AXES), rows)
    assert "these 4, 6 in all would settle it" in text
    assert "`seeds: 10`" in text


def test_an_equality_that_is_not_settled_is_judged_by_its_margin(study, rows):
    # About two points apart: more seeds make the interval narrow enough to be within 2.2.
    rule = RULE.model_copy(update={"expected": "equal", "margin": 0.022})
    few = rows[rows["seed"] < 4]
    _, text = verdict_and_page(study(rule, axes=AXES), few)
    assert "not settled. If the pairs to come vary like these 4, " in text
    told = verdict_and_page(study(rule, axes=AXES), few)[0]["rules"][0]
    assert told["mean"] < 0.022


def test_points_of_a_rule_that_holds_everywhere_are_named(study, rows):
    rule = Rule(measure="test_accuracy", expected="greater", everywhere=True)
    _, text = verdict_and_page(study(rule, axes=AXES), rows[rows["seed"] < 4])
    assert "At learning rate 0.01, if the pairs" in text
    assert "At learning rate 0.1, if the pairs" in text
