from pathlib import Path

import pytest

from tests.mutants.made import Mutant, mutants_of, sampled


@pytest.fixture
def changes(tmp_path):
    """Returns what the mutants of a module read like."""

    def made(code):
        path = tmp_path / "module.py"
        path.write_text(code)
        return {mutant.change for mutant in mutants_of(path)}

    return made


def test_operators_numbers_and_conditions_are_mutated(changes):
    assert changes("if a < 2 and not b:\n    c -= d - e\n") == {
        "if a < 2 and not b: -> if a <= 2 and not b:",
        "if a < 2 and not b: -> if a >= 2 and not b:",
        "if a < 2 and not b: -> if a < 3 and not b:",
        "if a < 2 and not b: -> if a < 1 and not b:",
        "if a < 2 and not b: -> if a < 2 or not b:",
        "if a < 2 and not b: -> if a < 2 and  b:",
        "c -= d - e -> c -= d + e",
    }


def test_the_body_of_what_is_decorated_is_mutated(changes):
    assert changes("@tf.function(jit_compile=True)\ndef f(x):\n    return -x\n") == {
        "return -x -> return x"
    }


def test_what_is_the_same_is_made_once(changes):
    assert changes("if a is b: ...") == {"if a is b: ... -> if a is not b: ..."}


def test_a_mutant_is_the_module_with_one_change(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("a = 1\nb = True\n")
    assert {mutant.code for mutant in mutants_of(path)} == {
        "a = 2\nb = True\n",
        "a = 0\nb = True\n",
        "a = 1\nb = False\n",
    }


@pytest.mark.parametrize(
    "code",
    [
        "def f(a: int | None, *, b: 'str | None' = None) -> int | None: ...",
        "@dataclass(frozen=True)\nclass A:\n    a: int | None",
        "raise ValueError(f'{a} is not {b + 1}', 3)",
        "dict(zip(a, b, strict=True))",
        "if TYPE_CHECKING:\n    import keras",
        "path = folder / name / 'history.csv'",
        "text = 'a' + b + f'{c}'",
        "config = a | {'b': c} | d",
        "def f(a, /, b, *, c): ...",
        "f(*a, **b)",
        "a = {**b, 'c': d}",
    ],
)
def test_what_no_result_depends_on_is_left_alone(changes, code):
    assert changes(code) == set()


def mutants(**of_file):
    return [
        Mutant(Path(name), line, f"a = {line} -> a = {line + 1}", code="")
        for name, count in of_file.items()
        for line in range(count)
    ]


def test_a_sample_has_the_same_share_of_each_file_and_something_of_all():
    made = mutants(a=400, b=200, c=2)
    chosen = sampled(made, 61)
    assert [sum(one.path == Path(name) for one in chosen) for name in "abc"] == [40, 20, 1]
    assert chosen == [one for one in made if one in chosen]
    assert sampled(made, 1000) == made


def test_what_is_drawn_of_a_file_does_not_depend_on_where_it_stands():
    made = mutants(a=100)
    moved = [one._replace(line=one.line + 7) for one in reversed(made)]
    first, again = ({one.change for one in sampled(given, 30)} for given in (made, moved))
    assert first == again
    # Nor is it the beginning of the file.
    assert first != {one.change for one in made[:30]}


def test_a_mutant_more_changes_the_sample_by_one_at_most():
    made = mutants(a=100)
    before, after = ({*sampled(given, 30)} for given in (made, [*made, *mutants(b=1)]))
    assert len(before - after) <= 1
