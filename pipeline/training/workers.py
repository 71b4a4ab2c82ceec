"""Threads that train at once without waiting for each other.

Compiled code hands part of its work to threads of TensorFlow's. `pipeline.portable` allows one,
because a product that several compute has other bits; but runs that share it take turns. So there
are more here, of which a product has one. That holds for what is compiled or runs at once, in the
thread that imports this module first and in those of `worker_pool`.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from multiprocessing.pool import ThreadPool

import tensorflow as tf

# TensorFlow's own, for how many threads may compute a product that the present thread asks for. It
# is not part of its public interface; where it is missing, runs take turns.
_set_most_threads = getattr(
    ctypes.CDLL(None), "_ZN10tensorflow26SetPerThreadMaxParallelismEi", None
)
if _set_most_threads is not None:
    _set_most_threads(1)
    # Where TensorFlow was used before, its threads stay as they are.
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(os.cpu_count() or 1)


def worker_pool(workers: int | None = None) -> ThreadPool:
    """Returns a pool of threads that share what they compile. Results do not depend on how many.

    Args:
        workers: how many threads, by default one per processor.
    """
    return ThreadPool(workers or os.cpu_count(), _set_most_threads, (1,))
