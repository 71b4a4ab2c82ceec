"""TensorFlow's import, quiet and as short as it can be."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Keras and pandas import these where they are installed, for what is of no use here.
_NOT_FOR_TRAINING = ("sklearn", "matplotlib", "scipy", "PIL", "pyarrow")


@contextmanager
def lean_tensorflow(threads: int | None = None) -> Iterator[None]:
    """Makes importing TensorFlow quiet, for its native code speaks of absent GPUs, and shorter.

    Args:
        threads: inside a step. 1 where seeds train side by side on threads of ours: more of them
            would only wait.
    """
    if threads is not None:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A study of many variants compiles for each of them, as it should; TensorFlow warns of it.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    hidden = [name for name in _NOT_FOR_TRAINING if name not in sys.modules]
    # None in their place makes `import` say that they are not there.
    sys.modules.update(dict.fromkeys(hidden))  # pyrefly: ignore[no-matching-overload]
    screen, silence = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(silence)
        for name in hidden:
            del sys.modules[name]
