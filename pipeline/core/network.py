"""A variant's network: dense layers, each with its normalisation before its activation."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.params import Network, Normalization

_BRIGHTEST = 255
# Batches are drawn from the same seeds, under another key.
_WEIGHTS = 1


def build(
    network: Network, normalization: Normalization, *, image_shape: tuple[int, ...], classes: int
) -> keras.Model:
    """Returns a model from raw images [batch, *image_shape], uint8, to logits [batch, classes].

    Scaling to [0, 1] is part of the model, so that whoever serves it need not know of it. Every
    layer is named, so that equal parameters give an equal `model.to_json()`.
    """
    images = keras.Input(image_shape, dtype="uint8", name="images")
    scaled = keras.layers.Rescaling(1 / _BRIGHTEST, name="scaled")(images)
    units = keras.layers.Flatten(name="pixels")(scaled)
    for i, width in enumerate(network.hidden_dims):
        units = keras.layers.Dense(width, name=f"dense_{i}")(units)
        units = normalization.layer(f"norm_{i}")(units)
        units = keras.layers.Activation(network.activation, name=f"activation_{i}")(units)
    logits = keras.layers.Dense(classes, name="logits")(units)
    return keras.Model(images, logits, name="mlp")


def first_weights(model: keras.Model, seed: int) -> list[NDArray[np.float32]]:
    """Returns the weights that a run starts from, in the order of `model.get_weights()`.

    The kernels of the dense layers are drawn, each by its own initializer. A draw depends on the
    seed and on which dense layer it is, on nothing else: variants that differ in normalisation
    start from the same kernels. The other weights are those that the model was built with.
    """
    weights = {variable.path: variable.numpy() for variable in model.weights}
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for place, layer in enumerate(dense):
        sequence = np.random.SeedSequence(seed, spawn_key=(_WEIGHTS, place))
        initializer = layer.kernel_initializer
        config = initializer.get_config() | {"seed": int(sequence.generate_state(1)[0])}
        draw = type(initializer).from_config(config)
        kernel = layer.trainable_variables[0]
        weights[kernel.path] = draw(kernel.shape).numpy()
    return list(weights.values())
