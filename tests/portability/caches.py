"""Another processor's caches, for Eigen inside TensorFlow.

Eigen reads the sizes of the caches once, and keeps them in three integers, followed by a byte that
says that it has. They are found by their values, and overwritten.
"""

import ctypes
import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# L1, L2 and L3 in KB: a Haswell, an EPYC, a Core and a Xeon with AVX-512, and a Zen 5.
PROCESSORS = (
    (32, 256, 8_192), (32, 512, 16_384), (48, 1_280, 30_720), (48, 2_048, 107_520),
    (48, 1_024, 32_768), (32, 1_024, 0),
)  # fmt: skip


class Caches:
    """The sizes that Eigen has read; make one after a first matrix product."""

    def __init__(self) -> None:
        """Finds where Eigen keeps the sizes.

        Raises:
            LookupError: if they are nowhere, or in several places.
        """
        names = ("LEVEL1_DCACHE_SIZE", "LEVEL2_CACHE_SIZE")
        read = [int(subprocess.check_output(["getconf", name])) for name in names]
        pattern = re.escape(struct.pack("2q", *read)) + b".{8}\x01"
        found = [
            start + match.start()
            for start, end in _data_of("libtensorflow_cc.so.2")
            for match in re.finditer(pattern, ctypes.string_at(start, end - start), re.DOTALL)
            if match.start() % 8 == 0
        ]
        if len(found) != 1:
            raise LookupError(f"Eigen's sizes of caches are in {len(found)} places, not in one")
        (address,) = found
        self._sizes = (ctypes.c_int64 * 3).from_address(address)

    @contextmanager
    def of(self, kilobytes: tuple[int, int, int]) -> Iterator[None]:
        """While it lasts, Eigen cuts products as on a processor with these L1, L2 and L3 sizes."""
        before = list(self._sizes)
        self._sizes[:] = [1_024 * size for size in kilobytes]
        try:
            yield
        finally:
            self._sizes[:] = before


def _data_of(library: str) -> Iterator[tuple[int, int]]:
    """Yields the writable memory of a library: its data, and what follows without a name."""
    inside = False
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *others = line.split()
        inside = library in line or (inside and len(others) == 3)
        if inside and rights.startswith("rw"):
            start, end = (int(part, 16) for part in span.split("-"))
            yield start, end
