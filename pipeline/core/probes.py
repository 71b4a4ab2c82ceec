"""What studies measure of a trained network beside its scores: to add a probe, add a function.

A probe takes a trained network and the test set, and gives what its name in `PROBES` promises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.core.examples import Examples

Images = NDArray[np.floating]

_AT_ONCE = 2_000
_BRIGHTEST = 255
# Of Gaussian noise and of attacks, on pixels from 0 to 1.
NOISES, DISTANCES = (0.1, 0.2, 0.4), (0.02, 0.05, 0.1)
_PGD_STEPS = 20


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network: the model, which many runs share, and this run's weights."""

    model: keras.Model
    weights: Sequence[NDArray[np.float32]]

    def outputs(self, layer: str, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Returns, in inference mode, [images, units] of each layer whose name begins so."""
        layers = [one for one in self.model.layers if one.name.startswith(layer)]
        part = keras.Model(self.model.input, [one.output for one in layers])
        batches = [
            [np.asarray(output) for output in keras.tree.flatten(self.call(part, images[at]))]
            for at in _batches(len(images))
        ]
        return [np.concatenate(outputs) for outputs in zip(*batches, strict=True)]

    @cached_property
    def from_pixels(self) -> keras.Model:
        """The part of the model from pixels [images, height, width] in [0, 1] on."""
        return keras.Model(self.model.get_layer("scaled").output, self.model.output)

    def call(self, part: keras.Model, inputs: Any) -> Any:
        """Returns what a part of the model makes of `inputs` in inference mode."""
        with keras.StatelessScope(zip(self.model.weights, self.weights, strict=True)):
            return part(inputs, training=False)


@dataclass(frozen=True)
class Probe:
    """What is measured, by name, and the function that does it."""

    measures: tuple[str, ...]
    measure: Callable[[Trained, Examples], Mapping[str, float]]


def dead_units(trained: Trained, test: Examples) -> dict[str, float]:
    """Returns the share (0 to 1) of hidden units that are 0 or less for every test image."""
    hidden = trained.outputs("activation_", test.images)
    dead = np.concatenate([(units <= 0).all(axis=0) for units in hidden])
    return {"dead_units": float(np.mean(dead))}


def undone(trained: Trained, test: Examples) -> dict[str, float]:
    """Returns how far batch normalisation is from the identity when gamma and beta undo it.

    With gamma = sqrt(moving variance + epsilon) and beta = moving mean a layer should give what it
    is given (Ioffe & Szegedy 2015, section 3). The largest difference over units and test images is
    told as a share of the largest input; 0 for a network without such layers.
    """
    layers = [
        layer
        for layer in trained.model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    inputs = trained.outputs("dense_", test.images)
    weights = _by_path(trained)
    worst = 0.0
    for layer, given in zip(layers, inputs, strict=False):
        mean, variance = (
            weights[f"{layer.path}/{name}"] for name in ("moving_mean", "moving_variance")
        )
        gamma, beta = np.sqrt(variance + np.float32(layer.epsilon)), mean
        made = keras.ops.convert_to_numpy(
            keras.ops.batch_normalization(
                given, mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=layer.epsilon
            )
        )
        worst = max(worst, float(np.abs(made - given).max() / np.abs(given).max()))
    return {"identity_error": worst}


def robustness(trained: Trained, test: Examples) -> dict[str, float]:
    """Returns test accuracies on images that were made harder, by noise and by two attacks.

    The noise is Gaussian; the attacks are `fgsm` and `pgd`. Chance is the same for every run.
    """
    pixels, labels = test.images / np.float32(_BRIGHTEST), test.labels
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(pixels.shape, np.float32)
    start = rng.uniform(-1, 1, pixels.shape).astype(np.float32)
    harder = {
        **{f"noise_{scale:g}": np.clip(pixels + scale * noise, 0, 1) for scale in NOISES},
        **{f"fgsm_{far:g}": fgsm(trained, pixels, labels, far) for far in DISTANCES},
        **{f"pgd_{far:g}": pgd(trained, pixels, labels, far, start) for far in DISTANCES},
    }
    return {
        f"{name}_accuracy": float(np.mean(_classes(trained, images) == labels))
        for name, images in harder.items()
    }


def fgsm(
    trained: Trained,
    pixels: Images,
    labels: NDArray[np.uint8],
    distance: float,
) -> Images:
    """Returns images by the fast gradient sign method (Goodfellow et al. 2015, section 4).

    Args:
        trained: what is to be misled.
        pixels: [images, height, width], in [0, 1].
        labels: [images].
        distance: that every pixel is moved by, as far as it stays in [0, 1].
    """
    return _uphill(trained, pixels, labels, _within(pixels, distance), distance)


def pgd(
    trained: Trained,
    pixels: Images,
    labels: NDArray[np.uint8],
    distance: float,
    start: Images,
) -> Images:
    """Returns images by projected gradient descent in 20 steps (Madry et al. 2018, section 2.1).

    Args:
        trained: what is to be misled.
        pixels: [images, height, width], in [0, 1].
        labels: [images].
        distance: that every pixel is moved by at most.
        start: [images, height, width], in [-1, 1]: where between its bounds each pixel begins.
    """
    moved = np.clip(pixels + distance * start, 0, 1)
    # Steps that reach from one bound to the other, and a quarter more.
    step = 2.5 * distance / _PGD_STEPS
    for _ in range(_PGD_STEPS):
        moved = _uphill(trained, moved, labels, _within(pixels, distance), step)
    return moved


def _within(pixels: Images, distance: float) -> tuple[Images, Images]:
    """Returns the least and the most that each pixel may become."""
    return np.maximum(pixels - distance, 0), np.minimum(pixels + distance, 1)


def _uphill(
    trained: Trained,
    pixels: Images,
    labels: NDArray[np.uint8],
    bounds: tuple[Images, Images],
    step: float,
) -> Images:
    """Returns `pixels` a step up the loss, as far as the bounds allow."""
    moved = np.empty_like(pixels)
    for at in _batches(len(pixels)):
        inputs = tf.constant(pixels[at])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels[at].astype(np.int32), trained.call(trained.from_pixels, inputs)
            )
        signs = np.sign(tape.gradient(losses, inputs))
        moved[at] = np.clip(pixels[at] + step * signs, *(bound[at] for bound in bounds))
    return moved


def _classes(trained: Trained, pixels: Images) -> NDArray[np.int64]:
    return np.concatenate(
        [
            np.argmax(trained.call(trained.from_pixels, pixels[at]), axis=1)
            for at in _batches(len(pixels))
        ]
    )


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]


def _by_path(trained: Trained) -> dict[str, NDArray[np.float32]]:
    paths = [variable.path for variable in trained.model.weights]
    return dict(zip(paths, trained.weights, strict=True))


PROBES: dict[str, Probe] = {
    "dead_units": Probe(("dead_units",), dead_units),
    "undone": Probe(("identity_error",), undone),
    "robustness": Probe(
        tuple(
            f"{name}_{size:g}_accuracy"
            for name, sizes in (("noise", NOISES), ("fgsm", DISTANCES), ("pgd", DISTANCES))
            for size in sizes
        ),
        robustness,
    ),
}
