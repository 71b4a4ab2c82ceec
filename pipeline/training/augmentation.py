"""Random changes to training images, by layers of Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from pipeline.errors import ParamsError, one_line
from pipeline.params import Augmentation


def augmented(model: keras.Model, augmentation: Sequence[Augmentation]) -> keras.Model:
    """Returns a model with the same weights that changes its images at random in training.

    The images are changed before they are scaled, while they are in 0…255.

    Raises:
        ParamsError: if the inputs are no images, or a layer does not take what it is given.
    """
    if not augmentation:
        return model
    inputs = keras.Input(model.input_shape[1:], dtype=model.input.dtype)
    shape = inputs.shape[1:]
    if len(shape) == 1:
        raise ParamsError("`augmentation` changes images, and these examples are features")
    images = keras.layers.Reshape((*shape, 1) if len(shape) == 2 else shape)(inputs)
    images = keras.layers.Identity(dtype="float32")(images)
    for settings in augmentation:
        images = _changed(images, settings)
    scaled = model.get_layer("scaled")
    rest = keras.Model(scaled.output, model.output)
    return keras.Model(inputs, rest(scaled(keras.layers.Reshape(shape)(images))))


def _changed(images: keras.KerasTensor, settings: Augmentation) -> keras.KerasTensor:
    try:
        layer = getattr(keras.layers, settings.layer)(**settings.arguments)
        image = _Overlay(layer.backend.image, affine_transform=affine_transform)
        layer.backend = _Overlay(layer.backend, image=image)
        changed = layer(images)
    except (TypeError, ValueError) as error:
        message = f"`augmentation`: {settings.layer}: {one_line(error)}"
        raise ParamsError(f"{message} (params.yaml, training)") from None
    return changed


class _Overlay:
    """A module of which some functions are others."""

    def __init__(self, module: Any, **others: Any) -> None:
        self._module, self._others = module, others

    def __getattr__(self, name: str) -> Any:
        return self._others[name] if name in self._others else getattr(self._module, name)


def affine_transform(  # noqa: PLR0913, PLR0917  They are those of Keras.
    images: tf.Tensor,
    transform: tf.Tensor,
    interpolation: str,
    fill_mode: str,
    fill_value: float,
    data_format: str = "channels_last",  # noqa: ARG001  Keras passes it.
) -> tf.Tensor:
    """Returns images [batch, height, width, channels], each moved by its transform.

    It is what `keras.ops.image.affine_transform` returns, which XLA cannot compile.

    Args:
        images: what is moved.
        transform: [batch, 8], of which the last two are 0: what comes to (x, y) was at
            (a x + b y + c, d x + e y + f).
        interpolation: `bilinear` or `nearest`.
        fill_mode: what is beyond the border: `constant`, `nearest`, `reflect` or `wrap`.
        fill_value: it, if constant.
        data_format: there is but one here.
    """
    _, height, width, _ = _sizes(images)
    x, y = (tf.cast(axis, tf.float32) for axis in tf.meshgrid(range(width), range(height)))
    a, b, c, d, e, f = (transform[:, place, None, None] for place in range(6))
    columns = _inside(a * x + b * y + c, width, fill_mode)
    rows = _inside(d * x + e * y + f, height, fill_mode)
    if interpolation == "nearest":
        return _pixels(images, tf.round(rows), tf.round(columns), fill_value)
    top, left = tf.floor(rows), tf.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    upper, lower = (
        (1 - right) * _pixels(images, row, left, fill_value)
        + right * _pixels(images, row, left + 1, fill_value)
        for row in (top, top + 1)
    )
    return (1 - down) * upper + down * lower


def _sizes(images: tf.Tensor) -> Any:
    return images.shape


def _inside(places: tf.Tensor, size: int, fill_mode: str) -> tf.Tensor:
    """Returns where in an image each place lies that may be outside of it."""
    if fill_mode == "constant":
        return places
    if fill_mode == "wrap":
        # As TensorFlow has it, whose period is not quite the size.
        times = tf.math.floor(tf.abs(places) / max(size - 1, 1))
        beyond = tf.where(places > size - 1, places - size * times, places)
        places = tf.where(places < 0, places + size * (times + 1), beyond)
    elif fill_mode == "reflect":
        places = tf.math.floormod(places, 2 * size)
        places = tf.where(places >= size, 2 * size - 1 - places, places)
    return tf.clip_by_value(places, 0, size - 1)


def _pixels(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, fill: float) -> tf.Tensor:
    """Returns the pixels [batch, height, width, channels] at whole rows and columns."""
    _, height, width, channels = _sizes(images)
    is_inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    places = tf.clip_by_value(rows, 0, height - 1) * width
    places = tf.cast(places + tf.clip_by_value(columns, 0, width - 1), tf.int32)
    pixels = tf.gather(tf.reshape(images, [-1, height * width, channels]), places, batch_dims=1)
    return tf.where(is_inside[..., None], pixels, tf.constant(fill, images.dtype))
