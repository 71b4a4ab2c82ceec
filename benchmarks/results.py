"""results.json, which has a part for each section, so that sections can be measured one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pipeline.files import read_json, write_json

FILE = "results.json"
_DIGITS = 4
Results = dict[str, Any]


def spread(values: ArrayLike) -> dict[str, float]:
    """Returns the median, the least and the greatest value."""
    array = np.asarray(values, float)
    return {"median": float(np.median(array)), "min": array.min(), "max": array.max()}


def read(folder: Path) -> Results:
    """Returns the sections measured so far."""
    path = folder / FILE
    return read_json(path) if path.exists() else {}


def update(
    folder: Path, section: str, value: Mapping[str, Any], machine: Mapping[str, Any]
) -> None:
    """Replaces one section, and the machine that measured it; the file is complete at any time."""
    before = read(folder)
    machines = before.get("machines", {}) | {section: machine}
    write_json(folder / FILE, before | {section: rounded(value), "machines": machines})


def rounded(value: Any) -> Any:
    """Returns the value with its numbers rounded to four digits, more than timing is good for."""
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{_DIGITS}g}")
    return value
