"""What must not change a verdict."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.designs.answers import Paired, Search, Trends, Unpaired, Values
from tests.designs.invented import answered, noise, run
from tests.designs.test_answer import blocks, folds, line, search, seeded, unpaired

pytestmark = pytest.mark.slow

STORES = {
    "pairs": seeded("ab"),
    "several": seeded("abc", gap=0.01),
    "few": seeded("ab", seeds=4),
    "data": blocks("abc", 7),
    "folds": folds(8),
    "unpaired": unpaired(0.3),
    "trend": line(0.1),
    "search": search(),
    "values": [run({"accuracy": x}, model=m) for x, m in zip((0.1, 0.2, 0.3), "abc", strict=True)],
    "factorial": [
        run({"time": 1.0 + x + 0.1 * value**2}, x=x, y=y, z=z)
        for value, (x, y, z) in zip(
            noise(8), [(x, y, z) for x in (0, 1) for y in "ab" for z in "uv"], strict=True
        )
    ],
}


def essence(rows):
    """What an answer says, to the last digit."""
    answer = answered(rows)
    match answer:
        case Paired():
            return answer.unit, answer.comparisons, answer.friedman
        case Unpaired():
            return answer.comparisons
        case Trends():
            return answer.trends
        case Values():
            return answer.cells, answer.fewest
        case Search():
            return answer.best, answer.ahead


@cache
def before(name):
    return essence(STORES[name])


@pytest.fixture(params=STORES)
def name(request):
    return request.param


@pytest.fixture
def rows(name):
    return [row | {"params": dict(row["params"])} for row in STORES[name]]


@settings(max_examples=15, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(STORES)))
def test_neither_the_order_of_runs_nor_their_names_matter(data, name):
    rows = STORES[name]
    order = data.draw(st.permutations(rows))
    ids = data.draw(st.permutations(range(len(rows))))
    renamed = [
        row | {"id": f"{new:x}", "name": f"n{new}"} for row, new in zip(order, ids, strict=True)
    ]
    assert essence(renamed) == before(name)


@settings(max_examples=15, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(STORES)))
def test_a_copy_of_a_run_changes_nothing(data, name):
    rows = STORES[name]
    copied = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    assert essence([*rows, *copied]) == before(name)


TELLING_NOTHING = {
    "constant": lambda _: "same",
    "log_dir": lambda place: f"runs/{place}",
    "where": lambda place: f"/home/runs/{place}",
    "uuid": lambda place: f"{place:032x}",
    "digest": lambda place: f"{place:07x}a1",
    "started": lambda place: f"2024-01-{1 + place % 28:02} 10:00",
    "stamp": lambda place: str(1_700_000_000 + place),
    "callback": lambda place: f"<function f at 0x7f00{place:04x}>",
    "units": lambda place: ("1000", "1000.0", " 1000")[place % 3],
    "flag": lambda place: ("False", "false")[place % 2],
}


def test_parameters_that_tell_nothing_change_nothing(rows, name):
    for place, row in enumerate(rows):
        row["params"] |= {of: value(place) for of, value in TELLING_NOTHING.items()}
    assert essence(rows) == before(name)


def test_the_way_a_value_is_written_changes_nothing(rows, name):
    for place, row in enumerate(rows):
        if "seed" in row["params"] and place % 2:
            row["params"]["seed"] = f"{row['params']['seed']}.0"
    assert essence(rows) == before(name)


def test_runs_that_do_not_count_change_nothing(rows, name):
    metric = next(iter(rows[0]["metrics"]))
    first = rows[0]
    others = [
        first | {"metrics": {metric: 99.0}, "status": "FAILED"},
        first | {"metrics": {metric: 99.0}, "deleted": True},
        first | {"metrics": {metric: float("inf")}},
    ]
    assert essence([*rows, *others]) == before(name)
