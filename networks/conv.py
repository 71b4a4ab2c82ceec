"""Convolutions, each followed by normalisation, activation and pooling; then one dense layer."""

from typing import Annotated

import keras
from pydantic import Field

from pipeline.params import Activation, Count, Fraction, Network


class Conv(Network):
    """A small convolutional network for images, after LeCun et al. (1998).

    Each of `filters` is a convolution of that many filters, `kernel_size` pixels wide and high, and
    halves height and width. `dropout` is the share of the dense layer's units that each step drops.
    """

    filters: Annotated[list[Count], Field(min_length=1)]
    kernel_size: Count
    units: Count
    activation: Activation
    dropout: Fraction

    def hidden(self, inputs, normalize):
        maps = inputs
        for filters in self.filters:
            maps = keras.layers.Conv2D(filters, self.kernel_size, padding="same")(maps)
            maps = keras.layers.Activation(self.activation)(normalize(maps))
            maps = keras.layers.MaxPooling2D(2, padding="same")(maps)
        units = normalize(keras.layers.Dense(self.units)(keras.layers.Flatten()(maps)))
        units = keras.layers.Activation(self.activation)(units)
        return keras.layers.Dropout(self.dropout)(units)
