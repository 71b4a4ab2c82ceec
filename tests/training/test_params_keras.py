"""Compares the lists in params.py, which check params.yaml without Keras, with Keras."""

import importlib
import inspect
from functools import reduce
from typing import get_args

import keras
import numpy as np
import pytest

from pipeline.params import OPTIMIZER_ARGUMENTS, Activation, Optimizer

ACTIVATIONS = get_args(Activation)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_keras_knows_the_activation(name):
    units = keras.activations.get(name)(np.array([[-1.5, 0, 2]], np.float32))

    assert np.isfinite(units).all()


def acts_on_each_unit_alone(activation):
    units = np.array([[-1.5, 0.3, 2, 0.7]], np.float32)
    try:
        together = np.asarray(activation(units))
        alone = [np.asarray(activation(units[:, i : i + 1])) for i in range(4)]
    except (TypeError, ValueError, UserWarning):
        return False
    return together.shape == units.shape and np.allclose(together, np.hstack(alone))


def test_every_elementwise_activation_is_listed():
    of_keras = {
        name
        for name, function in inspect.getmembers(keras.activations, inspect.isfunction)
        if name not in {"get", "serialize", "deserialize"} and acts_on_each_unit_alone(function)
    }

    assert set(ACTIVATIONS) == of_keras


def parameters(optimizer):
    return set(inspect.signature(optimizer).parameters)


# What every optimizer of Keras takes, like clipping and averaging.
SHARED = reduce(
    set.intersection,
    [parameters(getattr(keras.optimizers, name)) for name in ("Adam", "SGD", "Lion", "Adadelta")],
)


@pytest.mark.parametrize("name", OPTIMIZER_ARGUMENTS)
def test_optimizer_arguments_are_those_of_keras(name):
    of_keras = parameters(type(keras.optimizers.get(name)))

    assert of_keras - SHARED == OPTIMIZER_ARGUMENTS[name] - {"weight_decay"}
    assert of_keras >= OPTIMIZER_ARGUMENTS[name]


def test_every_optimizer_has_its_list_and_every_argument_its_field():
    fields = set(Optimizer.model_fields)

    assert set(get_args(Optimizer.model_fields["name"].annotation)) == set(OPTIMIZER_ARGUMENTS)
    assert set().union(*OPTIMIZER_ARGUMENTS.values()) == fields - {"name", "learning_rate"}


def test_keras_has_the_base_class_that_is_taken_from_its_optimizers():
    told = (
        f"Keras {keras.__version__} moved or dropped the layer for tf.distribute that refuses "
        "`stateless_apply`: pipeline/training/optimizers.py takes it out from under an optimizer. "
        "If `stateless_apply` works without, that can go; or else name the layer's new place there"
    )
    try:
        layer = importlib.import_module("keras.src.backend.tensorflow.optimizer").TFOptimizer
    except (ImportError, AttributeError):
        pytest.fail(told)
    assert layer in keras.optimizers.Optimizer.__mro__, told
    with pytest.raises(ValueError, match="stateless_apply is not supported"):
        keras.optimizers.SGD().stateless_apply([], [], [])
