"""The values of a parameter, where one is written in several ways."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

import pandas as pd

from pipeline.designs.names import is_number

MISSING = ""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}\b")
# A longer number was printed with all its digits, and by one program in one way.
_REWRITTEN = 15
_TRUTH = {"true": Decimal(1), "false": Decimal(0)}


def unified(column: pd.Series) -> tuple[pd.Series, list[tuple[str, ...]]]:
    """Returns a column with each value written in one way, and the ways that were merged.

    Numbers are equal if their values are (`1e-3`, `0.001`), texts if they differ in space around
    them or in an address in memory only. `True` is 1 where the column has a 1 or 0 as well. A
    missing value becomes ''. Of several ways, the most frequent one stays, then the shortest.
    """
    texts = column.fillna(MISSING).astype(str).tolist()
    written = Counter(texts)
    keys = _keys(written)
    ways: dict[object, list[str]] = {}
    for text in written:
        ways.setdefault(keys[text], []).append(text)
    kept = {}
    merged = []
    for key, texts_of in ways.items():
        best = texts_of[0]
        if len(texts_of) > 1:
            best = min(texts_of, key=lambda text: (-written[text], len(text), text))
            # Addresses differ in every process: that they do is not worth telling.
            if not isinstance(key, str) or _ADDRESS.search(best) is None:
                merged.append(tuple(sorted(texts_of)))
        kept |= dict.fromkeys(texts_of, _without_address(best))
    return pd.Series([kept[text] for text in texts], column.index, dtype=object), sorted(merged)


def _without_address(text: str) -> str:
    plain = text.strip()
    return _ADDRESS.sub("0x…", plain) if "0x" in plain else plain


def _keys(texts: Iterable[str]) -> dict[str, object]:
    """Returns for each text a number or a text that is the same for all ways of writing a value."""
    keys: dict[str, object] = {}
    for text in texts:
        plain = _without_address(text)
        keys[text] = Decimal(plain) if len(plain) <= _REWRITTEN and is_number(plain) else plain
    truths = {text: _TRUTH[text.strip().lower()] for text in keys if text.strip().lower() in _TRUTH}
    if truths:
        numbers = {key for key in keys.values() if isinstance(key, Decimal)}
        as_number = bool(numbers) and numbers <= {*_TRUTH.values()}
        keys |= {text: truth if as_number else str(bool(truth)) for text, truth in truths.items()}
    return keys


def ordered(values: Iterable[str]) -> list[str]:
    """Returns the different values: a missing one first, then numbers by size, then texts."""
    return sorted(set(values), key=_rank)


def are_numbers(values: Sequence[str]) -> bool:
    """Whether every value is a number; none is missing."""
    return all(is_number(value) for value in values)


def _rank(value: str) -> tuple[int, Decimal, str]:
    if value == MISSING:
        return 0, Decimal(0), ""
    return (1, Decimal(value), value) if is_number(value) else (2, Decimal(0), value)
