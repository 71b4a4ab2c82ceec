"""Compares the runs of any MLflow store; needs no project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipeline.commands.output import FOLDER, as_json, safe
from pipeline.designs.answer import answer
from pipeline.designs.answers import Answer
from pipeline.designs.asked import Asked
from pipeline.designs.design import design
from pipeline.errors import ArgumentError, printable, without_passwords
from pipeline.files import write_bytes, write_text
from pipeline.reporting import answer_figure, answer_report, blocks_page, pages
from pipeline.reporting.pages import Block
from pipeline.reporting.pictures import png
from pipeline.stores.read import read_store
from pipeline.stores.stored_runs import StoredRuns

_MOST_LISTED = 3
_ALT = "Each effect, trend or value of {}"


def run(  # noqa: PLR0913
    store: str,
    asked: Asked,
    *,
    experiments: Sequence[str],
    where: str | None,
    confidence: float,
    form: Literal["text", "md", "json"],
    figure: Path | None,
    html: Path | None,
    log: bool,
) -> None:
    """Prints and draws how the runs of a store compare, as is asked or can be inferred.

    Args:
        store: its address.
        asked: what is compared.
        experiments: names or ids of those to read; all, if there are none.
        where: MLflow's filter of runs.
        confidence: of every interval, in (0, 1).
        form: of what is printed.
        figure: where it goes, if not to `FOLDER`.
        html: where a page goes, if one is wanted.
        log: whether the comparison becomes a run of the experiment.
    """
    stored = read_store(store, experiments=experiments, where=where)
    into = _only_experiment(stored) if log else None
    found = answer(design(stored, asked), confidence)
    name = found.basis.metric.name
    path = figure or FOLDER / f"{safe(_stem(store, name, asked))}.png"
    drawn = png(answer_figure.figure(found))
    write_bytes(path, drawn)
    page = _page(found, stored)
    shown = without_passwords(store)
    picture = pages.Picture(_ALT.format(name), str(path))
    if html:
        source = f"Runs of {shown}, compared by bnlab."
        illustrated = [*page[:3], picture, *page[3:]]
        write_text(html, blocks_page.html(illustrated, {str(path): drawn}, source))
    logged = None
    if into is not None:
        from pipeline.stores.log import log_comparison

        logged = log_comparison(store, into, f"comparison of {name}", pages.markdown(page))
    if form == "json":
        files = {"figure": str(path), "page": html and str(html), "logged": logged}
        record = {"store": shown, **answer_report.record(found), **files}
        print(as_json({**record, "damaged": list(stored.damaged)}), end="")
        return
    page.append(picture)
    if html:
        page.append(pages.Paragraph(f"Page: {html}"))
    if logged:
        page.append(pages.Paragraph(f"Logged as run {logged}."))
    print(pages.markdown(page) if form == "md" else pages.text(page), end="")


def _page(found: Answer, stored: StoredRuns) -> list[Block]:
    page = answer_report.blocks(found)
    if stored.damaged:
        page.append(pages.Paragraph(_unreadable(stored.damaged)))
    return page


def _unreadable(damaged: Sequence[str]) -> str:
    more = len(damaged) - _MOST_LISTED
    listed = ", ".join(damaged[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
    return f"Left out too, since damaged or half-written: {printable(listed)}."


def _only_experiment(stored: StoredRuns) -> str:
    """Returns the id of the experiment that all runs are of."""
    there = stored.runs[~stored.runs["deleted"]].groupby("experiment_id")["experiment"].first()
    if len(there) != 1:
        raise ArgumentError(
            f"--log needs one experiment, and there are runs of {len(there)}: "
            "choose with --experiment"
        )
    return str(there.index[0])


def _stem(store: str, metric: str, asked: Asked) -> str:
    """Returns the name of a figure: the store's, without its password, and what is compared."""
    place = Path(without_passwords(store))
    # Most stores are called mlruns or mlflow.db.
    parts = [*place.parts[-2:-1], place.stem, metric, *asked.by]
    # Other answers about the same have pictures of their own.
    parts += [f"by-{name}" for name in asked.pair_by]
    if asked.against:
        parts.append(f"against-{asked.against}")
    if asked.at:
        parts.append(asked.at)
    return "-".join(part for part in parts if part.strip("/."))
