"""Probes: what studies measure of a network in addition to its scores.

To add a probe, add a function and its entry in `PROBES`. A probe takes a network at some stage of
training and returns the measures that its entry lists: a number each, or one number per unit, whose
mean a study shows.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.errors import ParamsError
from pipeline.evaluation.scores import BESIDES, measures
from pipeline.examples.dataset import Dataset
from pipeline.params import Training
from pipeline.studies.measures.attacks import Attacked
from pipeline.studies.measures.depth import growth, stable_rank
from pipeline.studies.measures.gradients import Gradients, cosine, difference, norm, stepped
from pipeline.training.names import is_hidden_kernel, is_kernel

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
# A gamma closer to 0 than this has switched its unit off.
_SMALL = 0.01
_ORDERS = 3
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
        return self._in_batches((layer, "output"), images)

    def inputs(self, layer: str, images: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Returns what these layers are given."""
        return self._in_batches((layer, "input"), images)

    def outputs_in_training(self, layer: str, batch: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Returns the outputs of these layers, in training mode, for one batch."""
        return self._of_batch((layer, "output"), batch, training=True)

    def inputs_in_training(self, layer: str, batch: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Returns what these layers are given, in training mode, for one batch."""
        return self._of_batch((layer, "input"), batch, training=True)

    @property
    def by_path(self) -> dict[str, NDArray[np.float32]]:
        """The weights of this run, by their paths, in the order of `weights`."""
        return dict(zip([each.path for each in self.model.weights], self.weights, strict=True))

    def with_weights(self, weights: Sequence[NDArray[np.float32]]) -> Trained:
        """Returns the network with other weights."""
        return dataclasses.replace(self, weights=weights)

    def accuracy(self) -> float:
        """Returns the share of test images that are recognised."""
        (logits,) = self.outputs("logits", self.dataset.test.inputs)
        return float(np.mean(logits.argmax(axis=1) == self.dataset.test.labels))

    def _in_batches(self, ends: tuple[str, str], images: NDArray[Any]) -> list[NDArray[np.float32]]:
        batches = [self._of_batch(ends, images[at], training=False) for at in _batches(len(images))]
        return [np.concatenate(of_layer) for of_layer in zip(*batches, strict=True)]

    def _of_batch(
        self, ends: tuple[str, str], images: NDArray[Any], *, training: bool
    ) -> list[NDArray[np.float32]]:
        start, _ = ends
        if not any(layer.name.startswith(start) for layer in self.model.layers):
            return []
        found = _values(self.model, ends, list(self.weights), images, training=training)
        return [values.numpy() for values in found]


class Need(NamedTuple):
    """What a probe needs: in words, and whether a network and its data have it."""

    words: str
    is_met: Callable[[keras.Model, Dataset], bool]


@dataclass(frozen=True)
class Probe:
    """The names of some measures, the function that returns them, and what it needs, if anything.

    Of a network that lacks it, the function would fail, or measure something else.
    """

    measures: tuple[str, ...]
    measure: Callable[[Trained], Measured]
    needs: Need | None = None


def dead_units(trained: Trained) -> Measured:
    """Returns the share (0 to 1) of hidden units that are 0 or less for every test image.

    Each place of a channel is a unit.
    """
    hidden = trained.outputs("activation_", trained.dataset.test.inputs)
    dead = np.concatenate([(units <= 0).all(axis=0).ravel() for units in hidden])
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
    layers = [layer for layer in trained.model.layers if layer.name.startswith("norm_")]
    inputs = trained.inputs("norm_", trained.dataset.test.inputs)
    weights = trained.by_path
    worst = 0.0
    for layer, before in zip(layers, inputs, strict=True):
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
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


def gradient_growth(trained: Trained) -> Measured:
    """Returns how gradients grow from a hidden layer to the one below it, in training mode.

    It is the factor of the squared norm of a kernel's gradient (Yang et al. 2019, theorem 8),
    averaged over batches, among the hidden layers but the first, whose kernel has another shape.
    """
    at = Gradients(trained.model, trained.weights)
    between = at.kernels[1:-1]
    found = []
    for batch in _training_batches(trained):
        _, gradients = at(at.weights, *batch)
        found.append(growth([gradients[kernel] for kernel in between]))
    return {"gradient_growth": float(np.mean(found))}


def rank(trained: Trained) -> Measured:
    """Returns the stable rank of what the last hidden layer makes of a batch, in training mode.

    It is averaged over batches.
    """
    found = [
        stable_rank(trained.outputs_in_training("activation_", images)[-1])
        for images, _ in _training_batches(trained)
    ]
    return {"stable_rank": float(np.mean(found))}


def small_gammas(trained: Trained) -> Measured:
    """Returns the share (0 to 1) of gammas that are closer to 0 than 0.01; nan without any."""
    gammas = [weights for path, weights in trained.by_path.items() if path.endswith("/gamma")]
    small = np.abs(np.concatenate(gammas)) < _SMALL if gammas else np.array([np.nan])
    return {"small_gammas": float(np.mean(small))}


def kernel_norms(trained: Trained) -> Measured:
    """Returns the squared norm of hidden kernels, and the rate over it; averages over layers.

    The second is the effective learning rate where the loss does not depend on the kernel's norm
    (van Laarhoven 2017; Hoffer et al. 2018).
    """
    rate = trained.training.optimizer.learning_rate
    kernels = [kernel for path, kernel in trained.by_path.items() if is_hidden_kernel(path)]
    squared = np.array([norm([kernel]) ** 2 for kernel in kernels])
    # Infinite of a kernel of zeros.
    with np.errstate(divide="ignore"):
        effective = rate / squared
    return {"squared_norm": float(np.mean(squared)), "effective_rate": float(np.mean(effective))}


def variance_shift(trained: Trained) -> Measured:
    """Returns how far variances in inference are from the moving ones.

    For each unit of a batch normalisation: the variance of its input over the test images, in
    inference mode, and its moving variance, the larger over the smaller (Li et al. 2019, figure 1);
    averaged over units, then layers. Units that never change are left out; nan without any.
    """
    weights, by_layer = trained.by_path, []
    for place, before in enumerate(trained.inputs("norm_", trained.dataset.test.inputs)):
        moving = weights.get(f"norm_{place}/moving_variance", np.array([], np.float32))
        found = before.reshape(-1, before.shape[-1]).var(axis=0, dtype=np.float64)[: len(moving)]
        varies = (found > 0) & (moving > 0)
        ratio = found[varies] / moving[varies]
        by_layer.append(np.maximum(ratio, 1 / ratio).mean() if len(ratio) else np.nan)
    return {"variance_ratio": float(np.mean(by_layer or np.nan))}


def whole_set_statistics(trained: Trained) -> Measured:
    """Returns the test accuracy with statistics of the whole training set, and what they gain.

    In place of moving averages, batch normalisations get the mean of their batches' means, and the
    variance that these batches have together, with the weights as they are (Wu & Johnson 2021,
    section 3). Batches are as large as in training.
    """
    images, size = trained.dataset.train.inputs, trained.training.batch_size
    sums: list[NDArray[np.float64]] = []
    starts = range(0, len(images) - size + 1, size)
    for start in starts:
        batches = trained.inputs_in_training("norm_", images[start : start + size])
        units = [before.reshape(-1, before.shape[-1]).astype(np.float64) for before in batches]
        moments = [np.stack([each.mean(axis=0), (each**2).mean(axis=0)]) for each in units]
        sums = list(map(np.add, sums, moments)) if sums else moments
    weights = trained.by_path
    for place, total in enumerate(sums):
        mean, squared = total / len(starts)
        for name, value in (("moving_mean", mean), ("moving_variance", squared - mean**2)):
            if f"norm_{place}/{name}" in weights:
                weights[f"norm_{place}/{name}"] = value.astype(np.float32)
    with_whole_set = trained.with_weights(list(weights.values())).accuracy()
    return {
        "whole_set_accuracy": with_whole_set,
        "whole_set_gain": with_whole_set - trained.accuracy(),
    }


def switched_off(trained: Trained) -> Measured:
    """Returns the accuracy on test images, averaged while more and more hidden units are 0.

    Units of all hidden layers are switched off in a random order, a tenth at a time, from none to
    all (Morcos et al. 2018, section 2.2); `_ORDERS` orders are averaged, the same for every run.
    `ablation_area` is the area under that curve, as a share of the accuracy with all units. It is
    for dense layers alone, one after the other.
    """
    weights = trained.by_path
    # A unit is 0 for the next layer if its row of that layer's kernel is.
    after = [path for path in weights if is_kernel(path)][1:]
    units = [len(weights[path]) for path in after]
    curve = []
    for order in range(_ORDERS):
        at = np.random.default_rng(order).permutation(sum(units))
        for tenths in range(11):
            on = at >= round(tenths / 10 * sum(units))
            by_layer = zip(after, np.split(on, np.cumsum(units)[:-1]), strict=True)
            cut = {
                path: weights[path] * of_layer[:, None].astype(np.float32)
                for path, of_layer in by_layer
            }
            curve.append(trained.with_weights(list((weights | cut).values())).accuracy())
    by_tenths = np.mean(np.reshape(curve, (_ORDERS, 11)), axis=0)
    area = (by_tenths[0] / 2 + by_tenths[1:-1].sum() + by_tenths[-1] / 2) / 10
    return {"ablation_area": float(area / by_tenths[0])}


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
def _values(
    model: keras.Model,
    ends: tuple[str, str],
    weights: list[tf.Tensor],
    images: tf.Tensor,
    *,
    training: bool,
) -> list[tf.Tensor]:
    """Returns the "input" or "output", by `ends`, of all layers whose names begin as it says."""
    start, end = ends
    values = [getattr(each, end) for each in model.layers if each.name.startswith(start)]
    with keras.StatelessScope(zip(model.weights, weights, strict=True)):
        return keras.tree.flatten(keras.Model(model.input, values)(images, training=training))


def _training_batches(trained: Trained) -> list[tuple[NDArray[Any], NDArray[np.uint8]]]:
    examples, size = trained.dataset.train, trained.training.batch_size
    return [
        (examples.inputs[start : start + size], examples.labels[start : start + size])
        for start in range(0, _BATCHES * size, size)
    ]


def _batches(count: int) -> list[slice]:
    return [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]


def expect_measurable(probes: Sequence[str], model: keras.Model, dataset: Dataset) -> None:
    """Refuses a network, or its data, that lacks what one of the probes needs.

    Raises:
        ParamsError: naming the probe.
    """
    for name in probes:
        needs = PROBES[name].needs
        if needs is not None and not needs.is_met(model, dataset):
            raise ParamsError(
                f"the probe `{name}` is for {needs.words}: remove it from the study's `probes` or "
                "`course`, or choose another network"
            )


def _is_chain_of_dense(model: keras.Model, _: Dataset) -> bool:
    joins = any(isinstance(layer.input, list) and len(layer.input) > 1 for layer in model.layers)
    return not joins and all(len(shape) == 2 for shape in _kernel_shapes(model))


def _has_layers_of_one_width(model: keras.Model, _: Dataset) -> bool:
    between = _kernel_shapes(model)[1:-1]
    return len(between) > 1 and len(set(between)) == 1


def _kernel_shapes(model: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in model.weights if is_kernel(weight.path)]


_ACTIVATIONS = Need(
    "networks whose activations are layers of their own, `keras.layers.Activation`",
    lambda model, _: any(layer.name.startswith("activation_") for layer in model.layers),
)
_NORMALIZED = Need(
    "networks that call `normalize`",
    lambda model, _: any(layer.name == "norm_0" for layer in model.layers),
)
_IMAGES = Need("images", lambda _, dataset: dataset.has_images)
_CHAIN_OF_DENSE = Need("dense layers that follow one another", _is_chain_of_dense)
_ONE_WIDTH = Need("three or more hidden layers of one width", _has_layers_of_one_width)

PROBES: dict[str, Probe] = {
    "test_scores": Probe(tuple(f"test_{name}" for name in BESIDES), test_scores),
    "dead_units": Probe(("dead_units",), dead_units, _ACTIVATIONS),
    "undone": Probe(("identity_error",), undone),
    "percentiles": Probe(tuple(f"percentile_{at}" for at in PERCENTILES), percentiles, _NORMALIZED),
    "covariate_shift": Probe(_SHIFTS, covariate_shift),
    "landscape": Probe(_LANDSCAPE, landscape),
    "gradient_growth": Probe(("gradient_growth",), gradient_growth, _ONE_WIDTH),
    "rank": Probe(("stable_rank",), rank, _ACTIVATIONS),
    "small_gammas": Probe(("small_gammas",), small_gammas),
    "kernel_norms": Probe(("squared_norm", "effective_rate"), kernel_norms),
    "variance_shift": Probe(("variance_ratio",), variance_shift),
    "whole_set_statistics": Probe(("whole_set_accuracy", "whole_set_gain"), whole_set_statistics),
    "switched_off": Probe(("ablation_area",), switched_off, _CHAIN_OF_DENSE),
    "robustness": Probe(
        tuple(
            f"{name}_{size:g}_accuracy"
            for name, sizes in (("noise", NOISES), ("fgsm", DISTANCES), ("pgd", DISTANCES))
            for size in sizes
        ),
        robustness,
        _IMAGES,
    ),
}
