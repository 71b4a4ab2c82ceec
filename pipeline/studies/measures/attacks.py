"""Adversarial images: attacks that know the network's gradients."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Images = NDArray[np.floating]

_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
_AT_ONCE = 2_000
_PGD_STEPS = 20


class Attacked:
    """A trained classifier as an attack sees it.

    In all methods, pixels are [images, height, width] in [0, 1], and labels [images].
    """

    def __init__(self, model: keras.Model, weights: Sequence[NDArray[np.float32]]) -> None:
        """Takes a model, which runs may share, and the weights of one run."""
        self._weights = list(weights)
        self._model, self._from_pixels = model, _from_pixels(model)

    def accuracy(self, pixels: Images, labels: NDArray[np.uint8]) -> float:
        """Returns the share (0 to 1) of images that are classified correctly."""
        correct = [
            _classes(self._from_pixels, self._weights, pixels[at].astype(np.float32)) == labels[at]
            for at in _batches(len(pixels))
        ]
        return float(np.mean(np.concatenate(correct)))

    def fgsm(self, pixels: Images, labels: NDArray[np.uint8], distance: float) -> Images:
        """Returns images by the fast gradient sign method (Goodfellow et al. 2015, section 4).

        Args:
            pixels: where the attack starts.
            labels: the true classes, whose loss the attack increases.
            distance: how far each pixel moves, as long as it stays in [0, 1].
        """
        return self._climb((pixels, pixels, labels), distance, distance, steps=1)

    def pgd(
        self, pixels: Images, labels: NDArray[np.uint8], distance: float, start: Images
    ) -> Images:
        """Returns images by projected gradient descent in 20 steps (Madry et al. 2018).

        Args:
            pixels: where the attack stays near.
            labels: the true classes, whose loss the attack increases.
            distance: how far each pixel moves at most.
            start: [images, height, width] in [-1, 1]: where each pixel begins between its bounds.
        """
        first = np.clip(pixels + distance * start, 0, 1)
        # The steps add up to the way from one bound to the other, and a quarter more.
        step = 2.5 * distance / _PGD_STEPS
        return self._climb((first, pixels, labels), distance, step, steps=_PGD_STEPS)

    def _climb(
        self, arrays: Sequence[NDArray[Any]], distance: float, step: float, *, steps: int
    ) -> Images:
        """Returns images some steps up the loss; `arrays` are start images, pixels and labels."""
        sizes = tf.constant([distance, step])
        moved = []
        for at in _batches(len(arrays[0])):
            first, pixels = (array[at].astype(np.float32) for array in arrays[:2])
            batch = first, pixels, arrays[2][at].astype(np.int32)
            moved.append(_climbed(self._from_pixels, self._weights, batch, sizes, steps=steps))
        return np.concatenate(moved)


@_compiled
def _climbed(
    from_pixels: _FromPixels,
    weights: list[tf.Tensor],
    batch: tuple[tf.Tensor, ...],
    sizes: tf.Tensor,
    *,
    steps: int,
) -> tf.Tensor:
    (first, pixels, labels), (distance, step) = batch, tf.unstack(sizes)
    low, high = tf.maximum(pixels - distance, 0), tf.minimum(pixels + distance, 1)

    def climb(i: tf.Tensor, moved: tf.Tensor) -> tuple[Any, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(moved)
            logits = from_pixels(weights, moved)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        signs = tf.sign(tape.gradient(losses, moved))
        return i + 1, tf.clip_by_value(moved + step * signs, low, high)

    return tf.while_loop(lambda i, _: i < steps, climb, (0, first))[1]


@_compiled
def _classes(from_pixels: _FromPixels, weights: list[tf.Tensor], pixels: tf.Tensor) -> tf.Tensor:
    return tf.argmax(from_pixels(weights, pixels), axis=1)


class _FromPixels:
    """The part of a model after the scaling of raw images, in inference mode."""

    def __init__(self, model: keras.Model) -> None:
        self._variables = model.weights
        self._part = keras.Model(model.get_layer("scaled").output, model.output)

    def __call__(self, weights: Sequence[Any], pixels: Any) -> Any:
        with keras.StatelessScope(zip(self._variables, weights, strict=True)):
            return self._part(pixels, training=False)


@functools.lru_cache(maxsize=8)
def _from_pixels(model: keras.Model) -> _FromPixels:
    """Returns the same part each time for a model: compiled functions belong to it."""
    return _FromPixels(model)


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE))
