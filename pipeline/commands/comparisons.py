"""Comparisons of whatever is named: of two sides, or of any number of experiments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.comparison import contrast, grid
from pipeline.comparison.contrast import Contrast, contrasts
from pipeline.comparison.grid import Experiment, Grid
from pipeline.errors import ArgumentError
from pipeline.lookup.names import find
from pipeline.lookup.sources import Source, true_labels
from pipeline.params import Params
from pipeline.reporting import contrast_report, figures, grid_figure, grid_report, pages
from pipeline.reporting.pictures import write_figure

if TYPE_CHECKING:
    from pipeline.lookup.experiments import Unfinished

FOLDER = Path("comparisons")
Form = Literal["text", "md", "json"]
_LONGEST_NAME = 60
_OF_TWO = "Test accuracy of each pair, the differences, and how both sides learn"
_OF_MANY = "Test accuracy of each cell, and what it gains over the baseline"


def of_two(params: Params, a: str, b: str, form: Form, figure: Path | None) -> None:
    """Prints how `a` compares with `b` and draws it, in `FOLDER` unless `figure` says where."""
    left, right = find(a, params), find(b, params)
    pairs = [(left.read(one), right.read(other)) for one, other in _chosen(left, right)]
    labels = {one.data_sha256: true_labels(one.data_sha256) for one, _ in pairs}
    known = {data: classes for data, classes in labels.items() if classes is not None}
    found = contrasts(pairs, params.comparison.confidence, known)

    path = None
    if not all(one.same_scores for one in found):
        path = figure or FOLDER / f"{safe(a)}-against-{safe(b)}.png"
        write_figure(path, figures.contrasts(found))
    print(_told(left, right, found, path, form), end="")


def _chosen(left: Source, right: Source) -> list[tuple[str, str]]:
    """Returns which variant of the one is set against which of the other."""
    if not (left.whole or right.whole):
        return [(left.variants[0], right.variants[0])]
    shared = [name for name in left.variants if name in right.variants]
    if not shared:
        has = "; ".join(f"{one.name!r} has {', '.join(one.variants)}" for one in (left, right))
        raise ArgumentError(f"no variant is in both: {has}")
    return [(name, name) for name in shared]


def _told(
    left: Source, right: Source, found: Sequence[Contrast], path: Path | None, form: Form
) -> str:
    if form == "json":
        return _json(left, right, found, path)
    page = _found(left, right)
    for one in found:
        page += contrast_report.blocks(one)
    if path:
        page.append(pages.Picture(_OF_TWO, str(path)))
    return pages.markdown(page) if form == "md" else pages.text(page)


def _found(left: Source, right: Source) -> list[pages.Block]:
    """Returns what the names were found to be, and what of it has no namesake."""
    rows = [[source.name, source.told] for source in (left, right)]
    page: list[pages.Block] = [pages.Table(["Compared", "found as"], rows)]
    if left.whole and right.whole:
        for one, other in ((left, right), (right, left)):
            alone = [name for name in one.variants if name not in other.variants]
            if alone:
                page.append(pages.Paragraph(f"Only in {one.name}: {', '.join(alone)}."))
    return page


def _json(left: Source, right: Source, found: Sequence[Contrast], path: Path | None) -> str:
    whole: dict[str, Any] = {
        "a": {"name": left.name, "is": left.told},
        "b": {"name": right.name, "is": right.told},
        "comparisons": [contrast.record(one) for one in found],
        "figure": path and str(path),
    }
    return as_json(whole)


def of_many(
    params: Params, names: Sequence[str], since: str | None, form: Form, figure: Path | None
) -> None:
    """Prints and draws the cells of the experiments named, and of all since a commit."""
    # DVC takes half a second to import, which a comparison of two variants can do without.
    from pipeline.lookup import experiments

    sources, unfinished = [experiments.find(name) for name in names], []
    if since is not None:
        grown, unfinished = experiments.since(since)
        sources += grown
    # Named twice, it is one all the same.
    sources = list({one.told: one for one in reversed(sources)}.values())[::-1]
    found = grid.grid(
        [_experiment(one, list(params.variants)) for one in sources],
        params.comparison.baseline,
        params.comparison.confidence,
    )
    path = figure or FOLDER / f"{_stem(names, since)}.png"
    write_figure(path, grid_figure.figure(found))
    print(_told_of_many(found, sources, unfinished, path, form), end="")


def _experiment(source: Source, known: Sequence[str]) -> Experiment:
    """Returns an experiment with all its variants, in the order of params.yaml."""
    names = [name for name in known if name in source.variants]
    names += [name for name in source.variants if name not in known]
    return Experiment(source.name, {name: source.read(name) for name in names})


def _stem(names: Sequence[str], since: str | None) -> str:
    return safe("-and-".join([*names, *([f"since-{since}"] if since is not None else [])]))


def _told_of_many(
    found: Grid,
    sources: Sequence[Source],
    unfinished: Sequence[Unfinished],
    path: Path,
    form: Form,
) -> str:
    if form == "json":
        return _json_of_many(found, sources, unfinished, path)
    page = grid_report.blocks(found)
    if unfinished:
        states = "; ".join(f"{one.name} {one.state}" for one in unfinished)
        page.append(pages.Paragraph(f"Without results, and not here: {states}."))
    page.append(pages.Picture(_OF_MANY, str(path)))
    return pages.markdown(page) if form == "md" else grid_report.text(page)


def _json_of_many(
    found: Grid, sources: Sequence[Source], unfinished: Sequence[Unfinished], path: Path
) -> str:
    whole = {
        "experiments": [{"name": one.name, "is": one.told} for one in sources],
        "unfinished": [{"name": one.name, "state": one.state} for one in unfinished],
        **grid.record(found),
        "figure": str(path),
    }
    return as_json(whole)


def as_json(whole: Mapping[str, Any]) -> str:
    """Returns what `--json` prints: of nan and infinity, which JSON has not, null."""
    plain = json.loads(json.dumps(whole), parse_constant=lambda _: None)
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def safe(name: str) -> str:
    """Returns a name as part of a file's name."""
    return re.sub(r"[^\w.~-]+", "_", name).strip("._-")[:_LONGEST_NAME] or "at"
