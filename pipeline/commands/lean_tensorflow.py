"""Imports TensorFlow quietly, and without what the commands do not need."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.commands import waits
from pipeline.portable import SET_ASIDE

logger = logging.getLogger(__name__)

# Keras and pandas import these where they are installed, for features that are not used here.
_NOT_FOR_TRAINING = ("sklearn", "matplotlib", "scipy", "PIL", "pyarrow")


@contextmanager
def lean_tensorflow() -> Iterator[None]:
    """Makes importing TensorFlow quiet, because its native code warns of absent GPUs, and faster.

    Says so, and which of the user's settings do not apply to it.
    """
    for setting in SET_ASIDE:
        logger.warning("%s is set aside, because it could change results", setting)
    waits.tell("loading TensorFlow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A study of many variants compiles once for each, as it should, but TensorFlow warns of it.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    hidden = [name for name in _NOT_FOR_TRAINING if name not in sys.modules]
    # None in `sys.modules` makes `import` raise ImportError.
    sys.modules.update(dict.fromkeys(hidden))  # pyrefly: ignore[no-matching-overload]
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
        for name in hidden:
            del sys.modules[name]
