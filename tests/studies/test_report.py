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
    """A is two points ahead at 0.1, more or less; two of its runs at 0.01 diverged."""
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


def made(study, rows, course=NOTHING):
    judged = judge(study, rows)
    told = verdict(study, judged, course)
    return told, page(study, rows, judged, told)


def test_the_page_tells_verdict_numbers_and_rule(study, rows):
    told, text = made(study(RULE, axes=AXES), rows)

    at = rows.query("learning_rate == 0.1").groupby("variant")["test_accuracy"].mean() * 100
    assert told["verdict"] == "supported"
    assert f"Test accuracy: {at['a']:.2f} % A and {at['b']:.2f} % B" in told["measured"]
    assert f"difference {at['a'] - at['b']:.2f} points" in told["measured"]
    assert "greater in 8 of 8" in told["measured"]
    assert text.startswith("# A > B\n\n**Supported at learning rate 0.1.** ")
    assert "test accuracy of A > B, at learning rate 0.1: supported." in text
    assert "Published: none." in text
    assert "`dvc repro studies/dvc.yaml:study@test`" in text
    assert "--quick" not in text


def test_where_less_is_expected_the_pairs_with_less_are_counted(study, rows):
    # A is ahead in all but one pair, in which neither is.
    tied = rows.assign(
        dead_units=np.where(rows["variant"] == "a", 0.25, 0.5 - 0.25 * (rows["seed"] == 3))
    )
    rule = RULE.model_copy(update={"measure": "dead_units", "expected": "smaller"})
    told, _ = made(study(rule, axes=AXES), tied)

    assert "smaller in 7 of 8" in told["measured"]


def test_the_figure_is_explained_with_its_measures(study, rows):
    _, text = made(study(RULE, axes=AXES), rows)

    (caption,) = [line for line in text.splitlines() if line.startswith("A dot is a seed")]
    assert "the line their mean, the band its 95 % interval." in caption
    assert "A hidden unit is dead if it is 0 for every test image." in caption
    assert "gradient" not in caption
    alone = rows.query("learning_rate == 0.1").drop(columns="learning_rate")
    _, text = made(study(RULE.model_copy(update={"at": None}), axes={}), alone)
    assert "A dot is a seed, and a line joins a pair." in text


def test_the_table_has_a_row_a_cell_with_the_runs_that_diverged(study, rows):
    _, text = made(study(RULE, axes=AXES), rows)

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


def test_the_rank_correlation_of_two_measures_is_told_by_cell(study, rows):
    related = ("dead_units", "test_accuracy")
    _, text = made(study(RULE, axes=AXES, related=related), rows)

    cell = rows.query("variant == 'a' and learning_rate == 0.1")
    expected = stats.spearmanr(cell["dead_units"], cell["test_accuracy"])
    assert "Spearman's correlation of dead units and test accuracy" in text
    assert f"{expected.statistic:+.2f} (p {expected.pvalue:.2g})" in text
    # All of B have the same accuracy: there is nothing to correlate.
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
        ({"minus": {RATE: 0.01}},
         "test accuracy of A > B, at learning rate 0.1 minus that at learning rate 0.01"),
    ],
)  # fmt: skip
def test_every_kind_of_rule_is_stated(study, rows, changes, stated):
    rule = RULE.model_copy(update=changes)
    _, text = made(study(rule, axes=AXES), rows.assign(test_loss=1 - rows["test_accuracy"]))

    assert stated in text


def test_where_a_rule_chose_the_point_it_is_told(study, rows):
    rule = RULE.model_copy(update={"at": None, "best_by": "test_accuracy", "chosen_on": 2})
    told, _ = made(study(rule, axes=AXES), rows)

    (chosen,) = [one["chosen"] for one in told["rules"]]
    assert chosen.keys() == {"a", "b"}
    assert f"A at learning rate {chosen['a']['learning_rate']:g}" in told["measured"]


def test_the_distance_from_a_published_curve_is_told(study):
    steps = pd.MultiIndex.from_product(
        [("a", "b"), range(8), (0, 100, 200)], names=["variant", "seed", "step"]
    ).to_frame(index=False)
    # Ours rises by 0.1 in 100 steps.
    course = steps.assign(test_accuracy=0.5 + steps["step"] / 1000)
    rows = course[course["step"] == 200].drop(columns="step").assign(diverged=0.0)
    published = {"a": {"step": [50, 150, 900], "test_accuracy": [0.56, 0.62, 0.99]}}
    rule = RULE.model_copy(update={"at": None})
    of = study(rule, axes={}, course=(), published_values=published)

    told, text = made(of, rows, course)

    # By hand: ours are 0.55 and 0.65 there; step 900 is beyond ours.
    (one,) = told["distance_from_published"]
    assert one["variant"] == "a"
    assert one["points"] == 2
    assert one["steps"] == [50, 150]
    assert one["mean_absolute"] == pytest.approx(0.02)
    assert one["mean"] == pytest.approx(0.01)
    assert "lies 2.00 points from the published curve on average (+1.00 points" in text


def test_the_quick_scale_is_marked_on_page_and_in_the_gallery(study, rows):
    told, text = made(study(RULE, axes=AXES, is_quick=True), rows)

    assert told["quick"] is True
    assert "No verdict of it is to be believed" in text
    assert "(quick)" in gallery([told])


def test_the_gallery_has_verdict_numbers_and_picture_of_each(study, rows):
    two = RULE.model_copy(update={"expected": "smaller"})
    told, _ = made(study(RULE, two, axes=AXES), rows)

    text = gallery([told])

    assert "**refuted at learning rate 0.1**" in text
    assert told["rules"][0]["measured"] in text
    assert "0 of 1 more rules hold" in text
    assert "(test/figure.png)" in text
    both, _ = made(study(RULE, RULE, axes=AXES), rows)
    assert [one["verdict"] for one in both["rules"]] == ["supported", "supported"]
    assert "1 of 1 more rules hold" in gallery([both])


def test_a_verdict_names_the_part_of_the_grid_that_was_tested(study, rows):
    told, text = made(study(RULE, axes=AXES), rows)

    assert (told["verdict"], told["where"]) == ("supported", "at learning rate 0.1")
    assert told["not_tested"] == ["learning rate 0.01"]
    assert "tests the claim at learning rate 0.1 only. Not tested" in text
    assert "figure: learning rate 0.01." in text
    assert in_words(told).count("Supported at learning rate 0.1.") == 1


def test_a_verdict_on_all_of_the_grid_names_no_part_and_each_point(study, rows):
    rule = RULE.model_copy(update={"at": None, "everywhere": True})
    told, text = made(study(rule, axes=AXES), rows)

    assert (told["where"], told["not_tested"]) == (None, [])
    assert text.startswith("# A > B\n\n**Supported.** Test accuracy of A and B at each of 2 points")
    assert "Not tested" not in text
    assert "test accuracy of A > B, at every point of the grid: supported." in text
    (judged,) = told["rules"]
    assert [one["at"] for one in judged["points"]] == [{RATE: 0.01}, {RATE: 0.1}]
    means = rows.groupby(["learning_rate", "variant"])["test_accuracy"].mean()
    gains = {rate: means[rate, "a"] - means[rate, "b"] for rate in AXES[RATE]}
    least = min(gains, key=gains.get)
    assert f"at learning rate {least:g}: difference {100 * gains[least]:.2f} points" in text


def test_points_of_two_axes_are_named_in_full(study, rows):
    axes = {"network.activation": ("relu", "tanh"), **AXES}
    two = pd.concat([rows.assign(activation=name) for name in axes["network.activation"]])
    at = {RATE: 0.1, "network.activation": "tanh"}
    told, _ = made(study(RULE.model_copy(update={"at": at}), axes=axes), two)

    assert told["where"] == "at activation tanh, learning rate 0.1"
    assert len(told["not_tested"]) == 3
