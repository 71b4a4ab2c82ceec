"""Threads that train at once: what they compute, and what they share."""

import json
import os
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from pipeline.training.workers import worker_pool

# A product that several threads would divide: its bits would be others.
PRODUCT = """
import hashlib, json, sys
import pipeline.portable
import numpy as np
import tensorflow as tf
if sys.argv[1:] == ["divided"]:
    tf.config.threading.set_intra_op_parallelism_threads(4)
elif sys.argv[1:]:
    from pipeline.training.workers import worker_pool

rng = np.random.default_rng(0)
left, right = (
    tf.constant(rng.standard_normal(shape, np.float32)) for shape in ((1009, 2038), (2038, 286))
)

@tf.function(jit_compile=True, autograph=False)
def compiled(left, right):
    return left @ right

def digests(_=None):
    products = compiled(left, right), left @ right
    return [hashlib.sha256(product.numpy().tobytes()).hexdigest() for product in products]

found = [digests()]
if sys.argv[1:] == ["workers"]:
    found += worker_pool(4).map(digests, range(4), chunksize=1)
print(json.dumps(found))
"""


def digests(*how):
    """Returns hashes of the product, compiled and not, from threads of another process."""
    ended = subprocess.run(
        [sys.executable, "-c", PRODUCT, *how],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        capture_output=True,
    )
    return json.loads(ended.stdout)


@pytest.mark.slow
def test_a_large_product_has_the_same_bits_on_any_number_of_threads():
    [of_one_thread] = digests()
    assert digests("workers") == 5 * [of_one_thread]
    [divided] = digests("divided")
    assert all(one != other for one, other in zip(divided, of_one_thread, strict=True))


def test_workers_share_what_is_compiled():
    traced, together = [], threading.Barrier(2)

    @tf.function(jit_compile=True)
    def doubled(value):
        traced.append(value)
        return 2 * value

    def device(_):
        together.wait(timeout=60)  # No thread may take two turns.
        return doubled(tf.constant(1)).device

    with worker_pool(2) as pool:
        first, second = pool.map(device, range(2), chunksize=1)
    # Another device would compile for itself.
    assert first == second
    assert len(traced) == 1


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")
def test_there_is_a_thread_for_the_work_of_each_run():
    script = (
        "import pipeline.portable, pipeline.training.workers, tensorflow as tf;"
        "print(tf.config.threading.get_intra_op_parallelism_threads())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert int(ended.stdout) == os.cpu_count()
