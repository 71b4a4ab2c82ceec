"""Compares the candidate with the baseline: statistics, figures, reports."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pipeline.colors import variant_colors
from pipeline.comparison.cells import Cell, read_cell
from pipeline.comparison.contrast import SCORES, Contrast, contrasts, statistics_record
from pipeline.comparison.looks import looks_of
from pipeline.comparison.measures import MEASURES
from pipeline.comparison.published import published_curve
from pipeline.comparison.verdict import level_of_look
from pipeline.examples.dataset import Dataset
from pipeline.examples.prepared import read_prepared
from pipeline.files import write_bytes, write_json, write_text
from pipeline.params import Params
from pipeline.reporting import example_figures, figures, report
from pipeline.reporting.confusion import confusions
from pipeline.reporting.curves import write_curves
from pipeline.reporting.drawing import program
from pipeline.reporting.features import Scale
from pipeline.reporting.misread import misread_examples
from pipeline.reporting.pictures import png, thumbnail_png
from pipeline.reporting.report_page import Enclosed, html
from pipeline.reporting.words import DIGITS, Words, words_for

REPORTS = Path("reports")
# How many misread examples the page has for browsing, and how many features of each row.
MOST_EXAMPLES, MOST_FEATURES = 300, 3


def run(params: Params) -> None:
    """Writes the metrics, the comparison, the figures and both reports."""
    dataset = read_prepared()
    words = words_for(params.data, has_images=dataset.has_images)
    scale = None if dataset.has_images else Scale(dataset.train, dataset.features)
    cells = {}
    for name, color in variant_colors(params.variants).items():
        variant = params.variants[name]
        cell = read_cell(name, variant.label, "workspace")
        published = published_curve(params.data.dataset, variant.parameters)
        cells[name] = replace(cell, color=color, published=published)

    candidate, baseline = cells[params.comparison.candidate], cells[params.comparison.baseline]
    measure, looks = MEASURES[params.comparison.measure], looks_of(params.comparison)
    over_all_looks, pairs = params.comparison.confidence, len(candidate.seeds)
    # All intervals on a page have one confidence.
    confidence = level_of_look(pairs, over_all_looks, looks)
    all_cells = list(cells.values())
    with ThreadPoolExecutor(max_workers=2) as aside:
        vega = aside.submit(program)
        # Resampling, which is most of the work, lets this thread draw meanwhile.
        labels = {candidate.data_sha256: dataset.test.labels}
        both = [(candidate, baseline)]
        comparing = aside.submit(contrasts, both, measure, over_all_looks, labels, looks)
        confused = confusions(all_cells, dataset.test.labels, len(dataset.classes))
        pictures = {
            "curves": png(figures.learning_curves(all_cells, confidence)),
            "confusion": png(figures.confusion_matrices(confused, dataset.classes, words)),
        }
        pictures |= _of_examples(dataset, candidate, baseline, words, scale)
        (contrast,), javascript = comparing.result(), vega.result()
    pictures["paired_differences"] = png(figures.paired_differences(contrast))
    misread = misread_examples(dataset.test, all_cells, MOST_EXAMPLES)
    enclosed = Enclosed(
        words=words,
        classes=dataset.classes,
        confusions=confused,
        misread=misread,
        looks=[
            scale.unusual(example.input, MOST_FEATURES)
            if scale
            else thumbnail_png(example.input, is_ink=words is DIGITS)
            for example in misread.examples
        ],
        figures=pictures,
        program=javascript,
    )

    for name, cell in cells.items():
        write_json(REPORTS / "metrics" / f"{name}.json", _metrics(cell, confidence))
    write_json(REPORTS / "comparison.json", _full(params, cells, contrast))
    write_json(REPORTS / "summary.json", _headline(cells, contrast))
    write_curves({cell.label: cell.held_history() for cell in all_cells})
    for name, content in pictures.items():
        write_bytes(REPORTS / "figures" / f"{name}.png", content)
    write_text(REPORTS / "report.md", report.markdown(params, cells, contrast, words))
    write_text(REPORTS / "report.html", html(params, cells, contrast, enclosed))


def _of_examples(
    dataset: Dataset, candidate: Cell, baseline: Cell, words: Words, scale: Scale | None
) -> dict[str, bytes]:
    """Returns the figures of training examples and of those that divide two variants, as PNGs."""
    if scale:
        samples = example_figures.feature_means(dataset, scale)
        divided = example_figures.divided_rows(dataset, candidate, baseline, scale)
    else:
        samples = example_figures.sample_images(dataset, words)
        divided = example_figures.divided_images(dataset, candidate, baseline, words)
    return {"divided_examples": png(divided), "samples": png(samples)}


def _metrics(cell: Cell, confidence: float) -> dict[str, object]:
    return {
        "test": {measure: vars(cell.summary(measure, confidence)) for measure in MEASURES},
        "seeds": len(cell.scores),
        "diverged": len(cell.diverged),
    }


def _full(params: Params, cells: Mapping[str, Cell], contrast: Contrast) -> dict[str, object]:
    statistics = statistics_record(contrast)
    return {
        "candidate": params.comparison.candidate,
        "baseline": params.comparison.baseline,
        "measure": contrast.measure.name,
        "confidence": contrast.confidence,
        "looks": "repeated" if contrast.effect.looks.repeated else "once",
        "confidence_over_all_looks": contrast.effect.over_all_looks,
        **statistics[contrast.measure.name],
        "beyond_test_set": statistics["beyond_test_set"],
        **{name: statistics[name] for name in contrast.others},
        "diverged": {name: len(cell.diverged) for name, cell in cells.items()},
    }


def _headline(cells: Mapping[str, Cell], contrast: Contrast) -> dict[str, object]:
    """Returns the few numbers that `dvc metrics` and `dvc exp show` list."""

    def means(measure: str) -> dict[str, float | None]:
        return {
            name: _rounded(cell.summary(measure, contrast.confidence).mean)
            for name, cell in cells.items()
        }

    difference = contrast.paired
    return {
        "verdict": contrast.effect.verdict,
        **{name: means(name) for name in dict.fromkeys((*SCORES, contrast.measure.name))},
        "difference": {
            "mean": _rounded(difference.mean),
            "ci_low": _rounded(difference.ci_low),
            "ci_high": _rounded(difference.ci_high),
        },
        "diverged": sum(len(cell.diverged) for cell in cells.values()),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
