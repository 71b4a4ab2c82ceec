"""What studies measure of a trained network beside its scores: to add a probe, add a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.core.examples import Examples

_AT_ONCE = 2_000


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
            self._call(part, images[start : start + _AT_ONCE])
            for start in range(0, len(images), _AT_ONCE)
        ]
        return [np.concatenate(outputs) for outputs in zip(*batches, strict=True)]

    def _call(self, part: keras.Model, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        with keras.StatelessScope(zip(self.model.weights, self.weights, strict=True)):
            return [
                np.asarray(output) for output in keras.tree.flatten(part(images, training=False))
            ]


Probe = Callable[[Trained, Examples], float]


def dead_units(trained: Trained, test: Examples) -> float:
    """Returns the share (0 to 1) of hidden units that are 0 or less for every test image."""
    hidden = trained.outputs("activation_", test.images)
    return float(np.mean(np.concatenate([(units <= 0).all(axis=0) for units in hidden])))


PROBES: dict[str, Probe] = {"dead_units": dead_units}
