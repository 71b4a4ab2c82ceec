"""The processor: what tells it from others, and whether equal bits are promised on it."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TYPE = "cpu.type"
# The tags that a processor may have.
TAGS = (_TYPE, "cpu.architecture", "cpu.model", "cpu.vectors", "cpu.l1d")
# What tells models apart in /proc/cpuinfo: on x86-64, then on Arm.
_MODEL = (
    "vendor_id", "cpu family", "model", "stepping",
    "CPU implementer", "CPU variant", "CPU part", "CPU revision",
)  # fmt: skip
# These choose the code that runs, and so how sums are rounded. Not all extensions are listed: a
# newer kernel may know more of them, on the same processor.
_VECTORS = ("avx2", "fma", "avx512f", "asimd", "sve", "sve2")


@dataclass(frozen=True)
class Processor:
    """A processor; what the system does not say is empty.

    Attributes:
        name: as the system calls it, such as `AMD EPYC`, which many models are.
        architecture: such as `x86_64` or `aarch64`.
        model: what tells it from others of its name; several where its cores differ.
        vectors: the vector extensions that change how results are rounded.
        l1d: size of a core's first-level data cache, by which products are cut into pieces.
    """

    name: str
    architecture: str
    model: str = ""
    vectors: str = ""
    l1d: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """What is known of it, as tags of a run."""
        values = (self.name, self.architecture, self.model, self.vectors, self.l1d)
        return {tag: value for tag, value in zip(TAGS, values, strict=True) if value}


def present_processor() -> Processor:
    """Returns the processor of this machine."""
    name, architecture = platform.processor() or platform.machine(), platform.machine()
    if sys.platform == "darwin":
        return from_sysctl(_sysctl(), name, architecture)
    cpuinfo, l1d = _read(Path("/proc/cpuinfo")), l1d_below(Path("/sys/devices/system/cpu"))
    return from_cpuinfo(cpuinfo, name, architecture, l1d)


def from_cpuinfo(cpuinfo: str, name: str, architecture: str, l1d: str = "") -> Processor:
    """Returns the processor that Linux describes in /proc/cpuinfo.

    Args:
        cpuinfo: the text of that file.
        name: for where the text has none, as on Arm.
        architecture: as `platform.machine()` calls it.
        l1d: as `l1d_below` gives it.
    """
    # A paragraph for each core.
    cores = [_fields(core) for core in re.split(r"\n\s*\n", cpuinfo)]
    names = [core["model name"] for core in cores if core.get("model name")]
    models = {", ".join(f"{key} {core[key]}" for key in _MODEL if key in core) for core in cores}
    extensions = {
        word
        for core in cores
        for key in ("flags", "Features")
        for word in core.get(key, "").split()
    }
    return Processor(
        name=names[0] if names else name,
        architecture=architecture,
        model="; ".join(sorted(filter(None, models))),
        vectors=" ".join(vector for vector in _VECTORS if vector in extensions),
        l1d=l1d,
    )


def from_sysctl(text: str, name: str, architecture: str) -> Processor:
    """Returns the processor that macOS describes in the output of `sysctl hw machdep.cpu`."""
    fields = _fields(text)
    brand, family = fields.get("machdep.cpu.brand_string"), fields.get("hw.cpufamily")
    # `perflevel0` are the fast cores; `hw.l1dcachesize` is that of the slow ones.
    l1d = fields.get("hw.perflevel0.l1dcachesize") or fields.get("hw.l1dcachesize") or ""
    return Processor(
        name=name,
        architecture=architecture,
        model=", ".join(filter(None, (brand, family and f"family {family}"))),
        vectors="asimd" if fields.get("hw.optional.AdvSIMD") == "1" else "",
        l1d=f"{int(l1d) // 1024} KiB" if l1d.isdecimal() else "",
    )


def l1d_below(devices: Path) -> str:
    """Returns the size of the first-level data cache; several where cores differ.

    Args:
        devices: the folder that is /sys/devices/system/cpu on Linux.
    """
    sizes = {
        _read(cache / "size").strip().replace("K", " KiB")
        for cache in devices.glob("cpu[0-9]*/cache/index*")
        if (_read(cache / "level").strip(), _read(cache / "type").strip()) == ("1", "Data")
    }
    return "; ".join(sorted(filter(None, sizes)))


def is_same_processor(recorded: Mapping[str, str], present: Mapping[str, str]) -> bool | None:
    """Returns whether the tags of two runs name the same processor; None if one names none."""
    if not (recorded.get(_TYPE) and present.get(_TYPE)):
        return None
    # A record of an earlier version has the name alone.
    known = [tag for tag in TAGS if tag in recorded and tag in present]
    return all(recorded[tag] == present[tag] for tag in known)


def outside_promise(processor: Processor) -> str | None:
    """Returns why a processor is not one of those on which all bits are the same; None if it is.

    These are all of x86-64 with AVX2 and FMA.
    """
    if processor.architecture not in {"x86_64", "AMD64"}:
        return f"this processor is {processor.architecture}, not x86-64"
    if not processor.model:
        return "the system does not say whether this processor has AVX2 and FMA"
    has = processor.vectors.split()
    lacking = [name.upper() for name in ("avx2", "fma") if name not in has]
    return f"this processor has no {' and no '.join(lacking)}" if lacking else None


def _fields(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in lines if colon}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _sysctl() -> str:
    command = ["sysctl", "hw", "machdep.cpu"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout
