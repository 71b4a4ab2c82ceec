"""The report as one self-contained page for a browser, with interactive charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import Contrast
from pipeline.comparison.measures import Measure
from pipeline.comparison.words import number, percent
from pipeline.params import Params
from pipeline.reporting import charts, report
from pipeline.reporting.charts import finite
from pipeline.reporting.confusion import Confusions
from pipeline.reporting.curves import PANELS, counted
from pipeline.reporting.features import Feature
from pipeline.reporting.misread import Misread
from pipeline.reporting.pictures import data_url
from pipeline.reporting.templating import environment
from pipeline.reporting.words import Words, short_names

# Colours that are too dim on a dark page, and their replacements there.
ON_DARK = {"#0072B2": "#4DA8E8", "#D55E00": "#F28C3A", "#009E73": "#2FC79A", "#000000": "#FFFFFF"}
# In characters, of the name of a class at the head of a row or column.
_LONGEST_HEAD = 22


@dataclass(frozen=True, eq=False)
class Enclosed:
    """What the page embeds besides the results.

    Attributes:
        words: what the dataset's examples are called.
        classes: the names of the classes.
        confusions: what the variants take the classes for.
        misread: the examples to browse.
        looks: of each of these examples, a PNG if it is an image, else its unusual features.
        figures: PNGs of `paired_differences` and `curves`, shown where scripts are off.
        program: JavaScript that defines `vegaEmbed`.
    """

    words: Words
    classes: Sequence[str]
    confusions: Confusions
    misread: Misread
    looks: Sequence[bytes | Sequence[Feature]]
    figures: Mapping[str, bytes]
    program: str


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
    values = report.shared(params, cells, contrast, enclosed.words)
    # No line break before a percent sign.
    unbroken = "\N{NO-BREAK SPACE}%"
    values |= {"level": values["level"].replace(" %", unbroken), "unbroken": unbroken}
    return _ENVIRONMENT.get_template("report.html.j2").render(
        values,
        pairs=_pairs(candidate, baseline, contrast.measure),
        panels=[_panel(all_cells, panel, confidence) for panel in PANELS],
        epochs=_epochs(all_cells, confidence),
        seeds=sorted({int(seed) for cell in all_cells for seed in cell.history["seed"]}),
        classes=enclosed.classes,
        short=short_names(enclosed.classes, _LONGEST_HEAD),
        confusions=enclosed.confusions,
        looks=[
            (example, data_url(look), ()) if isinstance(look, bytes) else (example, None, look)
            for example, look in zip(enclosed.misread.examples, enclosed.looks, strict=True)
        ],
        misread=enclosed.misread.total,
        differing=[(key, row) for key, row in values["settings"] if len(set(row)) > 1],
        shared=[(key, row[0]) for key, row in values["settings"] if len(set(row)) == 1],
        origins=_origins(all_cells),
        paints={cell.color: ON_DARK.get(cell.color, cell.color) for cell in all_cells},
        figures={name: data_url(content) for name, content in enclosed.figures.items()},
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


# Escape everything, whatever the name of its template; only `safe` parts go in as they are.
_ENVIRONMENT = environment(autoescape=True)
_ENVIRONMENT.filters["paint"] = charts.paint
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
