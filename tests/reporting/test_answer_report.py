import json
import re

import numpy as np
import pytest

from pipeline.comparison.words import ABSENT
from pipeline.reporting.answer_report import blocks, record, sentence
from pipeline.reporting.pages import Heading, Paragraph, Table, markdown, text
from tests.designs.invented import answered, noise, run, seeded
from tests.designs.test_answer import blocks as of_data
from tests.designs.test_answer import folds, line, search, unpaired

VALUES = [
    run({"accuracy": 0.1 * place}, model=model, git_hash=f"abc{place}")
    for place, model in enumerate("cab")
]
TIMES = [
    run({"time": 3.0 + (model == "b") + 0.1 * value}, model=model, net=model * 2, seed=seed)
    for model in "ab"
    for seed, value in enumerate(noise(8))
]
FACTORIAL = [
    run({"accuracy": 0.1 * x + 0.01 * value}, x=x, y=y, z=z, k=k)
    for value, (x, y, z, k) in zip(
        noise(16),
        [(x, y, z, k) for x in (0, 1) for y in "ab" for z in "uv" for k in "mn"],
        strict=True,
    )
]


ANY, AHEAD = "any of 3 comparisons", "a is ahead in every pair"


def page(rows, **asked):
    return blocks(answered(rows, **asked))


def prose(rows, **asked):
    return " ".join(of.text for of in page(rows, **asked) if isinstance(of, Paragraph))


def table(rows, **asked):
    return next(of for of in page(rows, **asked) if isinstance(of, Table))


@pytest.mark.parametrize(
    ("rows", "asked", "expected"),
    [
        (seeded("ab"), {}, "model: a is better than b"),
        (seeded("ab", metric="loss"), {}, "model: b is better than a"),
        (seeded("ab", gap=0), {}, "model: not settled whether a or b is better"),
        (seeded("ab", seeds=4), {}, "model: too few runs to say whether a or b is better"),
        (seeded("abc", seeds=6), {}, f"model: not settled by {ANY}, though {AHEAD}"),
        (seeded("abc", seeds=4), {}, f"model: too few runs for a verdict on {ANY}, though {AHEAD}"),
        (seeded("abb", seeds=4), {}, "model: too few runs to say whether a or b is better"),
        (seeded("abc", gap=0), {}, "model: not settled by any of 3 comparisons"),
        (FACTORIAL, {}, "x 1 is better than 0; 3 more not settled"),
        (TIMES, {}, "model (with net): a is better than b"),
        (unpaired(0.5), {}, "model: a is better than b (unpaired)"),
        (unpaired(0.5, 3), {}, "model: too few runs to say whether a or b is better (unpaired)"),
        (line(1.0), {}, "loss over width: rises"),
        (line(-1.0), {}, "loss over width: falls"),
        (line(0), {}, "loss over width: no clear trend"),
        ([*line(1.0, model="a"), *line(0, model="b")], {},
         "loss over width: rises (model a), no clear trend (model b)"),
        ([run({"loss": 1.0, "x": w}, width=w) for w in range(9)], {"metric": "loss"},
         "loss over width: the same everywhere"),
        (VALUES, {}, "model: no verdict, because each has one run"),
        ([*VALUES, run({"accuracy": 0.5}, model="a", git_hash="abd")], {},
         "model: no verdict, because hardly any two runs differ in nothing but this"),
        (search(), {}, "lr and width: the best of 30 settings, and no verdict"),
    ],
)  # fmt: skip
def test_the_answer_in_a_sentence(rows, asked, expected):
    assert sentence(answered(rows, **asked)) == expected


def test_equal_pairs_are_called_so():
    rows = [
        run({"accuracy": 0.1 * seed, "loss": ord(model)}, model=model, seed=seed)
        for model in "ab"
        for seed in range(8)
    ]
    assert (
        sentence(answered(rows, metric="accuracy")) == "model: a and b are the same in every pair"
    )
    assert table(rows, metric="accuracy").rows[0][-1] == "the same"


def test_first_the_answer_then_the_table_then_what_was_inferred():
    kinds = [type(of) for of in page(seeded("ab"))]
    assert kinds == [Heading, Paragraph, Table, Paragraph, Paragraph, Table]
    inferred = page(seeded("ab"))[-1]
    assert inferred.header == ["What was inferred", "to change it"]
    assert inferred.rows == [
        ["Compared: model (a, b).", "--by"],
        ["Metric: accuracy, the only metric.", "--metric"],
        ["Larger is better, as the name accuracy says.", "--smaller-is-better"],
        ["Paired by seed.", "--pair-by"],
    ]


def test_a_table_of_pairs():
    rows = [
        run({"accuracy": 0.5 + 0.125 * (model == "a") + seed}, model=model, seed=seed)
        for model in "ab"
        for seed in range(6)
    ]
    of = table(rows)
    assert of.header == ["A", "B", "mean A", "mean B", "A - B", "A ahead", "p", "A is"]
    assert of.rows == [
        ["a", "b", "3.125", "3.000", "+0.125 (0.125 to 0.125)", "6 of 6", "0.031", "better"]
    ]


def test_a_table_of_times():
    of = table(TIMES)
    assert of.header[4] == "A / B"
    assert re.fullmatch(r"0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", of.rows[0][4])
    assert "ratio of geometric means" in prose(TIMES)
    assert "Of a ratio the interval, Student's of the logarithms, must exclude 1;" in prose(TIMES)


def test_several_factors_are_named():
    of = table(FACTORIAL)
    assert of.header[0] == "compared"
    assert "p (Holm)" in of.header
    assert [row[0] for row in of.rows] == ["k", "x", "y", "z"]


@pytest.mark.slow
def test_few_pairs_show_no_interval_and_how_many_could_settle_it():
    rows = seeded("abc", seeds=4)
    assert all("(" not in row[4] for row in table(rows).rows)
    assert (
        "4 pairs cannot settle it, whatever they show: 7 are the fewest that could, of 3 "
        "comparisons; of two values alone, 6." in prose(rows)
    )
    assert "6 are the fewest that could." in prose(seeded("ab", seeds=4))
    assert "One side is ahead in every pair. But" in prose(seeded("ab", seeds=4))
    assert "interval." not in prose(rows).partition("The rule")[0]
    assert "fewest" not in prose(seeded("ab"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (of_data("abc", 7), "Friedman's test of all 3 on the 7 blocks that have every one: p = "),
        (of_data("ab", 7), "Each dataset is one block: this says something about others like"),
        (folds(8), "corrected resampled t test, Nadeau & Bengio 2003"),
        (folds(8), "With fewer than 6 folds there is no verdict."),
        (unpaired(0.5), "this is unpaired"),
        (line(1.0), "A correlation is no proof of a cause."),
        ([*line(1.0, model="a"), *line(0, 3, model="c")], "3 runs are not in the table"),
        (search(), "optimistic, because it was picked from 30"),
        (VALUES, "A verdict takes at least 7 runs of each (6, were there only two)"),
        ([*VALUES, run({"accuracy": 0.5}, model="d", git_hash="abc1")],
         "model b has a git_hash that no other has. model c has"),
        (VALUES, "Wherever model differs, so do these, and each may make the"),
        (seeded("ab")[:-1], "Runs without a partner are left out, up to 1 of a comparison."),
        ([*seeded("ab"), *seeded("ab")[:1]], "1 run was counted as one with another"),
        ([*seeded("ab"), run({"accuracy": 0.3}, model="a", seed=0)],
         "2 runs were averaged with others of the same setting in the same pair or block (to"),
        ([*seeded("ab"), run(model="a", _status="FAILED")], "Left out: 1 failed."),
        ([*seeded("ab"), run({"accuracy": 0.1}, model="c", seed=99)],
         "Not compared, because nothing is shared: model a and c; model b and c."),
    ],
)  # fmt: skip
def test_what_a_reader_should_know(rows, expected):
    assert expected in prose(rows)


def test_a_verdict_on_what_is_confounded_says_so():
    rows = seeded("ab")
    for row in rows:
        row["params"] = row["params"] | {"git_hash": row["params"]["model"] * 8}
    expected = "model: a is better than b; but git_hash differs with it"
    assert sentence(answered(rows)) == expected


def test_what_differs_in_some_pairs_is_named():
    rows = seeded("ab")
    for place, row in enumerate(rows):
        row["params"] = row["params"] | {"checkpoint": "late" if place > 15 else "early"}
    assert "Not always the same where model differs: checkpoint." in prose(rows)


def test_a_long_list_of_cells_that_share_nothing_is_cut():
    rows = [*seeded("ab"), *(run({"accuracy": 0.1}, model=m, seed=90 + ord(m)) for m in "cdef")]
    assert "; 8 more." in prose(rows)


def test_a_missing_value_that_is_ahead_is_not_said_to_be_nothing():
    rows = seeded("abc", seeds=6)
    for row in rows:
        if row["params"]["model"] == "a":
            del row["params"]["model"]
    assert sentence(answered(rows)) == "model: not settled by any of 3 comparisons"


def test_who_was_compared_with_one_only_does_not_lead():
    told = sentence(answered(seeded("abc", seeds=4), against="c"))
    assert told == "model: too few runs for a verdict on any of 2 comparisons"
    assert "though a is ahead" in sentence(answered(seeded("abc", seeds=4), against="a"))


def test_of_many_verdicts_the_sentence_has_the_first():
    told = sentence(answered(seeded("abcdef", seeds=12, gap=1)))
    assert told.count("is better than") == 6
    assert told.endswith("b is better than c and 9 more")


def test_what_is_long_is_cut_in_the_sentence_too():
    rows = seeded(["x" * 500, "y", "z"], seeds=6)
    for row in rows:
        row["params"] = row["params"] | {f"p{of}": row["params"]["model"] for of in range(9)}
    assert len(sentence(answered(rows))) < 200


def test_a_missing_value_is_called_none():
    rows = seeded("ab")
    for row in rows:
        if row["params"]["model"] == "a":
            row["params"] = {"seed": row["params"]["seed"]}
    assert table(rows).rows[0][0] == "none"


def test_values_of_repeated_cells_have_a_range():
    rows = [*VALUES, run({"accuracy": 0.5}, model="a", git_hash="abd")]
    of = table(rows)
    assert of.header == ["model", "runs", "mean accuracy", "lowest to highest", "git_hash"]
    assert of.rows[0] == ["a", "2", "0.3000", "0.1000 to 0.5000", "abc1, abd"]
    assert of.rows[1][3] == ABSENT


def test_a_search_lists_the_best():
    of = table(search())
    assert of.header == ["setting", "accuracy"]
    assert len(of.rows) == 10
    assert of.rows[0][1] == f"{noise(30).max():.3f}"


EVERY = [
    seeded("ab"), seeded("abc", seeds=4), of_data("abc", 7), folds(8), unpaired(0.5), line(1.0),
    search(), VALUES, FACTORIAL, TIMES,
]  # fmt: skip


@pytest.mark.parametrize("rows", EVERY)
def test_every_answer_is_text_markdown_and_json(rows):
    answer = answered(rows)
    page = blocks(answer)
    assert text(page).startswith(sentence(answer))
    assert max(map(len, text(page).splitlines())) <= 100
    assert markdown(page).startswith(f"## {sentence(answer)}")
    told = json.loads(json.dumps(record(answer), allow_nan=False))
    assert told["answer"] == type(answer).__name__.lower()
    assert told["sentence"] == sentence(answer)
    assert told["basis"]["metric"]["name"] == answer.basis.metric.name


def test_large_and_small_numbers_can_be_read():
    rows = [
        run({"loss": scale * (1 + (model == "b"))}, model=model, seed=seed)
        for model, scale in (("a", 1.5e5), ("b", 1e-7))
        for seed in range(3)
    ]
    rows = [row | {"metrics": {**row["metrics"], "x": np.random.default_rng(place).random()}}
            for place, row in enumerate(rows)]  # fmt: skip
    assert table(rows, metric="loss").rows[0][2:4] == ["150000", "2.000e-07"]


def test_names_from_a_store_cannot_control_a_terminal():
    rows = seeded(["a\x1b[31m", "b\nc"], name="mo\x07del")
    answer = answered(rows)
    assert sentence(answer) == "mo?del: a?[31m is better than b?c"
    shown = text(blocks(answer))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_long_values_are_cut_in_the_middle():
    assert f"{'a' * 40}…{'a' * 40}" in sentence(answered(seeded(["a" * 500, "b"])))
