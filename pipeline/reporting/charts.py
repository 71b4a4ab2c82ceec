"""Results as Vega-Lite specifications, for the page that draws them.

Colours are CSS: `currentColor` for what is no data, and a variable for each variant, so that the
page may turn dark without drawing anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.comparison.cells import Cell
from pipeline.comparison.statistics import PairedComparison
from pipeline.reporting.curves import counted, most_of, printed

Spec = dict[str, Any]

# The signals by which the page chooses what a learning curve shows, and how near.
VARIANTS, SEEDS, LAYERS, ZOOM = "variants", "seeds", "layers", "zoom"
RUNS, MEAN, NOTEBOOK = "runs", "mean", "notebook"
# Who is ahead in a pair.
_CANDIDATE, _BASELINE, _NEITHER = range(3)

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_FORMATS = {"loss": ".5f", "accuracy": ".3%"}
_EACH_RUN: Spec = {"detail": {"field": "seed"}}
_CONFIG: Spec = {
    "background": None,
    # The page describes each chart and has its numbers in tables; marks one by one are noise.
    "aria": False,
    "font": "system-ui, sans-serif",
    # `formatType` may name any function of Vega's.
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


def pairs(candidate: Cell, baseline: Cell) -> Spec:
    """Returns the test accuracy of both runs of each pair, a line a pair."""
    sides = (baseline, candidate)
    rows = [
        {"variant": one.label, "side": side, "seed": int(seed), "accuracy": float(accuracy)}
        for side, one in enumerate(sides)
        for seed, accuracy in zip(one.scores["seed"], one.scores["accuracy"], strict=True)
    ]
    x = {
        # By place, not by label, so that two variants of one label stay two.
        "field": "side",
        "type": "ordinal",
        "axis": {
            "labelExpr": f"{json.dumps([one.label for one in sides])}[datum.value]",
            "labelAngle": 0,
            "labelLimit": 130,
            "title": None,
            "grid": False,
        },
        "scale": {"padding": 0.35},
    }
    y = _axis("accuracy", format="%", tickCount=6) | {"scale": {"zero": False, "padding": 8}}
    return _chart(
        rows,
        [
            {
                "mark": {
                    "type": "line",
                    "color": "currentColor",
                    "opacity": 0.45,
                    "strokeWidth": 1,
                },
                "encoding": {"x": x, "y": y, "detail": {"field": "seed"}},
            },
            {
                "mark": {"type": "circle", "size": 64, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": _colors("side", _paints(sides)),
                    "tooltip": [
                        _told("variant", "variant"),
                        _told("seed", "seed"),
                        _told("accuracy", "test accuracy", ".2%"),
                    ],
                },
            },
        ],
        height=300,
    )


def differences(candidate: Cell, baseline: Cell, result: PairedComparison) -> Spec:
    """Returns what each pair differs by, in percentage points, and the mean with its interval."""
    scores = candidate.scores.merge(baseline.scores, on="seed", suffixes=("", "_baseline"))
    rows = [
        {
            "seed": int(seed),
            "difference": 100 * float(ours - theirs),
            "candidate": float(ours),
            "baseline": float(theirs),
            "ahead": _CANDIDATE if ours > theirs else _BASELINE if ours < theirs else _NEITHER,
        }
        for seed, ours, theirs in zip(
            scores["seed"], scores["accuracy"], scores["accuracy_baseline"], strict=True
        )
    ]
    x = _axis(
        "difference",
        title="Difference in test accuracy (percentage points)",
        format="+f",
        tickCount=8,
        labelFlush=False,
    ) | {"scale": {"zero": True, "nice": True}}
    y = {
        "field": "seed", "type": "ordinal", "sort": "descending",
        "axis": {"title": "Seed", "grid": True, "labelOverlap": True},
    }  # fmt: skip
    points = {
        "mark": {"type": "circle", "size": 80, "opacity": 1},
        "encoding": {
            "x": x,
            "y": y,
            "color": _colors(
                "ahead",
                {
                    _CANDIDATE: paint(candidate.color),
                    _BASELINE: paint(baseline.color),
                    _NEITHER: "var(--quiet)",
                },
            ),
            "tooltip": [
                _told("seed", "seed"),
                _told("difference", "difference, points", "+.2f"),
                _told("candidate_told", "candidate"),
                _told("baseline_told", "baseline"),
            ],
        },
        # Not as titles: of those Vega-Lite makes expressions, in which a label may mean anything.
        "transform": [
            {
                "calculate": f"{json.dumps(one.label)} + ', ' + format(datum.{side}, '.2%')",
                "as": f"{side}_told",
            }
            for side, one in (("candidate", candidate), ("baseline", baseline))
        ],
    }
    zero = _once({"type": "rule", "color": "currentColor"}, {"x": {"datum": 0}})
    summed = _mean_with_interval(result, paint(candidate.color))
    return _chart(rows, [*summed, zero, points], height=300)


def learning_curve(results: Sequence[Cell], panel: tuple[str, str], confidence: float) -> Spec:
    """Returns a split's loss or accuracy by epoch: every run, the means with their intervals.

    Args:
        results: the variants.
        panel: split and measure.
        confidence: of the intervals.
    """
    used = counted(results, panel[1])
    rows, means = _runs(results, panel), _means(used, panel, confidence)
    notebook = _notebook(results, panel)
    scales = _scales(results, used, panel)
    layers = [
        *_lines(scales, means, notebook),
        *_points(scales, means, notebook, panel),
    ]
    return _chart(rows, layers, height=260) | {
        "params": [
            {"name": VARIANTS, "value": list(range(len(results)))},
            {"name": SEEDS, "value": sorted({row["seed"] for row in rows})},
            {"name": LAYERS, "value": [RUNS, MEAN, NOTEBOOK]},
        ],
        "usermeta": {"everything": _extent([*rows, *means, *notebook])},
    }


def _scales(results: Sequence[Cell], used: Sequence[Cell], panel: tuple[str, str]) -> Spec:
    """Returns where a row stands and in which colour."""
    last = max(1, *(int(one.history["epoch"].max()) for one in results))
    shown_as = "%" if panel[1] == "accuracy" else "f"
    limits = {"domain": list(most_of(used, *panel)), "nice": False, "zero": False}
    return {
        "x": {
            "field": "epoch", "type": "quantitative",
            # Room at both ends: what stands on the edge is cut in half.
            "scale": {"domain": [-0.03 * last, 1.03 * last], "nice": False},
            "axis": {"title": "Epoch", "format": "d", "tickMinStep": 1, "grid": False},
        },
        "y": _axis("value", format=shown_as, tickCount=6) | {"scale": limits},
        "color": _colors("variant", _paints(results)),
    }  # fmt: skip


def _lines(scales: Spec, means: list[Spec], notebook: list[Spec]) -> list[Spec]:
    band = {"y": scales["y"] | {"field": "low"}, "y2": {"field": "high"}}
    # The wheel alone scrolls the page.
    zoom = {"type": "interval", "zoom": "wheel![event.ctrlKey || event.metaKey]"}
    return [
        _shown(MEAN, means, _mark("area", opacity=0.2), scales | band),
        _shown(RUNS, None, _mark("line", strokeWidth=1, opacity=0.6), scales | _EACH_RUN)
        | {"params": [{"name": ZOOM, "bind": "scales", "select": zoom}]},
        _shown(MEAN, means, _mark("line", strokeWidth=3), scales),
        _shown(NOTEBOOK, notebook, _mark("line", strokeWidth=2, strokeDash=[2, 3]), scales),
    ]


def _points(
    scales: Spec, means: list[Spec], notebook: list[Spec], panel: tuple[str, str]
) -> list[Spec]:
    """Returns what tells its numbers: of the runs the point that is nearest to the pointer."""
    split, measure = panel
    shown_as = _FORMATS[measure]
    variant, epoch = _told("label", "variant"), _told("epoch", "epoch")
    value = _told("value", f"{split} {measure}", shown_as)
    ends = [_told("low", "interval from", shown_as), _told("high", "to", shown_as)]
    nearest = {"type": "point", "nearest": True, "on": "pointerover", "clear": "pointerout"}
    pointed_at = {"param": "nearest", "empty": False}
    hidden = {
        "opacity": {"condition": {**pointed_at, "value": 1}, "value": 0},
        "size": {"condition": {**pointed_at, "value": 110}, "value": 40},
        "tooltip": [variant, _told("seed", "seed"), epoch, value],
    }
    mean = {"tooltip": [variant, _told("runs", "mean of"), epoch, value, *ends]}
    printed_run = {"tooltip": [variant, epoch, value]}
    return [
        _shown(RUNS, None, _mark("circle"), scales | _EACH_RUN | hidden)
        | {"params": [{"name": "nearest", "select": nearest}]},
        _shown(MEAN, means, _mark("circle", size=60, opacity=1), scales | mean),
        _shown(NOTEBOOK, notebook, _mark("point", size=40), scales | printed_run),
    ]


def _mean_with_interval(result: PairedComparison, color: str) -> list[Spec]:
    layers: list[Spec] = []
    if result.ci_low is not None and result.ci_high is not None:
        ends = {"x": {"datum": 100 * result.ci_low}, "x2": {"datum": 100 * result.ci_high}}
        layers.append(_once({"type": "rect", "color": color, "opacity": 0.2}, ends))
    if result.mean is not None:
        mark = {"type": "rule", "color": color, "strokeWidth": 2}
        layers.append(_once(mark, {"x": {"datum": 100 * result.mean}}))
    return layers


def _runs(results: Sequence[Cell], panel: tuple[str, str]) -> list[Spec]:
    return [
        {"variant": place, "label": one.label, "seed": int(seed), "epoch": int(epoch)}
        | {"value": _finite(value)}
        for place, one in enumerate(results)
        for seed, epoch, value in _of_split(one, panel).itertuples(index=False)
    ]


def _of_split(one: Cell, panel: tuple[str, str]) -> pd.DataFrame:
    split, measure = panel
    return one.history.loc[one.history["split"] == split, ["seed", "epoch", measure]]


def _means(used: Sequence[Cell], panel: tuple[str, str], confidence: float) -> list[Spec]:
    columns = ["mean", "ci_low", "ci_high"]
    return [
        {
            "variant": place, "label": one.label, "runs": one.history["seed"].nunique(),
            "epoch": epoch, "value": _finite(mean), "low": _finite(low), "high": _finite(high),
        }
        for place, one in enumerate(used)
        for epoch, mean, low, high in one.curve(*panel, confidence)[columns].itertuples(name=None)
    ]  # fmt: skip


def _notebook(results: Sequence[Cell], panel: tuple[str, str]) -> list[Spec]:
    return [
        {"variant": place, "label": f"{one.label}, the notebook", "epoch": epoch, "value": value}
        for place, one in enumerate(results)
        for epoch, value in enumerate(printed(one, *panel))
    ]


def _extent(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    """Returns limits that show every finite value."""
    values = [row["value"] for row in rows if row["value"] is not None] or [0.0, 1.0]
    room = 0.04 * (max(values) - min(values)) or 0.01
    return [min(values) - room, max(values) + room]


def _chart(rows: list[Spec], layers: list[Spec], height: int) -> Spec:
    return {
        "$schema": _SCHEMA,
        "config": _CONFIG,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": rows},
        "layer": layers,
    }


def _shown(layer: str, rows: list[Spec] | None, mark: Spec, encoding: Spec) -> Spec:
    """Returns a layer that the page's controls switch on and off; without rows, of the runs."""
    chosen = [f"indexof({LAYERS}, '{layer}') >= 0", f"indexof({VARIANTS}, datum.variant) >= 0"]
    if rows is None:
        chosen.append(f"indexof({SEEDS}, datum.seed) >= 0")
    own = {} if rows is None else {"data": {"values": rows}}
    transform = [{"filter": " && ".join(chosen)}]
    return own | {"transform": transform, "mark": mark, "encoding": encoding}


def _once(mark: Spec, encoding: Spec) -> Spec:
    """Returns a layer that is drawn once, and not for each row."""
    return {"data": {"values": [{}]}, "mark": mark, "encoding": encoding}


def _mark(kind: str, **settings: object) -> Spec:
    return {"type": kind, "clip": True, **settings}


def _axis(field: str, **settings: object) -> Spec:
    return {"field": field, "type": "quantitative", "axis": {"title": None, **settings}}


def _paints(results: Iterable[Cell]) -> dict[int, str]:
    return {place: paint(one.color) for place, one in enumerate(results)}


def _colors(field: str, of_value: Mapping[int, str]) -> Spec:
    return {
        "field": field,
        "type": "nominal",
        "scale": {"domain": list(of_value), "range": list(of_value.values())},
        "legend": None,
    }


def _told(field: str, title: str, shown_as: str | None = None) -> Spec:
    told = {"field": field, "title": title}
    if shown_as:
        return told | {"type": "quantitative", "format": shown_as}
    # Of the nearest point Vega-Lite tells `undefined`, unless there is a format, even if of no use.
    return told | {"type": "nominal", "formatType": "toString", "format": "s"}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
