"""Many dense layers of one width, one after the other or each around a skip connection."""

from typing import Literal

import keras

from pipeline.params import Activation, Count, Initializer, Network


class Deep(Network):
    """`depth` dense layers of `width` units.

    With `skip: none` each is followed by normalisation and then activation. Else there is one more
    layer first, and each of `depth` layers adds its outputs to its inputs, which it normalises and
    activates before (He et al. 2016). With `skip: zero` one number, learnt and 0 at first,
    multiplies what is added: SkipInit (De & Smith 2020).
    """

    depth: Count
    width: Count
    activation: Activation
    initializer: Initializer
    skip: Literal["none", "one", "zero"]

    def hidden(self, inputs, normalize):
        units = keras.layers.Flatten()(inputs)
        if self.skip != "none":
            units = self.dense(units)
        for _ in range(self.depth):
            if self.skip == "none":
                units = self.activated(normalize(self.dense(units)))
            else:
                branch = self.dense(self.activated(normalize(units)))
                branch = self.times_zero(branch) if self.skip == "zero" else branch
                units = keras.layers.Add()([units, branch])
        return units

    def dense(self, units):
        return keras.layers.Dense(self.width, kernel_initializer=self.initializer)(units)

    def activated(self, units):
        return keras.layers.Activation(self.activation)(units)

    def times_zero(self, branch):
        alone = keras.layers.Reshape((self.width, 1))(branch)
        gain = keras.layers.EinsumDense("...u,u->...u", 1, kernel_initializer="zeros")
        return keras.layers.Reshape((self.width,))(gain(alone))
