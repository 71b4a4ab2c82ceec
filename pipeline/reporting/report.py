"""The answer in one page, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import Contrast
from pipeline.comparison.statistics import PairedComparison
from pipeline.comparison.verdict import fewest_pairs, rule_in_words
from pipeline.comparison.words import (
    ABSENT,
    interval,
    level,
    number,
    p_value,
    percent,
    verdict_sentence,
)
from pipeline.params import Params, flat
from pipeline.reporting.certainty import certainty, diverged, without_diverged

# A correlation nearer to 0 than this changes no interval that anybody would notice.
_TIED = 0.2


def divergence(cells: Sequence[Cell], contrast: Contrast | None) -> str:
    """Returns how many runs diverged and what that does to the difference; empty if none did.

    Args:
        cells: whose runs are counted.
        contrast: of two of them, if they differ.
    """
    counts = [
        f"{len(cell.diverged)} of {len(cell.scores)} of {cell.label}"
        for cell in cells
        if cell.diverged
    ]
    if not counts:
        return ""
    left = without_diverged(contrast) if contrast else ""
    return " ".join([diverged(counts), *([f"{left[0].upper()}{left[1:]}."] if left else [])])


def markdown(params: Params, cells: Mapping[str, Cell], contrast: Contrast) -> str:
    """Returns the report, its pictures linked as `figures/<name>.png`.

    Args:
        params: of the whole experiment.
        cells: all variants, by name.
        contrast: of the candidate and the baseline.
    """
    return _ENVIRONMENT.get_template("report.md.j2").render(shared(params, cells, contrast))


def shared(params: Params, cells: Mapping[str, Cell], contrast: Contrast) -> dict[str, Any]:
    """Returns what both reports tell, by the names that their templates use."""
    every, confidence = list(cells.values()), contrast.confidence
    measures = ("accuracy", "loss", "expected_calibration_error")
    return {
        "params": params,
        "cells": cells,
        "candidate": cells[params.comparison.candidate],
        "baseline": cells[params.comparison.baseline],
        "result": contrast.accuracy,
        "sentence": verdict_sentence(contrast.effect.verdict, contrast.a.label, contrast.b.label),
        "certainty": certainty(contrast),
        "level": level(confidence),
        "needed": fewest_pairs(confidence),
        "divergence": divergence(every, contrast),
        "diverged": any(cell.diverged for cell in every),
        "published": any(cell.published for cell in every),
        "summaries": {
            name: {measure: cell.summary(measure, confidence) for measure in measures}
            for name, cell in cells.items()
        },
        "pairing": pairing(contrast.accuracy),
        "rule": rule_in_words(confidence, contrast.effect.family),
        "settings": settings(every),
    }


def pairing(result: PairedComparison) -> str:
    """Returns what a pair shares, and what that does to the intervals."""
    shared = "A pair shares its initial weights and the order of its batches."
    correlation = result.pairing_correlation
    if correlation is None:
        return f"{shared} Whether the results of a pair are tied to each other cannot be told here."
    if correlation > _TIED:
        return (
            f"{shared} Here the results of a pair are tied to each other, which makes the "
            "intervals narrower than those of independent runs."
        )
    if correlation < -_TIED:
        return (
            f"{shared} Here what is good for one is bad for the other of a pair, which makes the "
            "intervals wider than those of independent runs."
        )
    return (
        f"{shared} Here the results of a pair are hardly tied to each other, so pairing gained "
        "next to nothing: the intervals are about as wide as those of independent runs."
    )


def settings(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """Returns each parameter with its value in every variant; absent ones as a dash."""
    columns = [dict(flat(cell.parameters)) for cell in cells]
    keys = dict.fromkeys(key for column in columns for key in column)
    return [(key, [str(column.get(key, ABSENT)) for column in columns]) for key in keys]


def environment(*, autoescape: bool) -> Environment:
    """Returns where the templates of reports are, and how they are read."""
    made = Environment(
        loader=PackageLoader("pipeline.reporting"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=autoescape,  # noqa: S701  Off for Markdown alone.
    )
    made.filters |= {
        "percent": percent, "number": number, "p_value": p_value, "interval": interval,
    }  # fmt: skip
    return made


# Markdown, of which GitHub and MLflow make HTML.
_ENVIRONMENT = environment(autoescape=False)
