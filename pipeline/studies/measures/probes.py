"""What studies measure of a network beside its scores: to add a probe, add a function.

A probe takes a network, trained so far, and gives what its name in `PROBES` promises: of each
measure a number, or one for each unit, of which a study shows the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.examples.dataset import Dataset
from pipeline.params import Training
from pipeline.studies.measures.attacks import Attacked
from pipeline.studies.measures.gradients import Gradients, cosine, difference, norm, stepped

Measured = Mapping[str, float | NDArray[np.floating]]

_AT_ONCE = 2_000
_BRIGHTEST = 255
# Of Gaussian noise and of attacks, on pixels from 0 to 1.
NOISES, DISTANCES = (0.1, 0.2, 0.4), (0.02, 0.05, 0.1)
PERCENTILES = (15, 50, 85)
# Gradients are those of so many batches, the first of the training set.
_BATCHES = 10
# How far along the gradient the landscape is looked at, in steps (Santurkar et al. 2018, fig. 4).
_REACH = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_SHIFTS = ("hidden_shift", "output_shift", "hidden_cosine", "output_cosine")
_LANDSCAPE = ("loss_range", "gradient_change", "effective_beta")


@dataclass(frozen=True, eq=False)
class Trained:
    """A network, trained so far.

    Attributes:
        model: which many runs share.
        weights: of this run, in the order of `model.get_weights()`.
        dataset: that it is trained and tested on.
        training: how it is trained.
    """

    model: keras.Model
    weights: Sequence[NDArray[np.float32]]
    dataset: Dataset
    training: Training

    def outputs(self, layer: str, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Returns, in inference mode, [images, units] of each layer whose name begins so."""
        layers = [one for one in self.model.layers if one.name.startswith(layer)]
        part = keras.Model(self.model.input, [one.output for one in layers])
        with keras.StatelessScope(zip(self.model.weights, self.weights, strict=True)):
            batches = [
                [np.asarray(output) for output in keras.tree.flatten(part(images[at]))]
                for at in _batches(len(images))
            ]
        return [np.concatenate(outputs) for outputs in zip(*batches, strict=True)]


@dataclass(frozen=True)
class Probe:
    """What is measured, by name, and the function that does it."""

    measures: tuple[str, ...]
    measure: Callable[[Trained], Measured]


def dead_units(trained: Trained) -> Measured:
    """Returns the share (0 to 1) of hidden units that are 0 or less for every test image."""
    hidden = trained.outputs("activation_", trained.dataset.test.images)
    dead = np.concatenate([(units <= 0).all(axis=0) for units in hidden])
    return {"dead_units": float(np.mean(dead))}


def undone(trained: Trained) -> Measured:
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
    inputs = trained.outputs("dense_", trained.dataset.test.images)
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


def percentiles(trained: Trained) -> Measured:
    """Returns percentiles of what each unit of the last hidden layer makes its activation from.

    Over the test images, after normalisation (Ioffe & Szegedy 2015, figure 1b and c).
    """
    inputs = trained.outputs("norm_", trained.dataset.test.images)[-1]
    found = np.percentile(inputs, PERCENTILES, axis=0)
    return {f"percentile_{at}": one for at, one in zip(PERCENTILES, found, strict=True)}


def covariate_shift(trained: Trained) -> Measured:
    """Returns how a layer's gradient changes when the layers below it take their step.

    G is the gradient of the loss in the layer's kernel, G' the same after a step of gradient
    descent of all layers below, on the same batch (Santurkar et al. 2018, definition 2.1): the
    distance of the two in the 2-norm, and the cosine between them, as means over batches; of the
    output layer, and of all hidden layers but the first, which has none below (nan if there is no
    other).
    """
    at, rate = Gradients(trained.model, trained.weights), trained.training.optimizer.learning_rate
    found: dict[str, list[float]] = {name: [] for name in _SHIFTS}
    for batch in _training_batches(trained):
        _, before = at(at.weights, *batch)
        below = stepped(at.weights, before, rate)
        for kernel in at.kernels[1:]:
            _, after = at(below[:kernel] + at.weights[kernel:], *batch)
            where = "output" if kernel == at.kernels[-1] else "hidden"
            found[f"{where}_shift"].append(difference([after[kernel]], [before[kernel]]))
            found[f"{where}_cosine"].append(cosine(after[kernel], before[kernel]))
    return {name: float(np.mean(values or np.nan)) for name, values in found.items()}


def landscape(trained: Trained) -> Measured:
    """Returns how loss and gradient change along the gradient, half a step to four steps away.

    `loss_range` is the distance of the largest from the smallest loss, `gradient_change` the
    largest 2-norm by which the gradient in all weights changes, `effective_beta` the largest such
    change for the distance moved (Santurkar et al. 2018, section 3.1 and figure 4); means over
    batches.
    """
    at, rate = Gradients(trained.model, trained.weights), trained.training.optimizer.learning_rate
    found = []
    for batch in _training_batches(trained):
        _, here = at(at.weights, *batch)
        losses, changes = [], []
        for far in _REACH:
            loss, there = at(stepped(at.weights, here, far * rate), *batch)
            losses.append(loss)
            changes.append(difference(there, here))
        distances = np.multiply(_REACH, rate * norm(here))
        found.append((max(losses) - min(losses), max(changes), max(changes / distances)))
    return dict(zip(_LANDSCAPE, np.mean(found, axis=0).tolist(), strict=True))


def robustness(trained: Trained) -> Measured:
    """Returns test accuracies on images that were made harder, by noise and by two attacks.

    The noise is Gaussian; the attacks are `fgsm` and `pgd`. Chance is the same for every run.
    """
    test = trained.dataset.test
    pixels, labels = test.images / np.float32(_BRIGHTEST), test.labels
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


def _training_batches(trained: Trained) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    examples, size = trained.dataset.train, trained.training.batch_size
    return [
        (examples.images[start : start + size], examples.labels[start : start + size])
        for start in range(0, _BATCHES * size, size)
    ]


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]


def _by_path(trained: Trained) -> dict[str, NDArray[np.float32]]:
    paths = [variable.path for variable in trained.model.weights]
    return dict(zip(paths, trained.weights, strict=True))


PROBES: dict[str, Probe] = {
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
