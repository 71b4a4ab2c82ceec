import numpy as np
import pytest

from pipeline.studies.measures.depth import growth, stable_rank

RNG = np.random.default_rng(0)


def test_growth_is_the_factor_of_the_squared_norm_from_layer_to_layer():
    # Each layer's gradient is 1.3 times as long as that of the layer above it.
    kernels = [np.full((3, 2), 1.3**below, np.float32) for below in (4, 3, 2, 1, 0)]
    assert growth(kernels) == pytest.approx(1.3**2)


def test_growth_is_that_of_the_least_squares_line():
    kernels = [RNG.normal(size=(4, 4)) * scale for scale in (5, 1, 3, 2, 0.5)]
    squared = [np.sum(kernel**2) for kernel in kernels]
    slope = np.polyfit(range(5), np.log(squared), 1)[0]
    assert growth(kernels) == pytest.approx(np.exp(-slope))


def test_one_layer_has_no_growth():
    assert np.isnan(growth([np.ones((2, 2), np.float32)]))


@pytest.mark.parametrize(
    "matrix",
    [
        RNG.normal(size=(20, 7)),
        RNG.normal(size=(7, 20)),
        np.maximum(RNG.normal(size=(128, 64)), 0),
        np.outer(RNG.normal(size=9), RNG.normal(size=4)),
        1e-12 * RNG.normal(size=(5, 5)),
        np.eye(6),
    ],
    ids=["tall", "wide", "rectified", "of rank one", "tiny", "identity"],
)
def test_the_stable_rank_is_that_of_the_singular_values(matrix):
    values = np.linalg.svd(matrix, compute_uv=False)
    assert stable_rank(matrix) == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-3)


def test_a_layer_of_zeros_has_rank_0():
    assert stable_rank(np.zeros((3, 4))) == 0
