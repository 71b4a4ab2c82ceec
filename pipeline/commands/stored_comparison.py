"""Compares the runs of any MLflow store; needs no project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipeline.commands.json_record import as_json
from pipeline.designs.answer import answer
from pipeline.designs.asked import Asked
from pipeline.designs.design import design
from pipeline.errors import printable, without_passwords
from pipeline.reporting import answer_report, pages
from pipeline.stores.read import read_store

_MOST_LISTED = 3


def run(  # noqa: PLR0913
    store: str,
    asked: Asked,
    *,
    experiments: Sequence[str],
    where: str | None,
    confidence: float,
    form: Literal["text", "md", "json"],
) -> None:
    """Prints how the runs of a store compare, by what is asked of them or can be inferred."""
    stored = read_store(store, experiments=experiments, where=where)
    found = answer(design(stored, asked), confidence)
    if form == "json":
        record = {"store": without_passwords(store), **answer_report.record(found)}
        print(as_json({**record, "damaged": list(stored.damaged)}), end="")
        return
    page = answer_report.blocks(found)
    if stored.damaged:
        page.append(pages.Paragraph(_unreadable(stored.damaged)))
    print(pages.markdown(page) if form == "md" else pages.text(page), end="")


def _unreadable(damaged: Sequence[str]) -> str:
    more = len(damaged) - _MOST_LISTED
    listed = ", ".join(damaged[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
    return f"Left out too, since damaged or half-written: {printable(listed)}."
