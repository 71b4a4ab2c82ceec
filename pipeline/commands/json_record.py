"""What `--json` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def as_json(record: Mapping[str, Any]) -> str:
    """Returns a record as text; nan and infinity, which JSON lacks, become null."""
    plain = json.loads(json.dumps(record), parse_constant=lambda _: None)
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
