"""Sets the candidate against the baseline: statistics, figures, report."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from pipeline.comparison.published import published_curve
from pipeline.comparison.results import Comparison, VariantResults, compare
from pipeline.comparison.statistics import summary
from pipeline.evaluation.test_scores import read_predictions, read_test_scores
from pipeline.examples.prepared import read_prepared
from pipeline.files import write_bytes, write_json, write_text
from pipeline.params import Params
from pipeline.reporting import figures, report
from pipeline.reporting.colors import variant_colors
from pipeline.reporting.curves import write_curves
from pipeline.reporting.drawing import program
from pipeline.reporting.misread import misread_digits
from pipeline.reporting.pictures import ink_png, png
from pipeline.reporting.report_page import Enclosed, Origin, html
from pipeline.runs.manifest import read_manifest
from pipeline.runs.tables import read_history

REPORTS = Path("reports")
# So many misread digits are there to browse.
MOST_DIGITS = 300


def run(params: Params) -> None:
    """Writes the metrics, the comparison, the figures and both reports."""
    dataset = read_prepared()
    test = dataset.test
    results = {
        name: _read_results(name, params, color)
        for name, color in variant_colors(params.variants).items()
    }

    candidate, baseline = (
        results[params.comparison.candidate],
        results[params.comparison.baseline],
    )
    confidence = params.comparison.confidence
    every = list(results.values())
    with ThreadPoolExecutor(max_workers=1) as aside:
        # Most of it is resampling, which lets others use Python meanwhile.
        comparing = aside.submit(compare, candidate, baseline, test.labels, confidence)
        drawn = {
            "curves": png(figures.learning_curves(every, confidence)),
            "confusion": png(figures.confusion_matrices(every, test.labels)),
            "divided_digits": png(figures.divided_digits(test, candidate, baseline)),
        }
        comparison = comparing.result()
    differences = figures.paired_differences(candidate, baseline, comparison.accuracy, confidence)
    drawn["paired_differences"] = png(differences)
    drawn["samples"] = png(figures.sample_digits(dataset.train))
    misread = misread_digits(test, every, MOST_DIGITS)
    enclosed = Enclosed(
        labels=test.labels,
        misread=misread,
        thumbnails=[ink_png(digit.image) for digit in misread.digits],
        figures=drawn,
        origins={name: _read_origin(name) for name in results},
        program=program(),
    )

    for name, one in results.items():
        write_json(REPORTS / "metrics" / f"{name}.json", _metrics(one, confidence))
    write_json(REPORTS / "comparison.json", _full(params, results, comparison))
    write_json(REPORTS / "summary.json", _headline(results, comparison, confidence))
    write_curves({one.label: one.history for one in results.values()})
    for name, content in drawn.items():
        write_bytes(REPORTS / "figures" / f"{name}.png", content)
    write_text(REPORTS / "report.md", report.markdown(params, results, comparison))
    write_text(REPORTS / "report.html", html(params, results, comparison, enclosed))


def _read_results(name: str, params: Params, color: str) -> VariantResults:
    variant = params.variants[name]
    return VariantResults(
        label=variant.label,
        color=color,
        parameters=variant.parameters,
        history=read_history(name),
        scores=read_test_scores(name),
        predicted=read_predictions(name).predicted,
        published=published_curve(params.data.dataset, variant.parameters),
    )


def _read_origin(name: str) -> Origin:
    manifest = read_manifest(name)
    return Origin(manifest.data_sha256, manifest.code_sha256)


def _metrics(one: VariantResults, confidence: float) -> dict[str, object]:
    return {
        "test": {
            measure: vars(summary(one.scores[measure].to_numpy(), confidence))
            for measure in ("accuracy", "loss", "expected_calibration_error")
        },
        "seeds": len(one.scores),
        "diverged": len(one.diverged),
    }


def _full(
    params: Params, results: Mapping[str, VariantResults], comparison: Comparison
) -> dict[str, object]:
    loss = asdict(comparison.loss)
    return {
        "candidate": params.comparison.candidate,
        "baseline": params.comparison.baseline,
        "measure": "test accuracy",
        "confidence": params.comparison.confidence,
        **asdict(comparison.accuracy),
        "beyond_test_set": comparison.beyond_test_set and asdict(comparison.beyond_test_set),
        "loss": {key: loss[key] for key in ("mean", "ci_low", "ci_high", "wilcoxon_p")},
        "diverged": {name: len(one.diverged) for name, one in results.items()},
    }


def _headline(
    results: Mapping[str, VariantResults], comparison: Comparison, confidence: float
) -> dict[str, object]:
    """Returns the few figures that belong into the tables of `dvc metrics` and `dvc exp show`."""

    def means(measure: str) -> dict[str, float | None]:
        return {
            name: _rounded(summary(one.scores[measure].to_numpy(), confidence).mean)
            for name, one in results.items()
        }

    difference = comparison.accuracy
    return {
        "verdict": difference.verdict,
        "accuracy": means("accuracy"),
        "loss": means("loss"),
        "difference": {
            "mean": _rounded(difference.mean),
            "ci_low": _rounded(difference.ci_low),
            "ci_high": _rounded(difference.ci_high),
        },
        "diverged": sum(len(one.diverged) for one in results.values()),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
