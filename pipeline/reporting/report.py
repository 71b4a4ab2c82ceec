"""The answer in one page, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.comparison.results import Comparison, VariantResults
from pipeline.comparison.statistics import (
    PairedComparison,
    Summary,
    fewest_pairs,
    summary,
)
from pipeline.comparison.words import (
    ABSENT,
    interval,
    level,
    number,
    p_value,
    percent,
    rule,
    verdict_sentence,
)
from pipeline.evaluation.divergence import HIGHEST_LOSS
from pipeline.params import Params, flat

# A correlation nearer to 0 than this changes no interval that anybody would notice.
_TIED = 0.2


def divergence(
    results: Sequence[VariantResults], comparison: Comparison | None, confidence: float
) -> str:
    """Returns how many runs diverged and what that does to the difference; empty if none did.

    Args:
        results: whose runs are counted.
        comparison: of two of them, if they differ.
        confidence: of its intervals.
    """
    counts = [f"{len(one.diverged)} of {len(one.scores)} of {one.label}" for one in results]
    told = [count for count, one in zip(counts, results, strict=True) if one.diverged]
    if not told:
        return ""
    counted = (
        f"Runs that diverged: {', '.join(told)}. Their training loss ended above "
        f"{HIGHEST_LOSS:.1f}, twice that of a guess, or was no longer finite."
    )
    if comparison is None or comparison.steady == comparison.accuracy:
        return counted
    kept = "They count with the accuracy that they have, in the mean difference as in its interval"
    left = comparison.steady
    if left is None or left.mean is None:
        return f"{counted} {kept}; there is no pair in which neither diverged."
    return (
        f"{counted} {kept}: over the pairs in which neither diverged, {left.n} of "
        f"{comparison.accuracy.n}, the difference is {100 * left.mean:+z.2f} percentage points "
        f"({level(confidence)} interval: {interval(left, 100, 2)})."
    )


def markdown(params: Params, results: Mapping[str, VariantResults], comparison: Comparison) -> str:
    """Returns the report, its pictures linked as `figures/<name>.png`."""
    confidence = params.comparison.confidence
    return _ENVIRONMENT.get_template("report.md.j2").render(
        params=params,
        results=results,
        candidate=results[params.comparison.candidate].label,
        baseline=results[params.comparison.baseline].label,
        result=comparison.accuracy,
        beyond=comparison.beyond_test_set,
        loss=comparison.loss,
        level=level(confidence),
        diverged=any(one.diverged for one in results.values()),
        divergence=divergence(list(results.values()), comparison, confidence),
        sentence=verdict_sentence,
        summaries=summaries(results, confidence),
        published=any(one.published for one in results.values()),
        settings=settings(list(results.values())),
        needed=fewest_pairs(confidence),
        pairing=pairing(comparison.accuracy),
        rule=rule(confidence),
    )


def summaries(
    results: Mapping[str, VariantResults], confidence: float
) -> dict[str, dict[str, Summary]]:
    """Returns what each variant scores on the test set, by measure."""
    measures = ("accuracy", "loss", "expected_calibration_error")
    return {
        name: {key: summary(one.scores[key].to_numpy(), confidence) for key in measures}
        for name, one in results.items()
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


def settings(results: Sequence[VariantResults]) -> list[tuple[str, list[str]]]:
    """Returns each parameter with its value in every variant; absent ones as a dash."""
    columns = [dict(flat(one.parameters)) for one in results]
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
