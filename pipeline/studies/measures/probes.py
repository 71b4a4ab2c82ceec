"""Probes: what studies measure of a network in addition to its scores.

To add a probe, add a function and its entry in `PROBES`. A probe takes a network at some stage of
training and returns the measures that its entry lists: a number each, or one number per unit, whose
mean a study shows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.evaluation.scores import BESIDES, measures
from pipeline.examples.dataset import Dataset
from pipeline.params import Training
from pipeline.studies.measures.attacks import Attacked
from pipeline.studies.measures.gradients import Gradients, cosine, difference, norm, stepped

Measured = Mapping[str, float | NDArray[np.floating]]

# Uncompiled operations choose their code by the processor.
_compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
_AT_ONCE = 2_000
_BRIGHTEST = 255
# The scale of Gaussian noise and the distance of attacks, on pixels from 0 to 1.
NOISES, DISTANCES = (0.1, 0.2, 0.4), (0.02, 0.05, 0.1)
PERCENTILES = (15, 50, 85)
# Gradients are taken on this many batches, the first of the training set.
_BATCHES = 10
# Where the landscape is sampled along the gradient, in steps (Santurkar et al. 2018, fig. 4).
_REACH = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_SHIFTS = ("hidden_shift", "output_shift", "hidden_cosine", "output_cosine")
_LANDSCAPE = ("loss_range", "gradient_change", "effective_beta")


@dataclass(frozen=True, eq=False)
class Trained:
    """A network at some stage of training.

    Attributes:
        model: shared by many runs.
        weights: those of this run, in the order of `model.get_weights()`.
        dataset: that of its training and test.
        training: its training parameters.
    """

    model: keras.Model
    weights: Sequence[NDArray[np.float32]]
    dataset: Dataset
    training: Training

    def outputs(self, layer: str, images: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Returns the outputs [images, units], in inference mode, of layers named `layer…`."""
        weights = list(self.weights)
        batches = [_outputs(self.model, layer, weights, images[at]) for at in _batches(len(images))]
        return [np.concatenate(of_layer) for of_layer in zip(*batches, strict=True)]


@dataclass(frozen=True)
class Probe:
    """The names of some measures, and the function that returns them."""

    measures: tuple[str, ...]
    measure: Callable[[Trained], Measured]


def dead_units(trained: Trained) -> Measured:
    """Returns the share (0 to 1) of hidden units that are 0 or less for every test image."""
    hidden = trained.outputs("activation_", trained.dataset.test.inputs)
    dead = np.concatenate([(units <= 0).all(axis=0) for units in hidden])
    return {"dead_units": float(np.mean(dead))}


def test_scores(trained: Trained) -> Measured:
    """Returns the test scores besides loss and accuracy; see `evaluation.scores.measures`."""
    test = trained.dataset.test
    (logits,) = trained.outputs("logits", test.inputs)
    found = measures(test.labels, _softmax(logits).numpy())
    return {f"test_{name}": value for name, value in found.items()}


def undone(trained: Trained) -> Measured:
    """Returns how far batch normalisation is from the identity when gamma and beta undo it.

    With gamma = sqrt(moving variance + epsilon) and beta = moving mean, a layer should return its
    input (Ioffe & Szegedy 2015, section 3). The result is the largest difference over units and
    test images, as a share of the largest input; 0 for a network without such layers.
    """
    layers = [
        layer
        for layer in trained.model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    inputs = trained.outputs("dense_", trained.dataset.test.inputs)
    weights = _by_path(trained)
    worst = 0.0
    for layer, before in zip(layers, inputs, strict=False):
        mean, variance = (
            weights[f"{layer.path}/{name}"] for name in ("moving_mean", "moving_variance")
        )
        gamma, beta = np.sqrt(variance + np.float32(layer.epsilon)), mean
        after = _normalized(before, (mean, variance, beta, gamma), epsilon=layer.epsilon).numpy()
        worst = max(worst, float(np.abs(after - before).max() / np.abs(before).max()))
    return {"identity_error": worst}


def percentiles(trained: Trained) -> Measured:
    """Returns percentiles of the input of each unit's activation in the last hidden layer.

    They are over the test images, after normalisation (Ioffe & Szegedy 2015, figure 1b and c).
    """
    inputs = trained.outputs("norm_", trained.dataset.test.inputs)[-1]
    by_unit = np.percentile(inputs, PERCENTILES, axis=0)
    return {f"percentile_{at}": units for at, units in zip(PERCENTILES, by_unit, strict=True)}


def covariate_shift(trained: Trained) -> Measured:
    """Returns how a layer's gradient changes when the layers below it take their step.

    G is the gradient of the loss in the layer's kernel; G' is the same gradient on the same batch
    after a step of gradient descent in all layers below (Santurkar et al. 2018, definition 2.1).
    The measures are the 2-norm of their difference and their cosine, averaged over batches, for the
    output layer and for all hidden layers but the first, which has no layer below (nan if there is
    no other).
    """
    at, rate = Gradients(trained.model, trained.weights), trained.training.optimizer.learning_rate
    by_measure: dict[str, list[float]] = {name: [] for name in _SHIFTS}
    for batch in _training_batches(trained):
        _, before = at(at.weights, *batch)
        below = stepped(at.weights, before, rate)
        for kernel in at.kernels[1:]:
            _, after = at(below[:kernel] + at.weights[kernel:], *batch)
            where = "output" if kernel == at.kernels[-1] else "hidden"
            by_measure[f"{where}_shift"].append(difference([after[kernel]], [before[kernel]]))
            by_measure[f"{where}_cosine"].append(cosine(after[kernel], before[kernel]))
    return {name: float(np.mean(values or np.nan)) for name, values in by_measure.items()}


def landscape(trained: Trained) -> Measured:
    """Returns how loss and gradient change along the gradient, half a step to four steps away.

    `loss_range` is the difference between the largest and the smallest loss, `gradient_change` the
    largest 2-norm of a change of the gradient in all weights, and `effective_beta` the largest such
    change per distance moved (Santurkar et al. 2018, section 3.1 and figure 4). All are averaged
    over batches.
    """
    at, rate = Gradients(trained.model, trained.weights), trained.training.optimizer.learning_rate
    by_batch = []
    for batch in _training_batches(trained):
        _, here = at(at.weights, *batch)
        losses, changes = [], []
        for far in _REACH:
            loss, gradients = at(stepped(at.weights, here, far * rate), *batch)
            losses.append(loss)
            changes.append(difference(gradients, here))
        distances = np.multiply(_REACH, rate * norm(here))
        by_batch.append((max(losses) - min(losses), max(changes), max(changes / distances)))
    return dict(zip(_LANDSCAPE, np.mean(by_batch, axis=0).tolist(), strict=True))


def robustness(trained: Trained) -> Measured:
    """Returns test accuracies on images made harder by noise and by two attacks.

    The noise is Gaussian; the attacks are `fgsm` and `pgd`. Every run gets the same random draws.
    """
    test = trained.dataset.test
    pixels, labels = test.inputs / np.float32(_BRIGHTEST), test.labels
    attacked = Attacked(trained.model, trained.weights)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(pixels.shape, np.float32)
    start = rng.uniform(-1, 1, pixels.shape).astype(np.float32)
    harder = {
        **{f"noise_{scale:g}": np.clip(pixels + scale * noise, 0, 1) for scale in NOISES},
        **{f"fgsm_{far:g}": attacked.fgsm(pixels, labels, far) for far in DISTANCES},
        **{f"pgd_{far:g}": attacked.pgd(pixels, labels, far, start) for far in DISTANCES},
    }
    return {
        f"{name}_accuracy": attacked.accuracy(images, labels) for name, images in harder.items()
    }


@_compiled
def _softmax(logits: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(logits)


@_compiled
def _normalized(
    before: tf.Tensor, statistics: tuple[tf.Tensor, ...], *, epsilon: float
) -> tf.Tensor:
    mean, variance, beta, gamma = statistics
    return keras.ops.batch_normalization(
        before, mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=epsilon
    )


@_compiled
def _outputs(
    model: keras.Model, layer: str, weights: list[tf.Tensor], images: tf.Tensor
) -> list[tf.Tensor]:
    outputs = [each.output for each in model.layers if each.name.startswith(layer)]
    with keras.StatelessScope(zip(model.weights, weights, strict=True)):
        return keras.tree.flatten(keras.Model(model.input, outputs)(images, training=False))


def _training_batches(trained: Trained) -> list[tuple[NDArray[Any], NDArray[np.uint8]]]:
    examples, size = trained.dataset.train, trained.training.batch_size
    return [
        (examples.inputs[start : start + size], examples.labels[start : start + size])
        for start in range(0, _BATCHES * size, size)
    ]


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]


def _by_path(trained: Trained) -> dict[str, NDArray[np.float32]]:
    paths = [variable.path for variable in trained.model.weights]
    return dict(zip(paths, trained.weights, strict=True))


PROBES: dict[str, Probe] = {
    "test_scores": Probe(tuple(f"test_{name}" for name in BESIDES), test_scores),
    "dead_units": Probe(("dead_units",), dead_units),
    "undone": Probe(("identity_error",), undone),
    "percentiles": Probe(tuple(f"percentile_{at}" for at in PERCENTILES), percentiles),
    "covariate_shift": Probe(_SHIFTS, covariate_shift),
    "landscape": Probe(_LANDSCAPE, landscape),
    "robustness": Probe(
        tuple(
            f"{name}_{size:g}_accuracy"
            for name, sizes in (("noise", NOISES), ("fgsm", DISTANCES), ("pgd", DISTANCES))
            for size in sizes
        ),
        robustness,
    ),
}
