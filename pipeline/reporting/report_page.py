"""The answer as one page for a browser: with charts to ask, and all it needs inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import Contrast
from pipeline.comparison.words import number, percent
from pipeline.params import Params
from pipeline.reporting import charts, report
from pipeline.reporting.curves import PANELS, counted
from pipeline.reporting.misread import Misread

# Colours of figures that cannot be seen on a dark page, and what stands for them there.
ON_DARK = {"#000000": "#FFFFFF"}


@dataclass(frozen=True, eq=False)
class Enclosed:
    """What the page carries beside the results.

    Attributes:
        labels: [images], the true classes of the test set.
        misread: the digits to browse.
        thumbnails: a PNG of each of them.
        figures: PNGs of `paired_differences` and `curves`, for who runs no scripts.
        program: JavaScript that gives `vegaEmbed`.
    """

    labels: NDArray[np.uint8]
    misread: Misread
    thumbnails: Sequence[bytes]
    figures: Mapping[str, bytes]
    program: str


@dataclass(frozen=True, eq=False)
class Confusion:
    """What each digit is taken for by a variant.

    Attributes:
        label: of the variant.
        shares: [classes, classes], in per cent of the images of a class, mean of all runs.
        heat: [classes, classes], the mistakes as shares of the greatest of any variant.
    """

    label: str
    shares: NDArray[np.float64]
    heat: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One of the learning curves: its element, its name, and what it says in words."""

    id: str
    name: str
    told: str


def html(params: Params, cells: Mapping[str, Cell], contrast: Contrast, enclosed: Enclosed) -> str:
    """Returns the page: one text that needs nothing from elsewhere."""
    every, confidence = list(cells.values()), contrast.confidence
    candidate = cells[params.comparison.candidate]
    baseline = cells[params.comparison.baseline]
    told = report.shared(params, cells, contrast)
    # A percentage is not broken before its sign.
    unbroken = "\N{NO-BREAK SPACE}%"
    told |= {"level": told["level"].replace(" %", unbroken), "unbroken": unbroken}
    return _ENVIRONMENT.get_template("report.html.j2").render(
        told,
        pairs=_pairs(candidate, baseline),
        panels=[_panel(every, panel, confidence) for panel in PANELS],
        epochs=_epochs(every, confidence),
        seeds=sorted({int(seed) for cell in every for seed in cell.history["seed"]}),
        confusions=_confusions(every, enclosed.labels),
        digits=list(zip(enclosed.misread.digits, map(_inside, enclosed.thumbnails), strict=True)),
        misread=enclosed.misread.total,
        differing=[(key, values) for key, values in told["settings"] if len(set(values)) > 1],
        shared=[(key, values[0]) for key, values in told["settings"] if len(set(values)) == 1],
        origins=_origins(every),
        paints={cell.color: ON_DARK.get(cell.color, cell.color) for cell in every},
        figures={name: _inside(content) for name, content in enclosed.figures.items()},
        specs={
            "differences-chart": charts.differences(candidate, baseline, contrast.accuracy),
            "pairs-chart": charts.pairs(candidate, baseline),
            **{_id(panel): charts.learning_curve(every, panel, confidence) for panel in PANELS},
        },
        program=enclosed.program,
    )


def _pairs(candidate: Cell, baseline: Cell) -> list[tuple[int, float, float, float]]:
    """Returns seed, both accuracies and their difference of each pair."""
    both = candidate.scores.merge(baseline.scores, on="seed", suffixes=("", "_baseline"))
    columns = both["seed"], both["accuracy"], both["accuracy_baseline"]
    return [
        (int(seed), float(ours), float(theirs), float(ours - theirs))
        for seed, ours, theirs in zip(*columns, strict=True)
    ]


def _panel(results: Sequence[Cell], panel: tuple[str, str], confidence: float) -> Panel:
    split, measure = panel
    name = f"{split.capitalize()} {measure}"
    told = [
        f"{one.label} {_score(measure, curve.iloc[-1])}"
        for one in counted(results, measure)
        if len(curve := one.curve(split, measure, confidence)["mean"])
    ]
    means = ", ".join(told)
    return Panel(_id(panel), name, f"{name} by epoch. Means after the last one: {means}.")


def _epochs(results: Sequence[Cell], confidence: float) -> list[tuple[int, list[str]]]:
    """Returns each epoch with the means of every panel and variant, in that order."""
    curves = [
        (measure, one.curve(split, measure, confidence)["mean"])
        for split, measure in PANELS
        for one in counted(results, measure)
    ]
    epochs = sorted({int(epoch) for one in results for epoch in one.history["epoch"]})
    return [
        (epoch, [_score(measure, curve.get(epoch, np.nan)) for measure, curve in curves])
        for epoch in epochs
    ]


def _score(measure: str, value: float) -> str:
    known = float(value) if np.isfinite(value) else None
    return f"{percent(known)} %" if measure == "accuracy" else number(known)


def _confusions(results: Sequence[Cell], labels: NDArray[np.uint8]) -> list[Confusion]:
    counts = [one.mean_confusion(labels) for one in results]
    shares = [100 * each / np.maximum(each.sum(axis=1, keepdims=True), 1) for each in counts]
    # Colour speaks of mistakes: on one scale with the diagonal they would not be seen.
    mistakes = [share * (1 - np.eye(len(share))) for share in shares]
    worst = max(float(each.max()) for each in mistakes) or 1.0
    return [
        Confusion(one.label, share, mistake / worst)
        for one, share, mistake in zip(results, shares, mistakes, strict=True)
    ]


def _origins(cells: Sequence[Cell]) -> list[tuple[str, str, list[str]]]:
    """Returns each hash once: of what it is, and the labels of the variants made from that."""
    labels: dict[tuple[str, str], list[str]] = {}
    for what in ("Prepared data", "Training code"):
        for cell in cells:
            digest = cell.data_sha256 if what == "Prepared data" else cell.code_sha256
            labels.setdefault((what, digest), []).append(cell.label)
    return [(what, digest, made) for (what, digest), made in labels.items()]


def _id(panel: tuple[str, str]) -> str:
    return f"{'-'.join(panel)}-chart"


def _inside(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


# Not by the names of templates: here everything is HTML but what is included as it is.
_ENVIRONMENT = report.environment(autoescape=True)
_ENVIRONMENT.filters["paint"] = charts.paint
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
