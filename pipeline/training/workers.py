"""Threads that train at once without waiting for each other."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from multiprocessing.pool import ThreadPool

import tensorflow as tf

# TensorFlow has one thread for each device (see `pipeline.portable`), so runs that share a device
# take turns. Devices can be divided only before TensorFlow is used; later, there is one.
with suppress(RuntimeError):
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration() for _ in range(os.cpu_count() or 1)],
    )


def worker_pool(workers: int | None = None) -> ThreadPool:
    """Returns a pool whose threads each compute on a logical device of their own.

    Each device compiles for itself. Results do not depend on the device.

    Args:
        workers: how many threads, by default one per processor. More than there are processors
            share devices.
    """
    turn = itertools.count()

    def take_device() -> None:
        devices = tf.config.list_logical_devices("CPU")
        tf.device(devices[next(turn) % len(devices)].name).__enter__()

    return ThreadPool(workers or os.cpu_count(), take_device)
