import threading
from collections import Counter

import pytest
import tensorflow as tf

from pipeline.portable import SETTINGS
from pipeline.training.workers import worker_pool


def devices_used(workers):
    """Returns the device on which each thread of a pool computes."""
    together = threading.Barrier(workers)

    def device(_):
        together.wait(timeout=60)  # No thread may take two turns.
        return tf.constant(0).device

    with worker_pool(workers) as pool:
        return pool.map(device, range(workers), chunksize=1)


def test_workers_do_not_share_a_device_whose_only_thread_they_would_wait_for():
    if len(tf.config.list_logical_devices("CPU")) < 2:
        pytest.skip("needs two processors")
    first, second = devices_used(2)
    assert first != second
    # Else all devices would share one pool of threads, and a pool has one thread.
    assert SETTINGS["TF_OVERRIDE_GLOBAL_THREADPOOL"] == "true"
    assert SETTINGS["TF_NUM_INTRAOP_THREADS"] == "1"


def test_more_workers_than_devices_share_them_evenly():
    devices = len(tf.config.list_logical_devices("CPU"))
    used = Counter(devices_used(2 * devices))
    assert len(used) == devices
    assert set(used.values()) == {2}


def test_the_thread_that_asked_for_workers_keeps_its_device():
    before = tf.constant(0).device
    devices_used(1)
    assert tf.constant(0).device == before
