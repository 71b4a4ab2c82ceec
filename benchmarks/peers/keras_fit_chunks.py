"""Keras `fit` and `evaluate`, with many steps per call."""

from functools import partial

from benchmarks.peers.keras_fit import make
from benchmarks.protocol import serve

if __name__ == "__main__":
    # Keras would choose XLA, which unrolls the steps of a call and is slower to compile and to run.
    serve(partial(make, steps_per_execution=50, jit_compile=False))
