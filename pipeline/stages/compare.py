"""Sets the candidate against the baseline: statistics, figures, report."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.adapters import runs
from pipeline.adapters.datasets import read_prepared
from pipeline.adapters.files import write_json, write_text
from pipeline.adapters.pictures import write_figure
from pipeline.core import figures, report
from pipeline.core.published import NOTEBOOK, NOTEBOOK_DATASET, PublishedCurve
from pipeline.core.scores import confusion_matrix
from pipeline.core.statistics import PairedComparison, beyond_test_set, paired_comparison
from pipeline.params import Params

FIGURES = Path("reports/figures")


def run(params: Params) -> None:
    """Writes `reports/comparison.json`, the figures and the report."""
    sides = (params.comparison.candidate, params.comparison.baseline)
    confidence = params.comparison.confidence
    test = read_prepared().test
    scores = {name: runs.read_test_scores(name) for name in params.variants}
    predicted = {name: runs.read_predictions(name).predicted for name in params.variants}
    right = {name: predicted[name] == test.labels for name in params.variants}
    histories = _histories(params)

    candidate, baseline = (scores[name] for name in sides)
    result = paired_comparison(
        candidate["accuracy"].to_numpy(), baseline["accuracy"].to_numpy(), confidence
    )
    loss = paired_comparison(candidate["loss"].to_numpy(), baseline["loss"].to_numpy(), confidence)
    beyond = beyond_test_set(right[sides[0]], right[sides[1]], confidence)
    confusions = {
        variant.label: _mean_confusion(test.labels, predicted[name])
        for name, variant in params.variants.items()
    }
    labels = tuple(params.variants[name].label for name in sides)
    colors = tuple(histories[name].color for name in sides)

    write_json(
        Path("reports/comparison.json"),
        {
            "candidate": sides[0],
            "baseline": sides[1],
            "measure": "test accuracy",
            "confidence": confidence,
            **asdict(result),
            "beyond_test_set": asdict(beyond),
            "loss": {key: getattr(loss, key) for key in ("mean", "ci_low", "ci_high", "wilcoxon_p")},
        },
    )
    write_json(Path("reports/summary.json"), _headline(result, scores))
    runs.write_curves({history.label: history.scores for history in histories.values()})
    drawn = {
        "curves": figures.learning_curves(list(histories.values()), confidence),
        "paired_differences": figures.paired_differences(
            candidate, baseline, labels, colors, result, confidence
        ),
        "confusion": figures.confusion_matrices(confusions),
        "divided_digits": figures.divided_digits(test, (right[sides[0]], right[sides[1]]), labels),
    }
    for name, figure in drawn.items():
        write_figure(FIGURES / f"{name}.png", figure)
    text = report.markdown(params, result, beyond, loss, scores, _published(params))
    write_text(Path("reports/report.md"), text)
    pictures = {f"figures/{path.name}": path.read_bytes() for path in sorted(FIGURES.glob("*.png"))}
    write_text(Path("reports/report.html"), report.html(text, pictures))


def _headline(result: PairedComparison, scores: Mapping[str, pd.DataFrame]) -> dict[str, object]:
    """Returns the few figures that belong into the tables of `dvc metrics` and `dvc exp show`."""
    return {
        "verdict": result.verdict,
        "accuracy": {name: round(table["accuracy"].mean(), 5) for name, table in scores.items()},
        "loss": {name: round(table["loss"].mean(), 5) for name, table in scores.items()},
        "difference": {
            "mean": round(result.mean, 5),
            "ci_low": result.ci_low and round(result.ci_low, 5),
            "ci_high": result.ci_high and round(result.ci_high, 5),
        },
    }


def _published(params: Params) -> dict[str, PublishedCurve]:
    """Returns what the notebook printed of each variant of which it printed something."""
    if params.data.dataset != NOTEBOOK_DATASET:
        return {}
    kinds = {name: variant.normalization.kind for name, variant in params.variants.items()}
    return {name: NOTEBOOK[kind] for name, kind in kinds.items() if kind in NOTEBOOK}


def _histories(params: Params) -> dict[str, figures.VariantHistory]:
    published = _published(params)
    return {
        name: figures.VariantHistory(
            label=variant.label,
            color=figures.COLORS[i % len(figures.COLORS)],
            scores=runs.read_history(name),
            published=published.get(name),
        )
        for i, (name, variant) in enumerate(params.variants.items())
    }


def _mean_confusion(labels: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.float64]:
    classes = int(labels.max()) + 1
    return np.mean([confusion_matrix(labels, row, classes) for row in predicted], axis=0)
