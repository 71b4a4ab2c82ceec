import pytest

from pipeline.comparison.published import published_curve
from pipeline.params_file import read_params


@pytest.fixture(scope="module")
def variants():
    return read_params().variants


def test_the_shipped_variants_are_those_of_the_notebook(variants):
    found = {name: published_curve("mnist", one.parameters) for name, one in variants.items()}
    assert {name: curve.test_accuracy for name, curve in found.items()} == {
        "batch_norm": 0.9737,
        "no_norm": 0.9513,
    }


def test_other_settings_or_data_have_nothing_published(variants):
    parameters = variants["batch_norm"].parameters
    assert published_curve("mnist", parameters | {"momentum": 0.9}) is None
    assert published_curve("digits", parameters) is None
