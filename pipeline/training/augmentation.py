"""Random changes to training images, by layers of Keras."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from pipeline.params import Augmentation


def augmented(model: keras.Model, layers: Sequence[Augmentation]) -> keras.Model:
    """Returns a model with the same weights that changes its images at random while training."""
    if not layers:
        return model
    raise NotImplementedError
