"""The report as Markdown, and what it shares with the HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import Contrast
from pipeline.comparison.measures import MEASURES
from pipeline.comparison.statistics import PairedComparison
from pipeline.comparison.verdict import Looks, fewest_pairs
from pipeline.comparison.words import (
    ABSENT,
    level,
    verdict_sentence,
)
from pipeline.params import Data, Params, flat
from pipeline.reporting.certainty import (
    certainty,
    diverged,
    how_many_more,
    in_short,
    rule,
    without_diverged,
)
from pipeline.reporting.templating import environment
from pipeline.reporting.words import Words

# A correlation closer to 0 than this changes no interval noticeably.
_CORRELATED = 0.2


def divergence(cells: Sequence[Cell], contrast: Contrast) -> str:
    """Returns how many runs diverged and how that affects the difference; empty if none did.

    Args:
        cells: those whose runs are counted.
        contrast: of two of the cells.
    """
    counts = [
        f"{len(cell.diverged)} of {len(cell.scores)} of {cell.label}"
        for cell in cells
        if cell.diverged
    ]
    if not counts:
        return ""
    difference = "" if contrast.same_scores else without_diverged(contrast)
    return " ".join(
        [
            diverged(counts, contrast.measure),
            *([f"{difference[0].upper()}{difference[1:]}."] if difference else []),
        ]
    )


def markdown(params: Params, cells: Mapping[str, Cell], contrast: Contrast, words: Words) -> str:
    """Returns the report, which links its pictures as `figures/<name>.png`.

    Args:
        params: those of the whole experiment.
        cells: all variants, by name.
        contrast: of the candidate and the baseline.
        words: what the dataset's examples are called.
    """
    values = shared(params, cells, contrast, words)
    return _ENVIRONMENT.get_template("report.md.j2").render(values)


def shared(
    params: Params, cells: Mapping[str, Cell], contrast: Contrast, words: Words
) -> dict[str, Any]:
    """Returns the values that both reports show, by the names in their templates."""
    all_cells, confidence = list(cells.values()), contrast.confidence
    measure = contrast.measure
    return {
        "params": params,
        "words": words,
        "test_set": test_set(params.data),
        "validation": validation(params.data),
        "cells": cells,
        "candidate": cells[params.comparison.candidate],
        "baseline": cells[params.comparison.baseline],
        "measure": measure,
        "by": measure.by(contrast.paired.mean),
        "others": [other for other in MEASURES.values() if other != measure],
        "result": contrast.paired,
        "sentence": verdict_sentence(contrast.effect.verdict, contrast.a.label, contrast.b.label),
        "in_short": in_short(contrast),
        "certainty": certainty(contrast),
        "level": level(confidence),
        "needed": fewest_pairs(confidence),
        "more": how_many_more(contrast, partial(more_seeds, looks=contrast.effect.looks)),
        "divergence": divergence(all_cells, contrast),
        "diverged": any(cell.diverged for cell in all_cells),
        "published": any(cell.published for cell in all_cells),
        "summaries": {
            name: {measure: cell.summary(measure, confidence) for measure in MEASURES}
            for name, cell in cells.items()
        },
        "ended_early": any(
            cell.history.groupby("seed")["epoch"].max().nunique() > 1 for cell in all_cells
        ),
        "pairing": pairing(contrast.paired),
        "rule": rule(contrast),
        "settings": settings(all_cells),
    }


def test_set(data: Data) -> str:
    """Returns what the test set is called in a sentence."""
    return f"the test set of {data.name}" if data.is_own else f"the {data.name} test set"


def more_seeds(pairs: int, looks: Looks) -> str:
    """Returns how to come to so many pairs of the candidate and the baseline of params.yaml."""
    if looks.repeated:
        return f"`python -m pipeline settle --at-most {pairs}` adds those that are missing."
    return (
        f"`dvc exp run -S training.seeds={pairs}` trains only those that are missing. To add "
        "pairs and look again until it is settled, use `python -m pipeline settle`: its rule "
        "allows for that."
    )


def validation(data: Data) -> str:
    """Returns which examples are kept for validation."""
    return f"{'' if data.is_own else 'the first '}{data.validation_size} training examples"


def pairing(result: PairedComparison) -> str:
    """Returns what the runs of a pair share, and how that affects the intervals."""
    shared = "The runs of a pair share their initial weights and the order of their batches."
    correlation = result.pairing_correlation
    if correlation is None:
        return f"{shared} Whether their results are correlated cannot be determined here."
    told = f"(r = {correlation:.2f} over {result.n} pairs)"
    if correlation > _CORRELATED:
        return (
            f"{shared} Here their results are correlated {told}, which makes the interval of the "
            "difference narrower than that of independent runs."
        )
    if correlation < -_CORRELATED:
        return (
            f"{shared} Here their results are negatively correlated {told}, which makes the "
            "interval of the difference wider than that of independent runs."
        )
    return (
        f"{shared} Here their results are hardly correlated, so pairing gained next to nothing: "
        "the intervals are about as wide as those of independent runs."
    )


def settings(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """Returns each parameter with its value in every variant; a missing value is a dash."""
    columns = [dict(flat(cell.parameters)) for cell in cells]
    keys = dict.fromkeys(key for column in columns for key in column)
    return [(key, [str(column.get(key, ABSENT)) for column in columns]) for key in keys]


# Not escaped: GitHub and MLflow turn the Markdown into HTML.
_ENVIRONMENT = environment(autoescape=False)
