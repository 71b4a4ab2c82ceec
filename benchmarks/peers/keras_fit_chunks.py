"""Keras `fit` and `evaluate`, of which one call takes many steps."""

from functools import partial

from benchmarks.peers.keras_fit import make
from benchmarks.protocol import serve

if __name__ == "__main__":
    # XLA, which Keras chooses by itself, would unroll the steps of a call: slower to compile and
    # to run.
    serve(partial(make, steps_per_execution=50, jit_compile=False))
