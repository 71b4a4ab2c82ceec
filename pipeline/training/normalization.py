"""The normalisations a variant may choose. They are interchangeable: to add one, add a class here.

Only the methods that need Keras import it, so that params.yaml is checked without TensorFlow.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from pipeline.params import Count, Fraction, Normalization, Positive

if TYPE_CHECKING:
    from collections.abc import Callable

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


class GhostBatch(BatchNorm):
    """Batch normalisation over parts of a batch (Hoffer et al. 2017, algorithm 1).

    A batch is cut into ghost batches of `ghost_size` examples, in order, and each is normalised by
    its own statistics. The moving ones take them in one after the other, as if each were a batch.
    Inference is that of `batch`.
    """

    kind: ClassVar[str] = "ghost_batch"
    ghost_size: Count

    def expect_batches_of(self, size: int) -> None:
        """Refuses batches that are not made of whole ghost batches."""
        if size % self.ghost_size:
            raise ValueError(
                f"`ghost_size` must divide the batch size, {size}, got {self.ghost_size}"
            )

    def layer(self, name: str) -> keras.layers.Layer:
        """A BatchNormalization over the last axis that has several batches in training."""
        return _ghost_batch_normalization()(**self.model_dump(), name=name)


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


class RMSNorm(Normalization):
    """Divides by the root mean square over an example's units (Zhang & Sennrich 2019, equation 4).

    Nothing is centred; each unit has a gain.
    """

    kind: ClassVar[str] = "rms"
    epsilon: Positive

    def layer(self, name: str) -> keras.layers.Layer:
        """An RMSNormalization over the last axis."""
        import keras

        return keras.layers.RMSNormalization(epsilon=self.epsilon, name=name)


class DynamicTanh(Normalization):
    """Replaces normalisation by gamma * tanh(alpha * x) + beta (Zhu et al. 2025, equation 1).

    A layer learns one alpha, which starts at `alpha`, and a gamma and a beta for each unit.
    """

    kind: ClassVar[str] = "dyt"
    alpha: Positive

    def layer(self, name: str) -> keras.layers.Layer:
        """One layer, which is faster than those of Keras that it takes."""
        return _dynamic_tanh()(alpha=self.alpha, name=name)

    @property
    def at_inference(self) -> Normalization:
        """The same by layers of Keras' own."""
        return _DynamicTanhOfKeras(alpha=self.alpha)


class _DynamicTanhOfKeras(DynamicTanh):
    def layer(self, name: str) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
        import keras

        def layers(units: keras.KerasTensor) -> keras.KerasTensor:
            shape = units.shape[1:]
            # A product with one number for all units.
            scaled = keras.layers.EinsumDense("...u,u->...u", 1, name=f"{name}_alpha")(
                keras.layers.Reshape((*shape, 1), name=f"{name}_apart")(units)
            )
            scaled = keras.layers.Reshape(shape, name=f"{name}_together")(scaled)
            return keras.layers.EinsumDense(
                "...u,u->...u", shape[-1], bias_axes="u", name=f"{name}_gamma_beta"
            )(keras.layers.Activation("tanh", name=f"{name}_tanh")(scaled))

        return layers


NORMALIZATIONS: dict[str, type[Normalization]] = {
    cls.kind: cls
    for cls in (
        NoNorm, BatchNorm, LayerNorm, BatchRenorm, NoisyBatch, GhostBatch, RMSNorm, DynamicTanh,
    )
}  # fmt: skip


def _with_gamma_and_beta(layer: keras.layers.BatchNormalization, outputs: Any) -> Any:
    """Returns the outputs [..., units] after the gamma and beta that the layer has."""
    if layer.scale:
        outputs = outputs * layer.gamma
    return outputs + layer.beta if layer.center else outputs


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
            return _with_gamma_and_beta(self, outputs)

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


@functools.cache
def _ghost_batch_normalization() -> type[keras.layers.BatchNormalization]:
    import keras
    import numpy as np
    from keras import ops

    class GhostBatchNormalization(keras.layers.BatchNormalization):
        """See `GhostBatch`. Inputs [batch, ..., units]."""

        def __init__(self, *, ghost_size: int, **others: Any) -> None:
            super().__init__(**others)
            self.ghost_size = ghost_size

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=False, mask=mask)
            ghosts = ops.reshape(inputs, (-1, self.ghost_size, *inputs.shape[1:]))
            axes = tuple(range(1, len(ghosts.shape) - 1))
            mean, variance = ops.moments(ghosts, axes=axes, keepdims=True)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
            outputs = (ghosts - mean) / ops.sqrt(variance + self.epsilon)
            return _with_gamma_and_beta(self, ops.reshape(outputs, inputs.shape))

        def _move(self, moving: keras.Variable, of_ghosts: Any) -> None:
            """Takes in statistics [ghosts, 1, ..., units], the first of which counts least."""
            ghosts = of_ghosts.shape[0]
            by_ghost = ops.reshape(of_ghosts, (ghosts, -1))
            kept = self.momentum ** np.arange(ghosts, -1, -1.0)
            taken = ops.convert_to_tensor((1 - self.momentum) * kept[1:, None], by_ghost.dtype)
            moving.assign(moving * float(kept[0]) + ops.sum(taken * by_ghost, axis=0))

        def get_config(self) -> dict[str, Any]:
            return super().get_config() | {"ghost_size": self.ghost_size}

    return GhostBatchNormalization


@functools.cache
def _dynamic_tanh() -> type[keras.layers.Layer]:
    import keras
    from keras import ops

    class DynamicTanhLayer(keras.layers.Layer):
        """See `DynamicTanh`. Inputs [batch, ..., units]."""

        def __init__(self, *, alpha: float, **others: Any) -> None:
            super().__init__(**others)
            self.first_alpha = alpha

        def build(self, input_shape: tuple[int, ...]) -> None:
            first, units = keras.initializers.Constant(self.first_alpha), input_shape[-1:]
            self.alpha = self.add_weight(shape=(1,), initializer=first, name="alpha")
            self.gamma = self.add_weight(shape=units, initializer="ones", name="gamma")
            self.beta = self.add_weight(shape=units, initializer="zeros", name="beta")
            self.built = True

        def call(self, inputs: Any) -> Any:
            return ops.tanh(self.alpha * inputs) * self.gamma + self.beta

        def get_config(self) -> dict[str, Any]:
            return super().get_config() | {"alpha": self.first_alpha}

    return DynamicTanhLayer
