import json

import numpy as np

from benchmarks import results


def test_spread_is_median_least_and_greatest():
    assert results.spread([3.0, 1.0, 10.0]) == {"median": 3.0, "min": 1.0, "max": 10.0}


def test_numbers_have_four_digits():
    values = {"a": [123456.0, {"b": np.float64(0.000123456)}], "c": 123456, "d": "12.34567"}
    assert results.rounded(values) == {
        "a": [123500.0, {"b": 0.0001235}],
        "c": 123456,
        "d": "12.34567",
    }


def test_a_section_is_replaced_and_the_others_stay(tmp_path):
    old, new = {"processor": "Abacus"}, {"processor": "Slide rule"}
    results.update(tmp_path, "floor", {"seconds": 1.0}, old)
    results.update(tmp_path, "growth", {"seconds": 2.0}, old)
    results.update(tmp_path, "floor", {"seconds": 3.0}, new)
    expected = {
        "floor": {"seconds": 3.0},
        "growth": {"seconds": 2.0},
        "machines": {"floor": new, "growth": old},
    }
    assert results.read(tmp_path) == expected
    assert json.loads((tmp_path / "results.json").read_text()) == expected
