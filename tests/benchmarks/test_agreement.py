import numpy as np
import pytest

from benchmarks.agreement import disagreements, half_width


def sample(values):
    return {"no_norm validation": np.array(values)}


def test_half_width_by_hand():
    # Student's t with 2 degrees of freedom is 4.3027 at 97.5 %; the three have sd 1.
    values = np.array([[1.0], [2.0], [3.0]])
    assert half_width(values, seeds=6, error=0.05) == pytest.approx([4.3027 * np.sqrt(1 / 2)], 1e-4)


def test_programs_that_learn_the_same_agree():
    random = np.random.default_rng(0)
    for _ in range(50):
        ours, theirs = random.normal(0.95, 0.004, (20, 2)), random.normal(0.95, 0.004, (5, 2))
        assert not list(disagreements(sample(ours), sample(theirs), comparisons=8))


def test_a_program_that_learns_worse_is_reported_by_epoch():
    random = np.random.default_rng(0)
    ours, theirs = random.normal(0.95, 0.004, (20, 2)), random.normal(0.95, 0.004, (5, 2))
    theirs[:, 1] -= 0.02
    (line,) = disagreements(sample(ours), sample(theirs))
    assert line.startswith("no_norm validation, epoch 1: 9")


def test_nan_never_agrees():
    ours = sample([[0.9], [0.91], [0.92]])
    assert list(disagreements(ours, sample([[np.nan]])))
