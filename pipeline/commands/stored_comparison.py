"""Compares the runs of any MLflow store."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.stores.read import read_store


def run(
    store: str,
    *,
    experiments: Sequence[str],
    where: str | None,
    form: str,
    confidence: float,
    **asked: object,
) -> None:
    """Prints how the settings of a store's runs compare."""
    stored = read_store(store, experiments=experiments, where=where)
    print(len(stored.runs), "runs", form, confidence, asked)
