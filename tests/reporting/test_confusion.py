import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from pipeline.reporting.confusion import confusions


@pytest.fixture
def many(make_cell):
    """Two variants of three runs on thirty classes, which take some for others."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30, dtype=np.uint8), 4)
    predicted = [np.where(rng.random((3, 120)) < share, labels, 7) for share in (0.9, 0.8)]
    cells = [
        make_cell(label, (0.5,), predicted=rows.astype(np.uint8))
        for label, rows in zip("AB", predicted, strict=True)
    ]
    return cells, labels


def test_shares_are_those_of_each_true_class(many):
    cells, labels = many
    found = confusions(cells, labels, 30, most=30)
    assert (found.places, found.total) == (list(range(30)), 30)
    for variant, cell in zip(found.variants, cells, strict=True):
        expected = np.mean(
            [confusion_matrix(labels, row, normalize="true") for row in cell.predicted], axis=0
        )
        np.testing.assert_allclose(variant.shares, 100 * expected)


def test_the_largest_mistake_of_any_variant_has_full_heat_and_what_is_right_has_none(many):
    found = confusions(*many, 30, most=30)
    off = ~np.eye(30, dtype=bool)
    worst = max(variant.shares[off].max() for variant in found.variants)
    for variant in found.variants:
        np.testing.assert_allclose(variant.heat[off], variant.shares[off] / worst)
        assert not np.diag(variant.heat).any()


def test_the_classes_of_the_largest_mistakes_are_shown(make_cell):
    labels = np.repeat(np.arange(6, dtype=np.uint8), 4)
    predicted = labels.copy()
    # Half of class 4 is taken for 1, and a quarter of 5 for 2.
    predicted[16:18], predicted[20] = 1, 2
    found = confusions([make_cell("A", (1.0,), predicted=predicted[None])], labels, 6, most=2)
    assert (found.places, found.total) == ([1, 4], 6)
    assert found.variants[0].shares.tolist() == [[100, 0], [50, 50]]
    assert confusions([make_cell("A", (1.0,), predicted=predicted[None])], labels, 6, 4).places == [
        1, 2, 4, 5,
    ]  # fmt: skip


def test_a_class_without_test_examples_that_nothing_is_taken_for_is_there(make_cell):
    labels = np.array([0, 1], np.uint8)
    found = confusions([make_cell("A", (1.0,), predicted=labels[None])], labels, 3)
    assert found.variants[0].shares.tolist() == [[100, 0, 0], [0, 100, 0], [0, 0, 0]]
