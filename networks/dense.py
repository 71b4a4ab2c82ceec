"""Dense layers, each followed by normalisation and then activation."""

from typing import Annotated

import keras
from pydantic import Field, model_validator

from pipeline.params import Activation, Count, Initializer, Network, Positive


class Dense(Network):
    """A stack of dense layers.

    `initializer` draws the kernels; the default is that of Keras, Glorot uniform. `random_normal`
    takes a standard deviation, `stddev`.
    """

    hidden_dims: Annotated[list[Count], Field(min_length=1)]
    activation: Activation
    initializer: Initializer | None = None
    stddev: Positive | None = None

    @model_validator(mode="after")
    def _stddev_is_of_random_normal(self):
        if (self.initializer == "random_normal") is (self.stddev is None):
            raise ValueError("give `stddev` with `initializer: random_normal`, and only there")
        return self

    def hidden(self, inputs, normalize):
        units = keras.layers.Flatten()(inputs)
        for width in self.hidden_dims:
            units = normalize(self.dense(width)(units))
            units = keras.layers.Activation(self.activation)(units)
        return units

    def logits(self, classes):
        return self.dense(classes)

    def dense(self, units):
        kernel = keras.initializers.get(self.initializer or "glorot_uniform")
        config = kernel.get_config() | ({"stddev": self.stddev} if self.stddev else {})
        return keras.layers.Dense(units, kernel_initializer=kernel.from_config(config))
