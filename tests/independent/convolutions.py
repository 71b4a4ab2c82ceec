"""A convolutional network as one writes it with Keras alone: its layers, and a loop."""

import keras
import numpy as np
import tensorflow as tf


def accuracy(seed, train, test, *, normalized, settings):
    """Trains the network of examples/fashion; returns the share of the test images it gets right.

    Args:
        seed: of Keras' initial weights and noise, and of the order of the examples.
        train: images [n, height, width] from 0 to 255, and labels.
        test: likewise.
        normalized: whether batch normalisation comes before each activation.
        settings: the example's params.yaml.
    """
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    network, training = settings["network"], settings["training"]
    model = _model(train[0].shape[1:], network, settings["variants"]["batch_norm"], normalized)
    optimizer = keras.optimizers.Adam(training["optimizer"]["learning_rate"])
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function(jit_compile=True)
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    images, labels = _scaled(train[0]), train[1]
    for _ in range(training["epochs"]):
        order = rng.permutation(len(images))
        for start in range(0, len(order) - training["batch_size"] + 1, training["batch_size"]):
            batch = order[start : start + training["batch_size"]]
            step(images[batch], labels[batch])
    logits = model.predict(_scaled(test[0]), batch_size=500, verbose=0)
    return (logits.argmax(axis=1) == test[1]).mean()


def _scaled(images):
    return np.float32(images[..., None]) / np.float32(255)


def _model(shape, network, norm, normalized):
    model = keras.Sequential([keras.Input((*shape, 1))])

    def activated(layer):
        model.add(layer)
        if normalized:
            model.add(keras.layers.BatchNormalization(-1, norm["momentum"], norm["epsilon"]))
        model.add(keras.layers.ReLU())

    for filters in network["filters"]:
        activated(keras.layers.Conv2D(filters, network["kernel_size"], padding="same"))
        model.add(keras.layers.MaxPooling2D())
    model.add(keras.layers.Flatten())
    activated(keras.layers.Dense(network["units"]))
    model.add(keras.layers.Dropout(network["dropout"]))
    model.add(keras.layers.Dense(10))
    return model
