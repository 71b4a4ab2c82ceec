"""The normalisations a variant may choose, interchangeable: to add one, add a class here.

Keras is imported by the methods that need it, so that params.yaml is checked without TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipeline.params import Fraction, Normalization, Positive

if TYPE_CHECKING:
    import keras


class NoNorm(Normalization):
    """Leaves the activations' inputs as they are."""

    kind: ClassVar[str] = "none"

    def layer(self, name: str) -> keras.layers.Layer:
        """The identity."""
        import keras

        return keras.layers.Identity(name=name)


class BatchNorm(Normalization):
    """Normalises each unit over the batch (Ioffe & Szegedy 2015, algorithm 1).

    Inference uses moving averages: `moving = momentum * moving + (1 - momentum) * batch`. The
    moving variance averages the biased batch variance, where the paper has the unbiased one.
    """

    kind: ClassVar[str] = "batch"
    momentum: Fraction
    epsilon: Positive
    center: bool
    scale: bool

    def layer(self, name: str) -> keras.layers.Layer:
        """A BatchNormalization over the last axis."""
        import keras

        return keras.layers.BatchNormalization(**self.model_dump(), name=name)


class LayerNorm(Normalization):
    """Normalises each example over its units (Ba et al. 2016, equation 4)."""

    kind: ClassVar[str] = "layer"
    epsilon: Positive
    center: bool
    scale: bool

    def layer(self, name: str) -> keras.layers.Layer:
        """A LayerNormalization over the last axis."""
        import keras

        return keras.layers.LayerNormalization(**self.model_dump(), name=name)


NORMALIZATIONS: dict[str, type[Normalization]] = {
    cls.kind: cls for cls in (NoNorm, BatchNorm, LayerNorm)
}
