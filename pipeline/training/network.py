"""A variant's network: scaled inputs, the layers of its file, and logits."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ParamsError, one_line
from pipeline.params import Network, Normalization
from pipeline.training.names import is_normalization
from pipeline.training.network_file import fault

_BRIGHTEST = 255
# Batches are drawn from the same seeds, but under a different key.
_WEIGHTS, _NOISE = 1, 2


class Moments(NamedTuple):
    """Mean and variance of each feature."""

    mean: list[float]
    variance: list[float]


def build(
    network: Network,
    normalization: Normalization,
    *,
    shape: tuple[int, ...],
    classes: int,
    moments: Moments | None = None,
) -> keras.Model:
    """Returns a model from raw inputs [batch, *shape] to logits [batch, classes].

    Scaling images to [0, 1], and features to mean 0 and variance 1, is part of the model, so that
    the code that serves it need not know about it. Every layer is named by what it is, so that
    equal parameters give an equal `model.to_json()`.

    Args:
        network: the layers between inputs and logits.
        normalization: what it normalises with.
        shape: of an example: [height, width] or [height, width, channels] of an image, uint8, or
            [features], float32.
        classes: how many there are.
        moments: of the features, as returned by `moments_of`; None for images.

    Raises:
        ParamsError: if the network's file fails, or returns anything but units of Keras' layers.
    """
    name, dtype = ("images", "uint8") if moments is None else ("features", "float32")
    inputs = keras.Input(shape, dtype=dtype, name=name)
    count = itertools.count()

    def normalize(units: keras.KerasTensor) -> keras.KerasTensor:
        return normalization.layer(f"norm_{next(count)}")(units)

    try:
        outputs = _logits(network, _scaled(inputs, moments), normalize, classes)
        model = keras.Model(inputs, outputs, name="network")
    except ParamsError:
        raise
    except Exception as error:  # noqa: BLE001
        raise fault(network.code, error) from None
    for layer in model.layers:
        _expect_storable(layer, network.code)
    try:
        return _named(model)
    except TypeError as error:
        message = "a layer is given a function that Keras cannot store"
        raise ParamsError(f"{network.code}: {message}: {one_line(error)}") from None


def _logits(
    network: Network,
    scaled: keras.KerasTensor,
    normalize: Callable[[keras.KerasTensor], keras.KerasTensor],
    classes: int,
) -> keras.KerasTensor:
    units: Any = network.hidden(scaled, normalize)
    shape = units.shape if keras.backend.is_keras_tensor(units) else ()
    if len(shape) != 2 or None in shape[1:]:
        got = f"[{', '.join(map(str, ('batch', *shape[1:])))}]" if shape else repr(units)
        line = type(network).hidden.__code__.co_firstlineno
        raise ParamsError(
            f"{network.code}, line {line}: `hidden` must return [batch, units], got {got}"
        )
    layer = network.logits(classes) or keras.layers.Dense(classes)
    layer.name = "logits"
    return layer(units)


def moments_of(features: NDArray[Any]) -> Moments:
    """Returns mean and variance of each feature, given features [examples, features].

    The variance of a feature that never changes is 1, so that it is scaled to 0.
    """
    columns = features.astype(np.float64).T.tolist()
    # Exact sums: others depend on their order, which the processor may choose.
    mean = [math.fsum(column) / len(column) for column in columns]
    variance = [
        math.fsum((value - center) ** 2 for value in column) / len(column)
        for column, center in zip(columns, mean, strict=True)
    ]
    return Moments(mean, [value or 1.0 for value in variance])


def _scaled(inputs: keras.KerasTensor, moments: Moments | None) -> keras.KerasTensor:
    if moments is not None:
        return keras.layers.Normalization(**moments._asdict(), name="scaled")(inputs)
    scaled = keras.layers.Rescaling(1 / _BRIGHTEST, name="scaled")(inputs)
    is_grey = len(inputs.shape) == 3
    return keras.layers.Reshape((*inputs.shape[1:], 1))(scaled) if is_grey else scaled


def _expect_storable(layer: keras.layers.Layer, code: str) -> None:
    """Refuses layers that Keras alone could not load from a file."""
    module = type(layer).__module__
    if not module.startswith(("keras.", "pipeline.")) or isinstance(layer, keras.layers.Lambda):
        raise ParamsError(
            f"{code}: `{type(layer).__name__}` is not a layer of Keras' own, which alone can be "
            "loaded from a file: build the network of those"
        )


def _named(model: keras.Model) -> keras.Model:
    """Returns a clone whose layers have names that depend on nothing but the model."""
    given = {"images", "features", "scaled", "logits"}
    count: Counter[str] = Counter()

    def named(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name not in given and not is_normalization(layer.name):
            kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(layer).__name__).lower()
            config["name"] = f"{kind}_{count[kind]}"
            count[kind] += 1
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=named)


def first_weights(model: keras.Model, seed: int) -> list[NDArray[np.float32]]:
    """Returns the weights that a run starts from, in the order of `model.get_weights()`.

    Each weight that is random is drawn by its initializer. The draw depends only on the seed and on
    the weight's place among the random ones, so variants that differ in normalisation start from
    the same kernels. All other weights start as the layers define it.
    """
    places = itertools.count()

    def seeded(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config(_seeded(layer.get_config(), seed, places))

    return keras.models.clone_model(model, clone_function=seeded).get_weights()


def _seeded(config: Any, seed: int, places: Iterator[int]) -> Any:
    """Returns a layer's configuration with a seed for each of its random initializers."""
    if isinstance(config, list | tuple):
        return type(config)(_seeded(each, seed, places) for each in config)
    if not isinstance(config, dict):
        return config
    if "seed" in config.get("config", {}) and config.get("module") == "keras.initializers":
        sequence = np.random.SeedSequence(seed, spawn_key=(_WEIGHTS, next(places)))
        if config["class_name"] == "Orthogonal":
            return _Orthogonal(sequence, config["config"]["gain"])
        given = config["config"] | {"seed": int(sequence.generate_state(1)[0])}
        return keras.initializers.deserialize(config | {"config": given})
    return {key: _seeded(value, seed, places) for key, value in config.items()}


class _Orthogonal(keras.initializers.Initializer):
    """Draws a matrix with orthonormal columns, or rows if it has more columns than rows.

    It is uniformly distributed (Saxe et al. 2014), as with Keras, whose decomposition has other
    bits on other processors. This is the modified Gram-Schmidt process, without BLAS. All axes but
    the last are taken for one.
    """

    def __init__(self, sequence: np.random.SeedSequence, gain: float) -> None:
        self._sequence, self._gain = sequence, gain

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        rows, least = int(np.prod(shape[:-1])), min(int(np.prod(shape[:-1])), shape[-1])
        most = max(rows, shape[-1])
        columns = np.random.default_rng(self._sequence).standard_normal((most, least))
        for place in range(least):
            column = columns[:, place]
            column /= np.sqrt((column**2).sum())
            others = columns[:, place + 1 :]
            others -= column[:, None] * (column[:, None] * others).sum(axis=0)
        matrix = columns if rows >= shape[-1] else columns.T
        return keras.ops.convert_to_tensor(self._gain * matrix.reshape(shape), dtype or "float32")


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
