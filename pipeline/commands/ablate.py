"""Sets any number of experiments beside each other, all their variants in one table and figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.commands.compare import FOLDER, Form, as_json, safe
from pipeline.comparison.grid import Experiment, Grid, grid, record
from pipeline.lookup import experiments
from pipeline.lookup.experiments import Unfinished
from pipeline.lookup.sources import Source
from pipeline.params import Params
from pipeline.reporting import grid_report, pages
from pipeline.reporting.grid_figure import figure as drawn
from pipeline.reporting.pictures import write_figure

_CAPTION = "Test accuracy of each cell, and what it gains over the baseline"


def run(
    params: Params, names: Sequence[str], since: str | None, form: Form, figure: Path | None
) -> None:
    """Prints and draws the cells of the experiments named, and of all since a commit."""
    sources, unfinished = [experiments.find(name) for name in names], []
    if since is not None:
        grown, unfinished = experiments.since(since)
        sources += grown
    # Named twice, it is one all the same.
    sources = list({one.told: one for one in reversed(sources)}.values())[::-1]
    found = grid(
        [_experiment(one, list(params.variants)) for one in sources],
        params.comparison.baseline,
        params.comparison.confidence,
    )
    path = figure or FOLDER / f"{_stem(names, since)}.png"
    write_figure(path, drawn(found))
    print(_told(found, sources, unfinished, path, form), end="")


def _experiment(source: Source, known: Sequence[str]) -> Experiment:
    """Returns an experiment with all its variants, in the order of params.yaml."""
    names = [name for name in known if name in source.variants]
    names += [name for name in source.variants if name not in known]
    return Experiment(source.name, {name: source.read(name) for name in names})


def _stem(names: Sequence[str], since: str | None) -> str:
    return safe("-and-".join([*names, *([f"since-{since}"] if since is not None else [])]))


def _told(
    found: Grid,
    sources: Sequence[Source],
    unfinished: Sequence[Unfinished],
    path: Path,
    form: Form,
) -> str:
    if form == "json":
        return _json(found, sources, unfinished, path)
    page = grid_report.blocks(found)
    if unfinished:
        states = "; ".join(f"{one.name} {one.state}" for one in unfinished)
        page.append(pages.Paragraph(f"Without results, and not here: {states}."))
    page.append(pages.Picture(_CAPTION, str(path)))
    return pages.markdown(page) if form == "md" else grid_report.text(page)


def _json(
    found: Grid, sources: Sequence[Source], unfinished: Sequence[Unfinished], path: Path
) -> str:
    whole = {
        "experiments": [{"name": one.name, "is": one.told} for one in sources],
        "unfinished": [{"name": one.name, "state": one.state} for one in unfinished],
        **record(found),
        "figure": str(path),
    }
    return as_json(whole)
