"""Results as Vega-Lite specifications, which the page draws.

Colours are CSS, so that the page can turn dark without drawing again: `currentColor` for axes and
lines, and a variable for each variant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from pipeline.comparison.cells import Cell
from pipeline.comparison.measures import Measure
from pipeline.comparison.statistics import PairedComparison
from pipeline.reporting.curves import counted, most_of, printed

Spec = dict[str, Any]

# The signals by which the page sets what a learning curve shows, and how far it is zoomed.
VARIANTS, SEEDS, LAYERS, ZOOM = "variants", "seeds", "layers", "zoom"
RUNS, MEAN, NOTEBOOK = "runs", "mean", "notebook"

_CONFIG: Spec = {
    "background": None,
    # The page describes each chart and has its numbers in tables; single marks would be noise.
    "aria": False,
    "font": "system-ui, sans-serif",
    # `formatType` may name any of Vega's functions.
    "customFormatTypes": True,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "domainOpacity": 0.6,
        "tickOpacity": 0.6,
        "gridOpacity": 0.13,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
}


def paint(color: str) -> str:
    """Returns a colour as a CSS variable, which a dark page may set to a lighter one."""
    return f"var(--paint-{color.removeprefix('#')}, {color})"


def pairs(candidate: Cell, baseline: Cell, measure: Measure) -> Spec:
    """Returns the test score of both runs of each pair, joined by a line."""
    sides = (baseline, candidate)
    rows = [
        {"variant": cell.label, "side": side, "seed": int(seed), "score": finite(score)}
        for side, cell in enumerate(sides)
        for seed, score in zip(cell.scores["seed"], cell.scores[measure.name], strict=True)
    ]
    x = {
        # By place, not by label: two variants may have the same label.
        "field": "side",
        "type": "ordinal",
        "axis": {
            "labelExpr": f"{json.dumps([cell.label for cell in sides])}[datum.value]",
            "labelAngle": 0,
            "labelLimit": 130,
            "title": None,
            "grid": False,
        },
        "scale": {"padding": 0.35},
    }
    y = _axis("score", format="%" if measure.is_share else "f", tickCount=6) | {
        "scale": {"zero": False, "padding": 8}
    }
    lines = {
        "mark": {"type": "line", "color": "currentColor", "opacity": 0.45, "strokeWidth": 1},
        "encoding": {"x": x, "y": y, "detail": {"field": "seed"}},
    }
    tooltip = [
        _text("variant", "variant"),
        _text("seed", "seed"),
        _number("score", f"test {measure.words}", _digits(measure)),
    ]
    colors = _colors("side", [paint(cell.color) for cell in sides])
    points = {
        "mark": {"type": "circle", "size": 64, "opacity": 1},
        "encoding": {"x": x, "y": y, "color": colors, "tooltip": tooltip},
    }
    return _chart(rows, [lines, points], height=300)


def differences(
    candidate: Cell, baseline: Cell, measure: Measure, result: PairedComparison
) -> Spec:
    """Returns the difference of each pair in a test score, and their mean and interval."""
    scores = candidate.scores.merge(baseline.scores, on="seed", suffixes=("", "_baseline"))
    columns = scores[["seed", measure.name, f"{measure.name}_baseline"]]
    scale, sign = measure.scale, -1 if measure.smaller_is_better else 1
    rows = [
        {
            "seed": int(seed),
            "difference": finite(scale * (ours - theirs)),
            "candidate": finite(ours),
            "baseline": finite(theirs),
            # A place in `colors` below: who is ahead, or neither.
            "ahead": 0 if sign * ours > sign * theirs else 1 if sign * ours < sign * theirs else 2,
        }
        for seed, ours, theirs in columns.itertuples(index=False)
    ]
    color = paint(candidate.color)
    colors = [color, paint(baseline.color), "var(--quiet)"]

    layers = []
    if result.ci_low is not None and result.ci_high is not None:
        ends = {"x": {"datum": scale * result.ci_low}, "x2": {"datum": scale * result.ci_high}}
        layers.append(_once({"type": "rect", "color": color, "opacity": 0.2}, ends))
    if result.mean is not None:
        mean = {"x": {"datum": scale * result.mean}}
        layers.append(_once({"type": "rule", "color": color, "strokeWidth": 2}, mean))
    layers.append(_once({"type": "rule", "color": "currentColor"}, {"x": {"datum": 0}}))

    digits = _digits(measure)
    title = f"Difference in test {measure.words} ({measure.unit})"
    x = _axis("difference", title=title, format="+f", tickCount=8, labelFlush=False)
    y = {"field": "seed", "type": "ordinal", "sort": "descending"}
    tooltip = [
        _text("seed", "seed"),
        _number("difference", f"difference, {measure.unit}", f"+.{measure.decimals}f"),
        _text("candidate_told", "one run"),
        _text("baseline_told", "the other"),
    ]
    points = {
        "mark": {"type": "circle", "size": 80, "opacity": 1},
        "encoding": {
            "x": x | {"scale": {"zero": True, "nice": True}},
            "y": y | {"axis": {"title": "Seed", "grid": True, "labelOverlap": True}},
            "color": _colors("ahead", colors),
            "tooltip": tooltip,
        },
        # A label must not be a title in the tooltip: Vega-Lite would read it as an expression.
        "transform": [
            {
                "calculate": f"{json.dumps(cell.label)} + ', ' + format(datum.{side}, '{digits}')",
                "as": f"{side}_told",
            }
            for side, cell in (("candidate", candidate), ("baseline", baseline))
        ],
    }
    return _chart(rows, [*layers, points], height=300)


def learning_curve(results: Sequence[Cell], panel: tuple[str, str], confidence: float) -> Spec:
    """Returns a split's loss or accuracy by epoch: every run, and the means with their intervals.

    Args:
        results: the variants.
        panel: split and measure.
        confidence: of the intervals.
    """
    split, measure = panel
    used = counted(results, measure)
    runs: list[Spec] = [
        {"variant": place, "label": cell.label, "seed": int(seed), "epoch": int(epoch),
         "value": finite(value)}
        for place, cell in enumerate(results)
        for seed, epoch, value in cell.history.loc[
            cell.history["split"] == split, ["seed", "epoch", measure]
        ].itertuples(index=False)
    ]  # fmt: skip
    means: list[Spec] = [
        {"variant": place, "label": cell.label, "runs": cell.history["seed"].nunique(),
         "epoch": epoch, "value": finite(mean), "low": finite(low), "high": finite(high)}
        for place, cell in enumerate(used)
        for epoch, mean, low, high in cell.curve(*panel, confidence)[
            ["mean", "ci_low", "ci_high"]
        ].itertuples()
    ]  # fmt: skip
    notebook: list[Spec] = [
        {"variant": place, "label": f"{cell.label}, the notebook", "epoch": epoch, "value": value}
        for place, cell in enumerate(results)
        for epoch, value in enumerate(printed(cell, *panel))
    ]

    # With room at both ends, where marks would be cut in half.
    last = max(int(cell.history["epoch"].max()) for cell in results)
    margin = 0.03 * last or 0.5
    epochs = {"domain": [-margin, last + margin], "nice": False}
    limits = {"domain": list(most_of(used, *panel)), "nice": False, "zero": False}
    y = _axis("value", format="%" if measure == "accuracy" else "f", tickCount=6)
    scales = {
        "x": {
            "field": "epoch",
            "type": "quantitative",
            "scale": epochs,
            "axis": {
                "title": "Epoch",
                "format": "d",
                "tickMinStep": 1,
                # Between few epochs there are ticks all the same, which would be rounded.
                "labelExpr": "datum.value % 1 ? '' : datum.label",
                "grid": False,
            },
        },
        "y": y | {"scale": limits},
        "color": _colors("variant", [paint(cell.color) for cell in results]),
    }

    # What "Every point" on the page zooms out to.
    values = [row["value"] for row in [*runs, *means, *notebook] if row["value"] is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.04 * (high - low) or 0.01
    layers = _curve_layers(panel, scales, means, notebook, is_line=last > 0)
    return _chart(runs, layers, height=260) | {
        "params": [
            {"name": VARIANTS, "value": list(range(len(results)))},
            {"name": SEEDS, "value": sorted({row["seed"] for row in runs})},
            {"name": LAYERS, "value": [RUNS, MEAN, NOTEBOOK]},
        ],
        "usermeta": {"everything": [low - room, high + room]},
    }


def _curve_layers(
    panel: tuple[str, str],
    scales: Spec,
    means: list[Spec],
    notebook: list[Spec],
    *,
    is_line: bool,
) -> list[Spec]:
    """Returns the lines of a learning curve, and on top of them the points with tooltips.

    Of a single epoch there is no line (`is_line`), and what it would show are points.
    """
    split, measure = panel
    digits = {"loss": ".5f", "accuracy": ".3%"}[measure]
    variant, epoch = _text("label", "variant"), _text("epoch", "epoch")
    value = _number("value", f"{split} {measure}", digits)
    ends = [_number("low", "interval from", digits), _number("high", "to", digits)]

    run = scales | {"detail": {"field": "seed"}}
    band = {"y": scales["y"] | {"field": "low"}, "y2": {"field": "high"}}
    # The wheel without a key scrolls the page.
    zoom = {"type": "interval", "zoom": "wheel![event.ctrlKey || event.metaKey]"}
    # Of a line's points only the one nearest to the pointer is visible.
    nearest = {"type": "point", "nearest": True, "on": "pointerover", "clear": "pointerout"}
    pointed_at = {"param": "nearest", "empty": False}
    hidden = {
        "opacity": {"condition": {**pointed_at, "value": 1}, "value": 0 if is_line else 0.6},
        "size": {"condition": {**pointed_at, "value": 110}, "value": 40},
        "tooltip": [variant, _text("seed", "seed"), epoch, value],
    }
    mean = {"tooltip": [variant, _text("runs", "mean of"), epoch, value, *ends]}
    printed_run = {"tooltip": [variant, epoch, value]}
    interval, width = ("area", 0) if is_line else ("rule", 10)
    return [
        _shown(MEAN, means, interval, scales | band, opacity=0.2, strokeWidth=width),
        _shown(RUNS, None, "line", run, strokeWidth=1, opacity=0.6)
        | {"params": [{"name": ZOOM, "bind": "scales", "select": zoom}]},
        _shown(MEAN, means, "line", scales, strokeWidth=3),
        _shown(NOTEBOOK, notebook, "line", scales, strokeWidth=2, strokeDash=[2, 3]),
        _shown(RUNS, None, "circle", run | hidden)
        | {"params": [{"name": "nearest", "select": nearest}]},
        _shown(MEAN, means, "circle", scales | mean, size=60, opacity=1),
        _shown(NOTEBOOK, notebook, "point", scales | printed_run, size=40),
    ]


def _shown(layer: str, rows: list[Spec] | None, mark: str, encoding: Spec, **style: object) -> Spec:
    """Returns a layer that the page switches on and off; without rows, one of the chart's runs."""
    chosen = [f"indexof({LAYERS}, '{layer}') >= 0", f"indexof({VARIANTS}, datum.variant) >= 0"]
    if rows is None:
        chosen.append(f"indexof({SEEDS}, datum.seed) >= 0")
    own = {} if rows is None else {"data": {"values": rows}}
    transform = [{"filter": " && ".join(chosen)}]
    drawn = {"type": mark, "clip": True, **style}
    return own | {"transform": transform, "mark": drawn, "encoding": encoding}


def _once(mark: Spec, encoding: Spec) -> Spec:
    """Returns a layer that is drawn once, not for each row."""
    return {"data": {"values": [{}]}, "mark": mark, "encoding": encoding}


def _chart(rows: list[Spec], layers: list[Spec], height: int) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": _CONFIG,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": rows},
        "layer": layers,
    }


def _axis(field: str, **settings: object) -> Spec:
    return {"field": field, "type": "quantitative", "axis": {"title": None, **settings}}


def _colors(field: str, colors: list[str]) -> Spec:
    """Returns a colour for each value of a field that counts from 0."""
    scale = {"domain": list(range(len(colors))), "range": colors}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def _number(field: str, title: str, digits: str) -> Spec:
    """Returns a line of a tooltip that rounds a number."""
    return {"field": field, "title": title, "type": "quantitative", "format": digits}


def _text(field: str, title: str) -> Spec:
    """Returns a line of a tooltip that shows a value unchanged."""
    # Without a format, Vega-Lite shows the nearest point's value as `undefined`.
    shown = {"formatType": "toString", "format": "s"}
    return {"field": field, "title": title, "type": "nominal", **shown}


def _digits(measure: Measure) -> str:
    return f".{measure.decimals}{'%' if measure.is_share else 'f'}"


def finite(value: float) -> float | None:
    """Returns a number as JSON can hold it: None for nan and infinity."""
    return float(value) if math.isfinite(value) else None
