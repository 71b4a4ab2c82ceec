"""Compares what the names stand for: two sides, or any number of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.commands.output import FOLDER, as_json, safe
from pipeline.comparison import contrast, grid
from pipeline.comparison.contrast import Contrast, contrasts
from pipeline.comparison.grid import Experiment, Grid
from pipeline.comparison.looks import looks_of
from pipeline.comparison.measures import MEASURES, Measure
from pipeline.errors import ArgumentError
from pipeline.lookup.names import find
from pipeline.lookup.sources import Source, true_labels
from pipeline.params import Params
from pipeline.reporting import contrast_report, figures, grid_figure, grid_report, pages
from pipeline.reporting.pictures import write_figure

if TYPE_CHECKING:
    from pipeline.lookup.listing import Unfinished

Form = Literal["text", "md", "json"]
_ALT_OF_TWO = "Test {} of each pair, the differences, and how both sides learn"
_ALT_OF_MANY = "Test {} of each cell, and how it differs from the baseline"


def of_two(params: Params, a: str, b: str, form: Form, figure: Path | None) -> None:
    """Prints how `a` compares with `b` and draws it, in `FOLDER` unless `figure` says where."""
    left, right = find(a, params), find(b, params)
    pairs = [
        (left.read(of_left), right.read(of_right)) for of_left, of_right in _paired(left, right)
    ]
    labels = {cell.data_sha256: true_labels(cell.data_sha256) for cell, _ in pairs}
    known_labels = {data: classes for data, classes in labels.items() if classes is not None}
    measure = MEASURES[params.comparison.measure]
    confidence, looks = params.comparison.confidence, looks_of(params.comparison)
    comparisons = contrasts(pairs, measure, confidence, known_labels, looks)

    path = None
    if not all(comparison.same_scores for comparison in comparisons):
        path = figure or FOLDER / f"{safe(a)}-against-{safe(b)}{_by(measure)}.png"
        write_figure(path, figures.contrasts(comparisons))
    if form == "json":
        print(_json_of_two(left, right, comparisons, path), end="")
        return
    page = _names_block(left, right)
    for comparison in comparisons:
        page += contrast_report.blocks(comparison)
    if path:
        page.append(pages.Picture(_ALT_OF_TWO.format(measure.words), str(path)))
    print(pages.markdown(page) if form == "md" else pages.text(page), end="")


def _by(measure: Measure) -> str:
    """Returns what sets a figure's name apart from that of the same comparison by accuracy."""
    return "" if measure.name == "accuracy" else f"-by-{measure.name}"


def _paired(left: Source, right: Source) -> list[tuple[str, str]]:
    """Returns the pairs of variants to compare, one of each side."""
    if not (left.whole or right.whole):
        return [(left.variants[0], right.variants[0])]
    shared = [name for name in left.variants if name in right.variants]
    if not shared:
        has = "; ".join(f"{side.name!r} has {', '.join(side.variants)}" for side in (left, right))
        raise ArgumentError(
            f"no variant is in both: {has}; name one of each, as in HEAD~1:batch_norm"
        )
    return [(name, name) for name in shared]


def _names_block(left: Source, right: Source) -> list[pages.Block]:
    """Returns what the names stand for, and the variants that only one side has."""
    rows = [[source.name, source.description] for source in (left, right)]
    page: list[pages.Block] = [pages.Table(["Compared", "which is"], rows)]
    if left.whole and right.whole:
        for side, other in ((left, right), (right, left)):
            alone = [name for name in side.variants if name not in other.variants]
            if alone:
                page.append(pages.Paragraph(f"Only in {side.name}: {', '.join(alone)}."))
    return page


def _json_of_two(
    left: Source, right: Source, comparisons: Sequence[Contrast], path: Path | None
) -> str:
    return as_json(
        {
            "a": {"name": left.name, "is": left.description},
            "b": {"name": right.name, "is": right.description},
            "comparisons": [contrast.record(comparison) for comparison in comparisons],
            "figure": path and str(path),
        }
    )


def of_many(
    params: Params, names: Sequence[str], since: str | None, form: Form, figure: Path | None
) -> None:
    """Prints and draws the cells of the experiments named, and of all since a commit."""
    # DVC takes half a second to import, and comparing two variants can do without it.
    from pipeline.lookup import experiments

    sources, unfinished = [experiments.find(name) for name in names], []
    if since is not None:
        later, unfinished = experiments.since(since)
        sources += later
    # An experiment that was named twice counts once, under its first name.
    sources = list({source.description: source for source in reversed(sources)}.values())[::-1]
    compared = grid.grid(
        [_experiment(source, list(params.variants)) for source in sources],
        params.comparison.baseline,
        MEASURES[params.comparison.measure],
        params.comparison.confidence,
        looks_of(params.comparison),
    )
    stem = safe("-and-".join([*names, *([f"since-{since}"] if since is not None else [])]))
    path = figure or FOLDER / f"{stem}{_by(compared.measure)}.png"
    write_figure(path, grid_figure.figure(compared))
    if form == "json":
        print(_json_of_many(compared, sources, unfinished, path), end="")
        return
    page = grid_report.blocks(compared)
    if unfinished:
        states = "; ".join(f"{experiment.name} {experiment.state}" for experiment in unfinished)
        told = f"Left out, for they have no results: {states}."
        if any(experiment.state != "failed" for experiment in unfinished):
            told += " Once they have, p is adjusted over them too, and a verdict may be another."
        page.append(pages.Paragraph(told))
    page.append(pages.Picture(_ALT_OF_MANY.format(compared.measure.words), str(path)))
    print(pages.markdown(page) if form == "md" else grid_report.text(page), end="")


def _experiment(source: Source, order: Sequence[str]) -> Experiment:
    """Returns an experiment with all its variants, those of params.yaml first and in its order."""
    names = [name for name in order if name in source.variants]
    names += [name for name in source.variants if name not in order]
    return Experiment(source.name, {name: source.read(name) for name in names})


def _json_of_many(
    compared: Grid, sources: Sequence[Source], unfinished: Sequence[Unfinished], path: Path
) -> str:
    return as_json(
        {
            "experiments": [{"name": source.name, "is": source.description} for source in sources],
            "unfinished": [
                {"name": experiment.name, "state": experiment.state} for experiment in unfinished
            ],
            **grid.record(compared),
            "figure": str(path),
        }
    )
