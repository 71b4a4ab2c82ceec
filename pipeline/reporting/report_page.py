"""The report as one self-contained page for a browser, with interactive charts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import Contrast
from pipeline.comparison.measures import Measure
from pipeline.comparison.words import number, percent
from pipeline.params import Params
from pipeline.reporting import charts, report
from pipeline.reporting.charts import finite
from pipeline.reporting.curves import PANELS, counted
from pipeline.reporting.misread import Misread

# Colours that cannot be seen on a dark page, and their replacements there.
ON_DARK = {"#000000": "#FFFFFF"}


@dataclass(frozen=True, eq=False)
class Enclosed:
    """What the page embeds besides the results.

    Attributes:
        labels: [images], the true classes of the test set.
        misread: the digits to browse.
        thumbnails: a PNG of each of these digits.
        figures: PNGs of `paired_differences` and `curves`, shown where scripts are off.
        program: JavaScript that defines `vegaEmbed`.
    """

    labels: NDArray[np.uint8]
    misread: Misread
    thumbnails: Sequence[bytes]
    figures: Mapping[str, bytes]
    program: str


@dataclass(frozen=True, eq=False)
class Confusion:
    """What a variant takes each digit for.

    Attributes:
        label: the variant's.
        shares: [classes, classes], in per cent of the images of a class, averaged over all runs.
        heat: [classes, classes], each mistake relative to the largest of any variant, 0 to 1.
    """

    label: str
    shares: NDArray[np.float64]
    heat: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One of the learning curves: its element, its name, and a description in words."""

    id: str
    name: str
    description: str


def html(params: Params, cells: Mapping[str, Cell], contrast: Contrast, enclosed: Enclosed) -> str:
    """Returns the page, which loads nothing from elsewhere."""
    all_cells, confidence = list(cells.values()), contrast.confidence
    candidate = cells[params.comparison.candidate]
    baseline = cells[params.comparison.baseline]
    values = report.shared(params, cells, contrast)
    # No line break before a percent sign.
    unbroken = "\N{NO-BREAK SPACE}%"
    values |= {"level": values["level"].replace(" %", unbroken), "unbroken": unbroken}
    return _ENVIRONMENT.get_template("report.html.j2").render(
        values,
        pairs=_pairs(candidate, baseline, contrast.measure),
        panels=[_panel(all_cells, panel, confidence) for panel in PANELS],
        epochs=_epochs(all_cells, confidence),
        seeds=sorted({int(seed) for cell in all_cells for seed in cell.history["seed"]}),
        confusions=_confusions(all_cells, enclosed.labels),
        digits=list(zip(enclosed.misread.digits, map(_data_url, enclosed.thumbnails), strict=True)),
        misread=enclosed.misread.total,
        differing=[(key, row) for key, row in values["settings"] if len(set(row)) > 1],
        shared=[(key, row[0]) for key, row in values["settings"] if len(set(row)) == 1],
        origins=_origins(all_cells),
        paints={cell.color: ON_DARK.get(cell.color, cell.color) for cell in all_cells},
        figures={name: _data_url(content) for name, content in enclosed.figures.items()},
        specs={
            "differences-chart": charts.differences(
                candidate, baseline, contrast.measure, contrast.paired
            ),
            "pairs-chart": charts.pairs(candidate, baseline, contrast.measure),
            **{_id(panel): charts.learning_curve(all_cells, panel, confidence) for panel in PANELS},
        },
        program=enclosed.program,
    )


def _pairs(
    candidate: Cell, baseline: Cell, measure: Measure
) -> list[tuple[int, float | None, float | None, float | None]]:
    """Returns the seed, both scores and their difference, for each pair; None if not finite."""
    both = candidate.scores.merge(baseline.scores, on="seed", suffixes=("", "_baseline"))
    columns = both["seed"], both[measure.name], both[f"{measure.name}_baseline"]
    return [
        (int(seed), finite(a), finite(b), finite(a - b))
        for seed, a, b in zip(*columns, strict=True)
    ]


def _panel(cells: Sequence[Cell], panel: tuple[str, str], confidence: float) -> Panel:
    split, measure = panel
    name = f"{split.capitalize()} {measure}"
    means = [
        f"{cell.label} {_score(measure, curve.iloc[-1])}"
        for cell in counted(cells, measure)
        if len(curve := cell.curve(split, measure, confidence)["mean"])
    ]
    description = f"{name} by epoch. Means after the last one: {', '.join(means)}."
    return Panel(_id(panel), name, description)


def _epochs(cells: Sequence[Cell], confidence: float) -> list[tuple[int, list[str]]]:
    """Returns each epoch with its means, ordered by panel, then by variant."""
    curves = [
        (measure, cell.curve(split, measure, confidence)["mean"])
        for split, measure in PANELS
        for cell in counted(cells, measure)
    ]
    epochs = sorted({int(epoch) for cell in cells for epoch in cell.history["epoch"]})
    return [
        (epoch, [_score(measure, curve.get(epoch, np.nan)) for measure, curve in curves])
        for epoch in epochs
    ]


def _score(measure: str, value: float) -> str:
    known = finite(value)
    return f"{percent(known)} %" if measure == "accuracy" else number(known)


def _confusions(cells: Sequence[Cell], labels: NDArray[np.uint8]) -> list[Confusion]:
    counts = [cell.mean_confusion(labels) for cell in cells]
    shares = [100 * count / np.maximum(count.sum(axis=1, keepdims=True), 1) for count in counts]
    # Only mistakes are coloured: on one scale with the diagonal they would be invisible.
    mistakes = [share * (1 - np.eye(len(share))) for share in shares]
    worst = max(float(mistake.max()) for mistake in mistakes) or 1.0
    return [
        Confusion(cell.label, share, mistake / worst)
        for cell, share, mistake in zip(cells, shares, mistakes, strict=True)
    ]


def _origins(cells: Sequence[Cell]) -> list[tuple[str, str, list[str]]]:
    """Returns each hash once, with what it is of and the labels of the variants made from that."""
    labels: dict[tuple[str, str], list[str]] = {}
    for what in ("Prepared data", "Training code"):
        for cell in cells:
            digest = cell.data_sha256 if what == "Prepared data" else cell.code_sha256
            labels.setdefault((what, digest), []).append(cell.label)
    return [(what, digest, variants) for (what, digest), variants in labels.items()]


def _id(panel: tuple[str, str]) -> str:
    return f"{'-'.join(panel)}-chart"


def _data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


# Escape everything, whatever the name of its template; only `safe` parts go in as they are.
_ENVIRONMENT = report.environment(autoescape=True)
_ENVIRONMENT.filters["paint"] = charts.paint
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
