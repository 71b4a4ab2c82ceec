"""Dense layers with dropout before the next normalisation, or behind the last."""

from typing import Annotated, Literal

import keras
from pydantic import Field

from pipeline.params import Activation, Count, Fraction, Network


class WithDropout(Network):
    """A stack of dense layers, each followed by normalisation and then activation.

    `dropout` is the share of units that a step of training leaves out: behind each activation, so
    that the next normalisation meets it (`behind: each`), or behind the last, which no
    normalisation follows (`behind: last`).
    """

    hidden_dims: Annotated[list[Count], Field(min_length=1)]
    activation: Activation
    dropout: Fraction
    behind: Literal["each", "last"]

    def hidden(self, inputs, normalize):
        units = keras.layers.Flatten()(inputs)
        for place, width in enumerate(self.hidden_dims, start=1):
            units = normalize(keras.layers.Dense(width)(units))
            units = keras.layers.Activation(self.activation)(units)
            if self.behind == "each" or place == len(self.hidden_dims):
                units = keras.layers.Dropout(self.dropout)(units)
        return units
