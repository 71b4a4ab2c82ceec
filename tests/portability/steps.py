"""Prints the SHA-256 of what a hundred steps of training make of made-up images.

`python -m tests.portability.steps [NAME…]` prints it as JSON, by normalisation: all of them, or
those named. `tests/portability/steps.json` is its output.
"""

import hashlib
import json
import sys
from pathlib import Path

from pipeline.params import Optimizer
from pipeline.training.batches import epoch_batches
from pipeline.training.normalization import NORMALIZATIONS
from tests.networks import dense, training_with

COMMITTED = Path(__file__).with_name("steps.json")
STEPS = 100
ADAM = Optimizer(name="adam", learning_rate=0.001)
BATCH = {"momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
SETTINGS = {
    "none": {},
    "batch": BATCH,
    "layer": {"epsilon": 0.001, "center": True, "scale": True},
    "batch_renorm": BATCH | {"r_max": 3.0, "d_max": 5.0},
    "ghost_batch": BATCH | {"ghost_size": 8},
    "rms": {"epsilon": 0.001},
    "dyt": {"alpha": 0.5},
    "noisy_batch": BATCH | {"offset_max": 0.5, "factor_max": 1.25, "jitter": 0.1},
}


def digest(normalization: str) -> str:
    """Returns one hash of the weights and the scores of a run."""
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    # As in training, with a thread of TensorFlow's for each processor.
    from pipeline.training import workers  # noqa: F401, PLC0415
    from pipeline.training.network import build  # noqa: PLC0415
    from pipeline.training.solver import Solver  # noqa: PLC0415

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2_000, 28, 28), np.uint8)
    labels = rng.integers(0, 10, 2_000).astype(np.uint8)
    chosen = NORMALIZATIONS[normalization](**SETTINGS[normalization])
    network = dense(hidden_dims=(32, 32), activation="relu")
    solver = Solver(build(network, chosen, shape=(28, 28), classes=10), training_with(ADAM))
    state = solver.start(seed=0)
    batches = epoch_batches(0, 0, examples=2_000, batch_size=32, steps=STEPS)
    images, labels = tf.constant(images), tf.constant(labels)
    loss = solver.train_epoch(
        state, images, labels, tf.constant(batches), tf.fill([len(batches)], ADAM.learning_rate)
    )
    weights = [weight.numpy() for weight in solver.weights(state)]
    scores = solver.evaluate(weights, images, labels)
    found = hashlib.sha256()
    for values in (*weights, loss.numpy()):
        found.update(values.tobytes())
    found.update(repr(scores).encode())
    return found.hexdigest()


if __name__ == "__main__":
    names = sys.argv[1:] or NORMALIZATIONS
    sys.stdout.write(json.dumps({name: digest(name) for name in names}, indent=2) + "\n")
