import numpy as np
import pytest
from scipy import stats

from pipeline.examples.dataset import Examples
from pipeline.reporting.features import Scale


@pytest.fixture
def train():
    rng = np.random.default_rng(0)
    inputs = rng.normal(3, 2, (50, 4)).astype(np.float32)
    inputs[:, 3] = 5
    return Examples(inputs, np.arange(50, dtype=np.uint8) % 3)


@pytest.fixture
def scale(train):
    return Scale(train, ("a", "b", "c", "constant"))


def test_distances_are_those_of_the_training_rows(train, scale):
    expected = stats.zscore(train.inputs[:, :3].astype(np.float64))
    np.testing.assert_allclose(scale.deviations(train.inputs)[:, :3], expected)


def test_a_feature_that_never_changed_counts_as_if_its_deviation_were_one(scale):
    assert scale.deviations(np.array([3, 3, 3, 7]))[3] == 2


def test_unusual_features_come_farthest_first_with_their_values(train, scale):
    mean, deviation = train.inputs[:, :3].mean(axis=0), train.inputs[:, :3].std(axis=0)
    row = np.array([*(mean + deviation * [-1, 0.5, 4]), 5], np.float32)

    found = scale.unusual(row, 2)

    assert [(one.place, one.name) for one in found] == [(2, "c"), (0, "a")]
    assert [one.value for one in found] == [row[2], row[0]]
    assert [one.deviations for one in found] == pytest.approx([4, -1], abs=1e-5)
    assert str(found[1]) == f"{row[0]:.4g} (-1.0 sd)"


def test_means_of_classes_are_of_the_features_in_which_they_differ_most(train, scale):
    train.inputs[train.labels == 1, 1] += 100
    train.inputs[train.labels == 2, 0] += 10
    scale = Scale(train, scale.names)

    classes, features, means = scale.class_means(train, 2, 2)

    assert (classes.tolist(), features.tolist()) == ([0, 1], [1, 0])
    distances = stats.zscore(train.inputs[:, [1, 0]].astype(np.float64))
    expected = [distances[train.labels == place].mean(axis=0) for place in (0, 1)]
    np.testing.assert_allclose(means, expected)
