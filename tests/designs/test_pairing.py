import itertools

import pytest

from pipeline.designs.columns import columns
from pipeline.designs.pairing import ENOUGH_DATA
from tests.designs.invented import designed, noise, run, seeded, store


def question(rows, **asked):
    (of,) = designed(rows, **asked).questions
    return of


def pair_by(rows, **asked):
    of = question(rows, **asked)
    return of.unit, of.pair_by


def varied(model, value, **others):
    return run({"accuracy": float(value)}, model=model, **others)


def crossed(repeats=1, **levels):
    """A run for each combination, each with a value of its own."""
    values = iter(noise(10_000))
    return [
        run({"accuracy": next(values)}, **dict(zip(levels, of, strict=True)))
        for of in itertools.product(*levels.values())
        for _ in range(repeats)
    ]


def test_a_seed_that_is_shared_makes_pairs():
    assert pair_by(seeded("ab")) == ("pairs", ("seed",))
    assert question(seeded("ab")).told[0].text == "Paired by seed."


def test_seeds_that_only_some_share_still_make_pairs():
    rows = seeded("ab")
    assert pair_by(rows[:10] + rows[15:]) == ("pairs", ("seed",))


def test_seeds_that_hardly_any_share_make_none():
    rows = [varied("a", value, seed=seed) for seed, value in enumerate(noise(8))]
    rows += [varied("b", value, seed=7 + seed) for seed, value in enumerate(noise(8, seed=1))]
    assert pair_by(rows) == ("alone", ())
    assert "share no seed" in question(rows).told[0].text


def test_a_seed_a_cell_lacks_still_pairs_the_others():
    rows = [*seeded("ab"), varied("c", 0.1), varied("c", 0.2)]
    assert pair_by(rows) == ("pairs", ("seed",))


def test_a_setting_that_one_cell_lacks_makes_no_pairs():
    rows = crossed(model=["a", "b"], width=[1, 2, 3])
    rows += [varied("c", 0.1, width=9), varied("c", 0.2, width=9)]
    assert "width" not in question(rows, by=("model",)).pair_by


def test_all_other_settings_make_blocks():
    rows = crossed(model=["a", "b"], width=[1, 2], depth=[3, 4, 5])
    design = designed(rows)
    assert [of.factor.label for of in design.questions] == ["depth", "model", "width"]
    assert [of.pair_by for of in design.questions] == [
        ("model", "width"),
        ("depth", "width"),
        ("depth", "model"),
    ]
    assert [of.text for of in design.of_pairs] == ["Paired by all else that was varied."]


def test_data_sets_are_blocks():
    rows = crossed(model=["a", "b"], dataset=["x", "y", "z"])
    assert pair_by(rows) == ("data", ("dataset",))


def test_experiments_are_blocks_with_what_changes_with_them():
    rows = [
        run({"mae": value}, model=model, appliance=where, _experiment=where)
        for (model, where), value in zip(
            itertools.product("ab", ["kettle", "oven"]), noise(4), strict=True
        )
    ]
    assert pair_by(rows) == ("data", ("experiment",))
    assert question(rows).told[0].text == "Paired by experiment (with appliance)."


@pytest.mark.parametrize(
    ("sets", "unit", "by"),
    [(ENOUGH_DATA, "data", ("dataset",)), (ENOUGH_DATA - 1, "pairs", ("dataset", "seed"))],
)
def test_seeds_are_averaged_where_data_sets_are_enough(sets, unit, by):
    rows = crossed(model=["a", "b"], dataset=[f"d{place}" for place in range(sets)], seed=[1, 2])
    assert pair_by(rows) == (unit, by)
    if unit == "data":
        assert "runs that differ in seed are averaged" in question(rows).told[1].text
        assert question(rows).repeats == len(rows)


def test_folds_are_counted():
    rows = crossed(model=["a", "b"], fold=range(5), seed=[1, 2])
    of = question(rows)
    assert (of.unit, of.pair_by, of.folds) == ("folds", ("fold", "seed"), 5)


def test_repeated_folds_are_splits_of_their_own():
    rows = crossed(model=["a", "b"], fold=range(5), repeat=[1, 2])
    of = question(rows)
    assert (of.unit, of.pair_by, of.folds, of.repeats) == ("folds", ("fold", "repeat"), 5, 0)
    assert all("repeat" not in told.text for told in designed(rows).inferences)


def test_repetitions_that_are_no_splits_make_no_pairs():
    assert pair_by(crossed(model=["a", "b"], repeat=range(8))) == ("alone", ())


def test_pairs_as_they_were_asked_for():
    rows = crossed(model=["a", "b"], fold=range(5), seed=[1, 2])
    assert pair_by(rows, pair_by=("seed",)) == ("pairs", ("seed",))
    assert designed(rows, pair_by=("seed",)).of_pairs == ()
    tagged = [row | {"tags": {"site": place % 5}} for place, row in enumerate(seeded("ab"))]
    assert pair_by(tagged, pair_by=("site",)) == ("pairs", ("site",))


def test_a_repetition_can_be_asked_for_but_is_no_pair_by_default():
    rows = crossed(model=["a", "b"], repeat=range(8))
    assert pair_by(rows) == ("alone", ())
    assert pair_by(rows, pair_by=("repeat",)) == ("pairs", ("repeat",))


def test_commits_pair_runs_where_each_has_both():
    rows = [
        run({"accuracy": value}, model=model, tags={"mlflow.source.git.commit": commit})
        for (model, commit), value in zip(
            itertools.product("ab", ["c1", "c2", "c3"]), noise(6), strict=True
        )
    ]
    assert pair_by(rows) == ("pairs", ("git commit",))


def test_a_copy_of_a_run_is_no_repetition():
    rows = seeded("ab")
    copied = [*rows, *rows[:4]]
    assert designed(copied).copies == 4
    assert question(copied).repeats == 0


def test_copies_may_differ_in_times_commits_and_names_only():
    rows = [
        run({"accuracy": 0.5, "seconds": time}, model="a", git_hash=f"abc{time}", _name=f"n{time}")
        for time in (1, 2, 3)
    ]
    rows.append(run({"accuracy": 0.6, "seconds": 4}, model="b", git_hash="abc4"))
    assert designed(rows, metric="accuracy").copies == 2
    assert designed(rows, metric="seconds").copies == 0


def test_runs_that_agree_in_one_metric_only_are_no_copies():
    rows = [run({"accuracy": 0.5, "loss": loss}, model="a") for loss in (0.1, 0.2)]
    rows.append(run({"accuracy": 0.6, "loss": 0.1}, model="b"))
    assert designed(rows, metric="accuracy").copies == 0


def test_a_seed_that_changes_nothing_makes_copies():
    rows = [varied(model, ord(model), seed=seed) for model in "ab" for seed in range(10)]
    design = designed(rows)
    (of,) = design.questions
    assert (design.copies, of.unit, len(of.runs)) == (18, "alone", 2)
    assert any("seed changes nothing" in told.text for told in design.inferences)


def test_a_seed_that_changes_one_cell_only_makes_pairs():
    rows = [varied("a", 0.5, seed=seed) for seed in range(10)]
    rows += [varied("b", value, seed=seed) for seed, value in enumerate(noise(10))]
    assert (designed(rows).copies, question(rows).unit) == (0, "pairs")


def test_repetitions_within_a_block_are_counted():
    rows = crossed(repeats=3, model=["a", "b"], dataset=["x", "y"])
    assert question(rows).repeats == len(rows) == 12


def confounders(rows, **asked):
    return {of.name: of.always for of in question(rows, **asked).confounders}


def test_what_always_changes_with_the_setting_is_named():
    rows = [
        row | {"params": row["params"] | {"git_hash": row["params"]["model"] * 8}}
        for row in seeded("ab")
    ]
    assert confounders(rows) == {"git_hash": True}


def test_what_changes_with_it_in_some_pairs_is_named():
    rows = seeded("ab")
    for place, row in enumerate(rows):
        row["params"]["checkpoint"] = "late" if place > 15 else "early"
        row["params"]["data_version"] = "v1"
    assert confounders(rows) == {"checkpoint": False}


def test_what_varies_alike_in_all_is_not_named():
    rows = seeded("ab")
    for place, row in enumerate(rows):
        row["params"]["checkpoint"] = ["x", "y"][place % 2]
    assert confounders(rows) == {}


def test_a_version_of_its_own_in_every_run_is_not_named():
    rows = seeded("ab")
    for place, row in enumerate(rows):
        row["params"]["data_version"] = f"0/{place}"
    assert confounders(rows) == {}


def test_numbers_of_blocks_follow_the_values_not_the_order_of_runs():
    rows = seeded("ab", seeds=12)
    runs = question(rows[::-1]).runs
    assert runs["block"].tolist() == sorted([*range(12)] * 2)


def test_tags_that_name_data_or_seeds_make_pairs():
    rows = [
        run({"accuracy": value}, model=model, tags={"dataset": name, "note": name})
        for (model, name), value in zip(
            itertools.product("ab", ["x", "y", "z"]), noise(6), strict=True
        )
    ]
    assert pair_by(rows) == ("data", ("dataset",))


def test_experiments_of_one_name_are_told_apart_by_their_ids():
    stored = store(crossed(model=["a", "b"], seed=[1, 2]))
    stored.runs["experiment_id"] = ["1", "2", "1", "2"]
    runs = columns(stored, stored.runs.index)
    assert set(runs.varying["experiment"]) == {"Default (1)", "Default (2)"}
