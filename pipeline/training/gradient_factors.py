"""What the gradient of each weight is multiplied by, where training changes only some of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.errors import ParamsError
from pipeline.params import Training
from pipeline.training.names import is_hidden_kernel, is_normalization

# As many as gamma and beta of a unit.
_PER_UNIT = 2


def gradient_factors(
    model: keras.Model, training: Training
) -> list[NDArray[np.float32] | float] | None:
    """Returns a factor, or an array of the weights' shape, for each of `model.trainable_variables`.

    None means that all gradients stay as they are.

    Raises:
        ParamsError: if the network has none of the weights that are to be trained.
    """
    if training.trainable is None and training.hidden_rate is None:
        return None
    rng = np.random.default_rng(0)
    factors = [_factor(variable, training, rng) for variable in model.trainable_variables]
    if not any(np.any(factor) for factor in factors):
        raise ParamsError(
            f"`trainable` is {training.trainable!r}, and the network has no such weights: remove "
            "it, or choose a normalisation that has some (params.yaml, training)"
        )
    return factors


def multiplied(gradient: tf.Tensor, factor: NDArray[np.float32] | float) -> tf.Tensor:
    """Returns the product; 0 for a factor of 0, even where the gradient is not finite."""
    return tf.zeros_like(gradient) if np.all(factor == 0) else gradient * factor


def _factor(
    variable: Any, training: Training, rng: np.random.Generator
) -> NDArray[np.float32] | float:
    layer, _ = variable.path.split("/", 1)
    is_hidden = is_hidden_kernel(variable.path)
    if training.trainable == "normalization":
        return float(is_normalization(layer))
    if training.trainable == "two_per_unit":
        return _few(variable.shape, rng) if is_hidden else 0.0
    return training.hidden_rate or 1.0 if is_hidden else 1.0


def _few(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns 1 for two weights of each unit, drawn at random, and 0 for all others."""
    inputs, units = int(np.prod(shape[:-1])), shape[-1]
    chosen = rng.random((inputs, units)).argsort(axis=0) < min(_PER_UNIT, inputs)
    return chosen.astype(np.float32).reshape(shape)
