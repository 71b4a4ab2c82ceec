"""The normalisations a variant may choose. They are interchangeable: to add one, add a class here.

Only the methods that need Keras import it, so that params.yaml is checked without TensorFlow.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from pipeline.params import Fraction, Normalization, Positive

if TYPE_CHECKING:
    import keras

AtLeastZero = Annotated[float, Field(ge=0)]
AtLeastOne = Annotated[float, Field(ge=1)]


class NoNorm(Normalization):
    """Leaves the inputs of the activations unchanged."""

    kind: ClassVar[str] = "none"

    def layer(self, name: str) -> keras.layers.Layer:
        """The identity."""
        import keras

        return keras.layers.Identity(name=name)


class BatchNorm(Normalization):
    """Normalises each unit over the batch (Ioffe & Szegedy 2015, algorithm 1).

    Inference uses moving averages: `moving = momentum * moving + (1 - momentum) * batch`. The
    moving variance averages the biased batch variance; the paper uses the unbiased one.
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

    @property
    def at_inference(self) -> BatchNorm:
        """Batch normalisation with the moving statistics, whatever a subclass does in training."""
        return BatchNorm(**self.model_dump(include=set(BatchNorm.model_fields)))


class BatchRenorm(BatchNorm):
    """Batch normalisation, corrected by the moving statistics (Ioffe 2017, algorithm 1).

    Let mu_B be the batch's mean and sigma_B = sqrt(variance + epsilon) its deviation, and let mu
    and sigma be the moving ones before the step. Then a unit becomes

        gamma * ((x - mu_B) / sigma_B * r + d) + beta
        r = sigma_B / sigma, clipped to [1 / r_max, r_max]
        d = (mu_B - mu) / sigma, clipped to [-d_max, d_max]

    where gradients treat r and d as constants. With `r_max` 1 and `d_max` 0 this is `batch`. The
    paper relaxes both limits during training, from 1 and 0 to 3 and 5; here they are fixed. The
    paper averages the standard deviation; here the variance is averaged, as in `batch`. Inference
    is that of `batch`.
    """

    kind: ClassVar[str] = "batch_renorm"
    r_max: AtLeastOne
    d_max: AtLeastZero

    def layer(self, name: str) -> keras.layers.Layer:
        """A BatchNormalization over the last axis that corrects itself in training."""
        return _batch_renormalization()(**self.model_dump(), name=name)


class NoisyBatch(BatchNorm):
    """Batch normalisation, then noise that keeps shifting (Santurkar et al. 2018, algorithm 1).

    At each step of training, the output a_ij of unit j for example i, after gamma and beta, becomes
    s_ij * a_ij + m_ij. The distributions of s and m are drawn anew for each unit and step:

        mu_j ~ U(-offset_max, offset_max)       m_ij ~ U(mu_j - jitter, mu_j + jitter)
        sigma_j ~ U(1, factor_max)              s_ij ~ N(sigma_j, jitter), a standard deviation

    The paper (appendix A.1) uses 0.5, 1.25 and 0.1. As with dropout, there is no noise at
    inference, which is that of `batch`.
    """

    kind: ClassVar[str] = "noisy_batch"
    offset_max: AtLeastZero
    factor_max: AtLeastOne
    jitter: AtLeastZero

    def layer(self, name: str) -> keras.layers.Layer:
        """A BatchNormalization over the last axis that adds noise in training."""
        return _noisy_batch_normalization()(**self.model_dump(), name=name)


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
    cls.kind: cls for cls in (NoNorm, BatchNorm, LayerNorm, BatchRenorm, NoisyBatch)
}


@functools.cache
def _batch_renormalization() -> type[keras.layers.BatchNormalization]:
    import keras
    from keras import ops

    class BatchRenormalization(keras.layers.BatchNormalization):
        """See `BatchRenorm`. Inputs [batch, ..., units]."""

        def __init__(self, *, r_max: float, d_max: float, **others: Any) -> None:
            super().__init__(**others)
            self.r_max, self.d_max = r_max, d_max

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=False, mask=mask)
            mean, variance = ops.moments(inputs, axes=tuple(range(len(inputs.shape) - 1)))
            deviation, moving = self._deviation(variance), self._deviation(self.moving_variance)
            r = ops.clip(deviation / moving, 1 / self.r_max, self.r_max)
            d = ops.clip((mean - self.moving_mean) / moving, -self.d_max, self.d_max)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
            outputs = (inputs - mean) / deviation * ops.stop_gradient(r) + ops.stop_gradient(d)
            if self.scale:
                outputs = outputs * self.gamma
            return outputs + self.beta if self.center else outputs

        def _deviation(self, variance: Any) -> Any:
            return ops.sqrt(variance + self.epsilon)

        def _move(self, moving: keras.Variable, batch: Any) -> None:
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))

        def get_config(self) -> dict[str, Any]:
            return super().get_config() | {"r_max": self.r_max, "d_max": self.d_max}

    return BatchRenormalization


@functools.cache
def _noisy_batch_normalization() -> type[keras.layers.BatchNormalization]:
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import ops

    # In the compiled step Threefry takes a fraction of the default's time, and its numbers do not
    # depend on the device. On a CPU only compiled code has it.
    @tf.function(jit_compile=True, autograph=False)
    def uniform(shape: tuple[int, ...], seed: tf.Tensor) -> tf.Tensor:
        """Draws from (-1, 1) without the ends, at which a normal deviate is infinite."""
        least = np.nextafter(np.float32(-1), np.float32(0))
        return tf.random.stateless_uniform(shape, seed, least, 1, alg="threefry")

    class NoisyBatchNormalization(keras.layers.BatchNormalization):
        """See `NoisyBatch`. Inputs [batch, ..., units].

        The state that noise is drawn from is a variable of the layer, but not one of its weights.
        """

        def __init__(
            self, *, offset_max: float, factor_max: float, jitter: float, **others: Any
        ) -> None:
            super().__init__(**others)
            self.offset_max, self.factor_max, self.jitter = offset_max, factor_max, jitter
            self.noise = keras.random.SeedGenerator(0, name=f"{self.name}_noise")

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            outputs = super().call(inputs, training=training, mask=mask)
            if not training:
                return outputs
            *places, units = inputs.shape
            count = math.prod(places)
            # [1, units] twice, [count, units] twice: one draw is several times faster than four.
            drawn = uniform((2 + 2 * count, units), self.noise.next())
            mu, sigma, m, s = ops.split(drawn, [1, 2, 2 + count])
            mu, sigma = self.offset_max * mu, 1 + (self.factor_max - 1) * (1 + sigma) / 2
            m, s = mu + self.jitter * m, sigma + self.jitter * 2**0.5 * ops.erfinv(s)
            return ops.reshape(s, inputs.shape) * outputs + ops.reshape(m, inputs.shape)

        def get_config(self) -> dict[str, Any]:
            return super().get_config() | {
                "offset_max": self.offset_max,
                "factor_max": self.factor_max,
                "jitter": self.jitter,
            }

    return NoisyBatchNormalization
