import html
import re
from dataclasses import replace

import markdown_it
import pytest

from pipeline.comparison.statistics import Interval
from pipeline.comparison.verdict import Looks
from pipeline.comparison.words import interval, number, percent
from pipeline.params import Data
from pipeline.reporting import report
from pipeline.reporting.words import DIGITS, words_for


@pytest.fixture(scope="module")
def make(experiment):
    """Renders the report of two variants as Markdown."""

    def make(*args, has_images=True, **kwargs):
        params, cells, contrast = experiment(*args, **kwargs)
        words = words_for(params.data, has_images=has_images)
        return report.markdown(params, cells, contrast, words)

    return make


def rows(text):
    """Returns the cells of each line of the Markdown tables, by the first cell."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {first.strip(): [cell.strip() for cell in cells] for first, *cells in lines}


def test_the_test_set_is_called_as_people_would():
    own = Data(dataset="file", path="data/my.csv", validation_size=10)
    assert report.test_set(own) == "the test set of my"
    mnist = Data(dataset="mnist", path="data/raw", validation_size=10)
    assert report.test_set(mnist) == "the mnist test set"


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ("candidate_better", "With BN is better than Without BN"),
        ("baseline_better", "Without BN is better than With BN"),
        ("not_settled", "Not settled whether With BN or Without BN is better"),
        ("too_few_pairs", "No verdict on With BN and Without BN: too few pairs of runs"),
    ],
)
def test_each_verdict_has_its_sentence_and_heads_the_page(make, verdict, sentence):
    text = make(verdict=verdict)
    assert text.startswith(f"# {sentence}\n")


def test_the_answer_comes_first_with_difference_interval_and_wins(make):
    answer = make(ci_low=0.012, ci_high=0.03456).splitlines()[2]
    # The eight differences add up to 20 points.
    assert "by **+2.50 percentage points** on average" in answer
    assert "(95 % interval: 1.20 to 3.46)" in answer
    assert answer.endswith("It is ahead in 8 of 8 pairs.")


def test_ties_are_reported(make):
    text = make(candidate=(0.9, 0.9, 0.8), baseline=(0.8, 0.9, 0.8))
    assert "It is ahead in 1 of 3 pairs, tied in 2." in text


@pytest.mark.parametrize(
    ("confidence", "level"), [(0.9, "90 %"), (0.95, "95 %"), (0.975, "97.5 %"), (0.99, "99 %")]
)
def test_interval_names_its_level(make, confidence, level):
    assert f"({level} interval: " in make(confidence=confidence)


def test_one_pair_says_little_and_has_no_intervals(make):
    text = make(candidate=(0.97,), baseline=(0.95,))
    assert "by **+2.00 percentage points**. A single pair says little" in text
    assert "set `training.seeds` to at least 6" in text
    table = rows(text)
    assert table["With BN"][:4] == ["1", "97.00", "–", "no interval"]  # noqa: RUF001
    assert table["Paired t test, p"] == ["–"]  # noqa: RUF001
    assert table["Correlation within pairs"] == ["–"]  # noqa: RUF001
    assert "nan" not in text.lower()
    assert "None" not in text


def test_test_set_table_has_the_means_over_seeds(make):
    # sd of 98 97 96 98 97 99 95 96 is √(12 / 7); Student's interval: ± 2.3646 sd / √8.
    spread = ["97.00", "1.31", "95.91 to 98.09"]
    assert rows(make())["With BN"] == ["8", *spread, "96.00", "95.00", "98.50", "0.0300", "1.00"]
    header = next(line for line in make().splitlines() if line.startswith("| | runs"))
    names = ["runs", "accuracy, % (decides)", "sd", "95 % interval", "balanced accuracy, %"]
    names += ["macro F1, %", "ROC AUC, %", "loss", "calibration error, %"]
    assert header == f"| | {' | '.join(names)} |"


def test_the_page_follows_the_measure(make):
    text = make(measure="loss")

    answer = text.splitlines()[2]
    assert (
        "the loss of **With BN** differs from that of **Without BN** by **-0.0250 nats**" in answer
    )
    assert answer.endswith("Smaller is better, and it is ahead in 8 of 8 pairs.")
    assert text.startswith("# With BN is better than Without BN\n")
    assert "![Test loss of each pair, and the differences]" in text
    spread = ["0.0300", "0.0131", "0.0191 to 0.0409"]
    table = rows(text)
    assert table["With BN"] == ["8", *spread, "97.00", "96.00", "95.00", "98.50", "1.00"]
    assert "| | runs | loss (decides) | sd |" in text
    assert table["Mean difference in loss, nats"] == ["-0.0250"]
    of_accuracy = "Mean difference in accuracy, percentage points, and its interval"
    assert table[of_accuracy][0].startswith("2.50 (")
    assert not [name for name in table if "on other examples" in name]


def test_a_loss_that_is_not_finite_leaves_no_number(make):
    text = make(measure="loss", mean=None, ci_low=None, ci_high=None)
    assert "by **no finite number** on average (95 % interval: no interval)" in text


def test_runs_that_ended_early_are_explained_only_where_there_are_any(experiment):
    params, cells, contrast = experiment()
    assert "A run that ended before others" not in report.markdown(params, cells, contrast, DIGITS)
    history = cells["bn"].history.query("seed != 3 or epoch < 2")
    cells["bn"] = replace(cells["bn"], history=history)
    text = report.markdown(params, cells, contrast, DIGITS)
    assert "A run that ended before others goes on counting in the means, with the scores" in text


@pytest.mark.parametrize(
    ("p", "shown"), [(0.5, "0.5"), (0.0312, "0.031"), (0.0001, "0.0001"), (0.00009, "< 0.0001")]
)
def test_p_values_have_two_digits(make, p, shown):
    assert rows(make(wilcoxon_p=p))["Wilcoxon signed-rank test, p"] == [shown]


@pytest.mark.parametrize(
    ("correlation", "sentence"),
    [
        (
            0.9,
            "their results are correlated (r = 0.90 over 8 pairs), which makes the interval of ",
        ),
        (-0.9, "their results are negatively correlated (r = -0.90 over 8 pairs), which makes"),
        (0.1, "their results are hardly correlated"),
    ],
)
def test_gain_by_pairing_is_reported(make, correlation, sentence):
    assert sentence in make(pairing_correlation=correlation)


@pytest.mark.parametrize(
    ("dataset", "published", "column"),
    [
        ("mnist", ("batch", "none"), ["97.37 (0.0893)", "95.13 (0.2073)"]),
        ("mnist", ("batch",), ["97.37 (0.0893)", "–"]),  # noqa: RUF001
        ("digits", (), []),
    ],
)
def test_the_notebooks_scores_are_beside_ours_where_there_are_any(make, dataset, published, column):
    text = make(dataset=dataset, published=published)
    table = rows(text)
    assert f"on the {dataset} test set" in text
    assert ("notebook" in text) == bool(published)
    assert table["With BN"][9:] + table["Without BN"][9:] == column


@pytest.mark.parametrize(
    ("dataset", "has_images", "alt", "kept"),
    [
        ("mnist", True, "Digits", "mnist, the first 300 training examples"),
        ("fashion_mnist", True, "Images", "fashion\\_mnist, the first 300 training examples"),
        ("file", False, "Rows", "wine, 300 training examples"),
    ],
)
def test_words_are_those_of_the_dataset(make, dataset, has_images, alt, kept):
    text = make(dataset=dataset, path="data/wine.csv", has_images=has_images)
    assert f"![{alt} that one variant gets right and the other does not]" in text
    assert f"Data: {kept} kept for validation." in text


def test_the_name_of_a_file_is_shown_as_it_is(make):
    name = "<b>*my* [data](x) | `a`_b"
    text = make(dataset="file", path=f"data/{name}.csv")
    shown = markdown_it.MarkdownIt("commonmark").enable("table").render(text)
    assert f"on the test set of {html.escape(name, quote=False)}, the accuracy" in shown


def test_settings_show_a_dash_for_a_parameter_that_a_variant_lacks(make):
    table = rows(make())
    assert table["`normalization`"] == ["batch", "none"]
    assert table["`momentum`"] == ["0.99", "–"]  # noqa: RUF001
    assert table["`network.hidden_dims`"] == ["[4]", "[4]"]


def test_divergence_is_not_mentioned_where_nothing_diverged(make):
    assert "diverged" not in make()


def test_diverged_runs_are_counted_and_steady_pairs_reported(make):
    baseline = (0.95, 0.94, 0.95, 0.96, 0.94, 0.95, 0.1, 0.1)

    text = make(baseline=baseline, diverged=(6, 7))

    sentences = text.splitlines()[4]
    assert sentences.startswith("Runs that diverged: 2 of 8 of Without BN. ")
    assert "above twice that of a blind guess, or was no longer finite." in sentences
    assert "Their accuracy still counts" in sentences
    # Of the eight differences, 3 3 1 2 3 4 remain: 16 points over six pairs.
    assert "neither diverged, 6 of 8, the difference is +2.67 percentage points (95 %" in sentences
    table = rows(text)
    assert "| | runs | diverged | accuracy, % (decides) | sd |" in text
    assert [table[label][:3] for label in ("With BN", "Without BN")] == [
        ["8", "0", "97.00"],
        ["8", "2", "73.62"],
    ]
    assert "The losses of runs that diverged are in no mean and outside the axes" in text


def test_no_steady_pair_is_left_where_all_runs_diverged(make):
    text = make(baseline=(0.1,) * 8, diverged=tuple(range(8)))
    assert "In every pair at least one run diverged." in text


def test_a_single_steady_pair_has_no_interval(make):
    text = make(candidate=(0.9, 0.8), baseline=(0.8, 0.1), diverged=(1,))
    assert "1 of 2, the difference is +10.00 percentage points (95 % interval: no interval)" in text


def test_large_numbers_are_written_with_a_power_of_ten():
    assert number(1.234e30) == "1.23e+30"
    assert number(-9999.4, 1) == "-9999.4"
    assert interval(Interval(-2e4, 3e33), 1, 4) == "-2.00e+04 to 3.00e+33"


def test_what_rounds_to_zero_has_no_sign():
    ends = Interval(-0.00004, 0.00004)

    assert interval(ends, 100, 2) == "0.00 to 0.00" == f"{percent(-4e-5)} to 0.00"
    assert number(-4e-5) == "0.0000"


def test_an_open_verdict_says_how_many_pairs_would_settle_it(make):
    text = make(candidate=(0.9, 0.92, 0.93, 0.9), baseline=(0.89, 0.9, 0.91, 0.88))
    # All four are won, and so would be those that are drawn from them.
    assert (
        "If the pairs to come vary like these 4, 6 in all would settle it with a probability of "
        "80 %, by simulation. `dvc exp run -S training.seeds=6` trains only those that are missing."
    ) in text
    assert "`python -m pipeline settle`" in text


def test_of_two_pairs_the_spread_is_not_known(make):
    text = make(candidate=(0.9, 0.92), baseline=(0.89, 0.9))
    assert "How much pairs vary is not known from 2; a verdict takes at least 6." in text


def test_no_number_of_pairs_shows_a_difference_that_is_none(make):
    text = make(
        candidate=(0.9, 0.92, 0.93, 0.9, 0.9, 0.9), baseline=(0.91, 0.9, 0.94, 0.88, 0.9, 0.91)
    )
    assert "not even 1000 in all would settle it" in text
    assert re.search(r"the mean difference is probably within ± 1\.\d\d percentage points", text)


@pytest.mark.parametrize("fields", [{}, {"candidate": (0.97,), "baseline": (0.95,)}])
def test_what_is_settled_or_one_pair_says_no_more(make, fields):
    assert "pairs to come" not in make(**fields)
    assert "How much pairs vary" not in make(**fields)


def test_the_report_tells_of_repeated_looks_and_how_to_go_on(experiment):
    params, cells, contrast = experiment(
        candidate=(0.9, 0.92, 0.93, 0.9), baseline=(0.89, 0.9, 0.91, 0.88)
    )
    effect = replace(contrast.effect, looks=Looks(repeated=True, before=6))
    text = report.markdown(params, cells, replace(contrast, effect=effect), DIGITS)
    assert "Looks were repeated while pairs were added, the first with 6 pairs" in text
    # What 6 pairs, all won, may have spent is 2 / 2**6: 11 / 2**10 is less than what is left.
    assert "8 in all" not in text
    assert "10 in all would settle it" in text
    assert "`python -m pipeline settle --at-most 10` adds those that are missing." in text
    assert "With fewer than 10 pairs there is no verdict." in text
