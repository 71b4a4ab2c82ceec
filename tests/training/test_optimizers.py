import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.params import OPTIMIZER_ARGUMENTS, Optimizer
from pipeline.training.optimizers import build

FLAGS = {"amsgrad", "centered", "nesterov"}


def every_argument(name, flag):
    return {argument: flag if argument in FLAGS else 0.25 for argument in OPTIMIZER_ARGUMENTS[name]}


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("name", OPTIMIZER_ARGUMENTS)
def test_steps_equal_those_of_keras(name, flag):
    arguments = {"learning_rate": 0.5} | every_argument(name, flag)
    rng = np.random.default_rng(0)
    start = [rng.normal(size=5).astype(np.float32), rng.normal(size=2).astype(np.float32)]
    gradients = [[rng.normal(size=len(v)).astype(np.float32) for v in start] for _ in range(4)]
    theirs = type(keras.optimizers.get(name))(**arguments, weight_decay=0.1)
    variables = [keras.Variable(value) for value in start]
    ours = build(Optimizer(name=name, **arguments), weight_decay=0.1)
    ours.build([keras.Variable(value) for value in start])

    values = [tf.constant(value) for value in start]
    state = [tf.constant(variable.numpy()) for variable in ours.variables]
    for gradient in gradients:
        theirs.apply([tf.constant(one) for one in gradient], variables)
        values, state = ours.stateless_apply(state, [tf.constant(one) for one in gradient], values)

    for value, variable, before in zip(values, variables, start, strict=True):
        np.testing.assert_allclose(value, variable.numpy(), rtol=1e-6)
        assert (np.abs(value - before) > 1e-3).all()


@pytest.mark.parametrize("name", OPTIMIZER_ARGUMENTS)
def test_optimizer_takes_its_arguments(name):
    arguments = every_argument(name, flag=True)
    config = build(Optimizer(name=name, learning_rate=0.5, **arguments)).get_config()
    assert config["learning_rate"] == pytest.approx(0.5)
    assert arguments.items() <= config.items()
