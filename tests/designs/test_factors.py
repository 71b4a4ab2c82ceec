import itertools

import pytest

from pipeline.errors import ArgumentError
from tests.designs.invented import designed, noise, run, seeded


def factors(rows, **asked):
    return [question.factor for question in designed(rows, **asked).questions]


def names(rows, **asked):
    return [factor.names for factor in factors(rows, **asked)]


def told(rows, **asked):
    return [of.text for of in designed(rows, **asked).inferences if of.flag in {"--by", "--where"}]


def grid(repeats=1, **levels):
    combinations = itertools.product(*levels.values(), range(repeats))
    return [
        run({"accuracy": 0.5 + 0.01 * value}, seed=seed, **dict(zip(levels, values, strict=True)))
        for value, (*values, seed) in zip(noise(1000), combinations, strict=False)
    ]


def test_the_parameter_that_differs_is_compared():
    rows = seeded("ba", width=3)
    (factor,) = factors(rows)
    assert (factor.names, factor.levels) == (("model",), ("a", "b"))
    assert told(rows) == ["Compared: model (a, b)."]


def test_what_identifies_a_run_is_not_compared_but_told():
    rows = [
        row | {"params": row["params"] | {"out": f"runs/{place}.txt", "uuid": place}}
        for place, row in enumerate(seeded("ab"))
    ]
    assert names(rows) == [("model",)]
    assert "Not compared, as names, paths, versions and the like: out and uuid." in told(rows)


def test_values_written_in_two_ways_are_one():
    rows = [
        row | {"params": row["params"] | {"width": ("1000", "1000.0")[place % 2]}}
        for place, row in enumerate(seeded("ab", seeds=11))
    ]
    assert names(rows) == [("model",)]
    assert "One value written in several ways: width: '1000' is '1000.0'." in told(rows)


def test_aliases_are_named_together():
    rows = [
        row | {"params": row["params"] | {"net": {"a": "x", "b": "y"}[row["params"]["model"]]}}
        for row in seeded("ab")
    ]
    (factor,) = factors(rows)
    assert (factor.names, factor.label, factor.aliases) == (("model", "net"), "model", ("net",))
    assert "model and net always change together: no run tells them apart." in told(rows)


def test_of_aliases_one_that_every_run_has_lends_its_name():
    rows = [
        row | {"params": row["params"] | ({"center": "True"} if of == "norm" else {})}
        for of in ("none", "norm")
        for row in seeded([of])
    ]
    assert names(rows) == [("model", "center")]


def test_what_another_parameter_fixes_is_not_compared():
    family = {"a": "tree", "b": "tree", "c": "net"}
    rows = [
        row | {"params": row["params"] | {"family": family[row["params"]["model"]]}}
        for row in seeded("abc")
    ]
    assert names(rows) == [("model",)]
    assert "family follows from model: not compared by itself." in told(rows)


def test_a_parameter_of_one_method_is_named_with_it():
    rows = [
        run({"accuracy": 0.1 * seed}, model=model, seed=seed, **depth)
        for model, depth in (("tree", {"depth": 3}), ("tree", {"depth": 5}), ("line", {}))
        for seed in range(6)
    ]
    (factor,) = factors(rows)
    assert factor.combined
    assert factor.levels == ("model line", "model tree, depth 3", "model tree, depth 5")
    assert "depth was varied only where model is tree." in told(rows)


def test_what_varies_with_the_data_in_one_method_is_not_compared():
    rows = [
        run({"accuracy": 0.1 * place}, model=model, dataset=place, window=window)
        for place in range(6)
        for model, window in (("a", 1), ("b", 2 + place))
    ]
    assert names(rows) == [("model",)]
    assert "window was varied only where model is b." in told(rows)


def test_a_full_factorial_is_compared_a_factor_at_a_time():
    rows = grid(x=[1, 2], y=["a", "b"], z=["u", "v", "w"])
    assert names(rows) == [("x",), ("y",), ("z",)]
    assert told(rows)[0] == "Compared: x (1, 2); y (a, b); z (u, v, w); one factor at a time."


def test_a_nearly_full_one_too_but_not_a_third_of_one():
    rows = grid(x=[1, 2], y=["a", "b"], z=["u", "v", "w"])
    assert len(names(rows[:-3])) == 3
    (factor,) = factors([rows[place] for place in (0, 4, 8, 11)])
    assert factor.combined


def test_a_factorial_is_full_on_most_of_its_data():
    rows = grid(x=[1, 2], y=["a", "b"], z=["u", "v", "w"])
    extra = [
        run({"accuracy": 0.1 * place}, x=9 + place, y="a", z="u", seed=0, _experiment="other")
        for place in range(3)
    ]
    assert len(names([*rows, *extra])) == 3


def test_settings_that_do_not_cross_are_compared_as_they_are():
    rows = [
        run({"accuracy": seed}, lr=lr, width=width, seed=seed)
        for lr, width in ((0.1, 10), (0.01, 10), (0.01, 20), (0.5, 40))
        for seed in range(3)
    ]
    (factor,) = factors(rows)
    assert factor.combined
    assert factor.levels[:2] == ("lr 0.01, width 10", "lr 0.01, width 20")
    assert told(rows)[0].endswith("lr and width (4 combinations); each combination as one setting.")


def test_a_number_that_was_varied_by_itself():
    rows = [run({"accuracy": 0.1 * width}, width=width, model="a") for width in range(20)]
    rows += [run({"accuracy": 0.1}, width=99, model=model) for model in "bc"]
    assert names(rows) == [("width",)]
    assert told(rows)[0] == (
        "Compared: width (21 values); the only number that was varied by itself."
    )


def test_several_that_were_asked_for_are_crossed_or_combined():
    rows = grid(x=[1, 2], y=["a", "b"], z=["u", "v"])
    assert names(rows, by=("x", "y")) == [("x",), ("y",)]
    assert "Of x and y, one factor at a time." in told(rows, by=("x", "y"))


def test_tags_the_name_and_the_experiment_can_be_compared():
    rows = [
        run({"accuracy": 0.1 * seed}, tags={"team": team}, seed=seed, _name=team, _experiment=team)
        for team in "ab"
        for seed in range(6)
    ]
    for name in ("team", "run_name", "experiment"):
        assert names(rows, by=(name,))[0][0] == name


def test_a_parameter_goes_before_a_tag_of_the_same_name():
    rows = [
        run({"accuracy": 0.1 * seed}, tags={"model": "tag"}, model=model, seed=seed)
        for model in "ab"
        for seed in range(6)
    ]
    assert factors(rows, by=("model",))[0].levels == ("a", "b")


@pytest.mark.parametrize("where", ["tags", "name", "experiment"])
def test_where_no_parameter_differs_something_else_is_compared(where):
    rows = [
        run(
            {"accuracy": 0.1 * seed},
            seed=seed,
            tags={"team": team} if where == "tags" else {},
            **({f"_{where}": team} if where != "tags" else {}),
        )
        for team in "ab"
        for seed in range(6)
    ]
    assert names(rows) == [({"tags": "team", "name": "run_name"}.get(where, where),)]


@pytest.mark.parametrize(
    ("rows", "asked", "message"),
    [
        (seeded("a"), {}, r"nothing but seed differs between the 10 runs.*--by 'seed'"),
        ([run({"a": 1}, x=1), run({"a": 2}, x=1)], {}, "no parameter differs between the 2 runs"),
        (seeded("ab"), {"by": ("modell",)}, r"--by 'modell' is no .*did you mean 'model'\?"),
        (seeded("ab"), {"by": ("zzz",)}, "these differ: model, seed"),
        (seeded("ab", width=3), {"by": ("width",)}, r"same width \(3\): there is nothing to comp"),
        (seeded("ab"), {"pair_by": ("sed",)}, r"--pair-by 'sed' is no .* 'seed'\?"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(rows, asked, message):
    with pytest.raises(ArgumentError, match=message):
        designed(rows, **asked)


def test_nested_runs_whose_parents_have_the_settings_can_be_compared_by_parent():
    rows = [
        run({"f1": x}, fold=fold, _parent=parent, tags={"mlflow.parentRunId": parent})
        for parent, values in zip("pq", noise(2, 8), strict=True)
        for fold, x in enumerate(values)
    ]
    with pytest.raises(ArgumentError, match=r"use --by 'fold'; to .* --by mlflow.parentRunId"):
        designed(rows)
    (of,) = designed(rows, by=("mlflow.parentRunId",)).questions
    assert (of.factor.levels, of.unit) == (("p", "q"), "folds")


def test_two_numbers_drawn_at_random_are_no_aliases_but_copies_of_one_are():
    draws = noise(2, 20)
    rows = [
        run({"accuracy": x}, x=x, y=y, minus_x=-x) for x, y in zip(draws[0], draws[1], strict=True)
    ]
    (factor,) = factors(rows)
    assert factor.names == ("minus_x", "y")
    assert factor.combined


def test_few_numbers_drawn_at_random_are_no_aliases():
    draws = zip([0.3, 0.1, 0.2, 0.4], [7, 5, 9, 8], strict=True)
    rows = [run({"accuracy": x}, x=x, y=y, minus_x=-x) for x, y in draws]
    (factor,) = factors(rows)
    assert factor.names == ("minus_x", "y")
    assert factor.combined


def test_in_few_runs_a_text_goes_with_a_number_whatever_their_order():
    rows = [run({"accuracy": x}, x=x, model=model) for x, model in [(3, "b"), (1, "c"), (2, "a")]]
    (factor,) = factors(rows)
    assert set(factor.names) == {"x", "model"}
    assert not factor.combined


def test_what_makes_pairs_is_not_compared_unless_it_is_asked_for():
    rows = grid(model=["a", "b"], lr=[1, 2])
    assert names(rows, pair_by=("model",)) == [("lr",)]
    with pytest.raises(ArgumentError, match="--pair-by 'lr' is what is compared"):
        designed(rows, by=("lr",), pair_by=("lr",))


def test_long_lists_and_values_are_cut():
    rows = seeded(["x" * 500 + "1", "y" * 500])
    for row in rows:
        model = row["params"]["model"]
        row["params"] = row["params"] | {f"p{place:02}": model for place in range(30)}
    compared, together = (text for text in told(rows) if text[:5] == "Compa" or "always" in text)
    assert len(compared) < 200
    assert "x…x" in compared
    assert together.endswith("p10 and 19 more always change together: no run tells them apart.")


def test_a_name_that_each_run_has_for_itself_is_compared_only_if_nothing_else_is():
    rows = [run({"accuracy": place}, label=label) for place, label in enumerate("abcd")]
    assert names(rows) == [("label",)]
    for place, row in enumerate(rows):
        row["params"]["width"] = place % 2
    assert names(rows) == [("width",)]


def test_something_is_compared_even_if_seeds_tell_all_runs_apart():
    rows = [
        run({"accuracy": 0.1 * seed}, model=model, flag=flag, seed=seed)
        for seed, (model, flag) in enumerate([("a", 1), ("a", 2), ("b", 1), ("b", 1)])
    ]
    assert names(rows) != []
