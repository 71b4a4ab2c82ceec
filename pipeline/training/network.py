"""A variant's network: dense layers, each followed by normalisation and then activation."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.params import Network, Normalization

_BRIGHTEST = 255
# Batches are drawn from the same seeds, but under a different key.
_WEIGHTS, _NOISE = 1, 2


def build(
    network: Network, normalization: Normalization, *, image_shape: tuple[int, ...], classes: int
) -> keras.Model:
    """Returns a model from raw images [batch, *image_shape], uint8, to logits [batch, classes].

    Scaling to [0, 1] is part of the model, so that the code that serves it need not know about it.
    Every layer is named, so that equal parameters give an equal `model.to_json()`.
    """
    images = keras.Input(image_shape, dtype="uint8", name="images")
    scaled = keras.layers.Rescaling(1 / _BRIGHTEST, name="scaled")(images)
    units = keras.layers.Flatten("channels_last", name="pixels")(scaled)
    for i, width in enumerate(network.hidden_dims):
        units = _dense(network, width, f"dense_{i}")(units)
        units = normalization.layer(f"norm_{i}")(units)
        units = keras.layers.Activation(network.activation, name=f"activation_{i}")(units)
    logits = _dense(network, classes, "logits")(units)
    return keras.Model(images, logits, name="mlp")


def _dense(network: Network, units: int, name: str) -> keras.layers.Dense:
    kind = keras.initializers.get(network.initializer or "glorot_uniform")
    config = kind.get_config() | ({"stddev": network.stddev} if network.stddev else {})
    return keras.layers.Dense(units, kernel_initializer=kind.from_config(config), name=name)


def first_weights(model: keras.Model, seed: int) -> list[NDArray[np.float32]]:
    """Returns the weights that a run starts from, in the order of `model.get_weights()`.

    Each dense layer's kernel is drawn by that layer's initializer. The draw depends only on the
    seed and on the layer's place among the dense layers, so variants that differ in normalisation
    start from the same kernels. All other weights keep the values that the model was built with.
    """
    weights = {variable.path: variable.numpy() for variable in model.weights}
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for place, layer in enumerate(dense):
        sequence = np.random.SeedSequence(seed, spawn_key=(_WEIGHTS, place))
        initializer, kernel = layer.kernel_initializer, layer.trainable_variables[0]
        if isinstance(initializer, keras.initializers.Orthogonal):
            weights[kernel.path] = _orthogonal(kernel.shape, sequence)
            continue
        config = initializer.get_config() | {"seed": int(sequence.generate_state(1)[0])}
        draw = type(initializer).from_config(config)
        weights[kernel.path] = draw(kernel.shape).numpy()
    return list(weights.values())


def _orthogonal(shape: tuple[int, int], sequence: np.random.SeedSequence) -> NDArray[np.float32]:
    """Returns a random matrix with orthonormal columns, or rows if it has more columns than rows.

    It is uniformly distributed (Saxe et al. 2014), as with Keras, whose decomposition has other
    bits on other processors. This is the modified Gram-Schmidt process, without BLAS.
    """
    columns = np.random.default_rng(sequence).standard_normal((max(shape), min(shape)))
    for place in range(min(shape)):
        column = columns[:, place]
        column /= np.sqrt((column**2).sum())
        others = columns[:, place + 1 :]
        others -= column[:, None] * (column[:, None] * others).sum(axis=0)
    return (columns if shape[0] >= shape[1] else columns.T).astype(np.float32)


def first_noise(model: keras.Model, seed: int) -> dict[str, NDArray[np.int64]]:
    """Returns the first values of the variables that noise is drawn from, by path.

    They are the variables of a model that are not among its weights. Each value depends only on the
    seed and on the variable's place among them.
    """
    weights = {variable.path for variable in model.weights}
    paths = [
        variable.path for variable in model.non_trainable_variables if variable.path not in weights
    ]
    return {
        path: np.random.SeedSequence(seed, spawn_key=(_NOISE, place))
        .generate_state(2)
        .astype(np.int64)
        for place, path in enumerate(paths)
    }
