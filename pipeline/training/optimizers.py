"""Keras' optimizers, as pure functions of the state that they change."""

from __future__ import annotations

import keras
from keras.src.backend.tensorflow.optimizer import TFOptimizer

from pipeline.params import Optimizer


class _Undistributed(type):
    """Makes optimizer classes without the base class that Keras adds for tf.distribute.

    That base class rejects `stateless_apply`, and cannot handle values in place of variables.
    """

    def mro(cls) -> list[type]:
        return [base for base in super().mro() if base is not TFOptimizer]


def build(optimizer: Optimizer, weight_decay: float | None = None) -> keras.optimizers.Optimizer:
    """Returns the Keras optimizer, unbuilt, with a `stateless_apply` that works on TensorFlow."""
    kind = type(keras.optimizers.get(optimizer.name))
    decay = {} if weight_decay is None else {"weight_decay": weight_decay}
    return _Undistributed(kind.__name__, (kind,), {})(**optimizer.arguments, **decay)
