import keras
import numpy as np
import pytest

from pipeline.params import Optimizer, Schedule, Training
from pipeline.training.schedule import epoch_rates

STEPS = 5


def rates(schedule=None, epochs=4):
    training = Training(
        epochs=epochs,
        batch_size=1,
        optimizer=Optimizer(name="sgd", learning_rate=0.2),
        schedule=schedule and Schedule(**schedule),
        seeds=1,
    )
    return np.concatenate([epoch_rates(training, epoch, STEPS) for epoch in range(epochs)])


@pytest.mark.parametrize("schedule", [None, {"name": "constant"}])
def test_a_rate_may_stay_as_it_is(schedule):
    np.testing.assert_array_equal(rates(schedule), np.full(20, np.float32(0.2)))


def test_cosine_is_that_of_keras():
    decay = keras.optimizers.schedules.CosineDecay(0.2, 20, alpha=0.1)
    expected = [float(decay(step)) for step in range(20)]
    np.testing.assert_allclose(rates({"name": "cosine", "final": 0.1}), expected, rtol=1e-6)


def test_steps_are_taken_at_the_end_of_epochs():
    expected = np.repeat([0.2, 0.2, 0.1, 0.1], STEPS)
    np.testing.assert_allclose(rates({"name": "step", "every": 2, "factor": 0.5}), expected)


def test_a_warm_up_rises_in_equal_steps_and_then_the_cosine_begins():
    found = rates({"name": "cosine", "warmup_epochs": 2})
    np.testing.assert_allclose(found[:10], 0.02 * np.arange(1, 11), rtol=1e-6)
    # Half of the cosine's way, by hand: half the rate.
    np.testing.assert_allclose(found[[10, 15]], [0.2, 0.1], rtol=1e-6)


def test_the_cosine_spans_what_the_warm_up_leaves():
    # After a third of its way it is 1/2, after two thirds -1/2: 3/4 and 1/4 of the rate.
    found = rates({"name": "cosine", "warmup_epochs": 1})
    np.testing.assert_allclose(found[[4, 5, 10, 15]], [0.2, 0.2, 0.15, 0.05], rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ({"name": "cosine", "every": 2}, "remove `every`"),
        ({"name": "step", "every": 2}, "`step` takes `every`, in epochs, and `factor`"),
        ({"name": "constant", "final": 0.5}, "remove `final`"),
    ],
)
def test_a_schedule_takes_only_its_own_keys(schedule, told):
    with pytest.raises(ValueError, match=told):
        Schedule(**schedule)
