"""What comparisons print as JSON, and where they draw."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path("comparisons")
_LONGEST_NAME = 60


def as_json(record: Mapping[str, Any]) -> str:
    """Returns a record as text; nan and infinity, which JSON lacks, become null."""
    plain = json.loads(json.dumps(record), parse_constant=lambda _: None)
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def safe(name: str) -> str:
    """Returns the name in a form that can be part of a file's name."""
    return re.sub(r"[^\w.~-]+", "_", name).strip("._-")[:_LONGEST_NAME] or "at"
