"""Numbers and verdicts in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pipeline.comparison.statistics import Interval, PairedComparison, Summary
    from pipeline.comparison.verdict import Verdict

ABSENT = "–"  # noqa: RUF001
# Larger numbers are written with a power of ten: losses of diverged runs are huge.
_LARGE = 1e4


def verdict_sentence(verdict: Verdict, candidate: str, baseline: str) -> str:
    """Returns the verdict as a sentence about two labels."""
    return {
        "candidate_better": f"{candidate} is better than {baseline}",
        "baseline_better": f"{baseline} is better than {candidate}",
        "not_settled": f"Not settled whether {candidate} or {baseline} is better",
        "too_few_pairs": f"No verdict on {candidate} and {baseline}: too few pairs of runs",
    }[verdict]


def better_or_worse(verdict: Verdict | Literal["same"]) -> str:
    """Returns the verdict on a candidate, as short as a table needs it."""
    return {
        "candidate_better": "better",
        "baseline_better": "worse",
        "not_settled": "not settled",
        "too_few_pairs": "too few pairs",
        "same": "the same",
    }[verdict]


def level(confidence: float) -> str:
    """Returns a confidence as a percentage, with `%`."""
    return f"{100 * confidence:.4g} %"


def percent(value: float | None, decimals: int = 2) -> str:
    """Returns a share as a percentage, without `%`."""
    return ABSENT if value is None else f"{100 * value:z.{decimals}f}"


def number(value: float | None, decimals: int = 4) -> str:
    """Returns a number with so many decimals; a large one with a power of ten."""
    if value is None:
        return ABSENT
    return f"{value:z.{decimals}f}" if abs(value) < _LARGE else f"{value:.2e}"


def p_value(value: float | None) -> str:
    """Returns a p value with two digits; one below 0.0001 only as such."""
    if value is None:
        return ABSENT
    return f"{value:.2g}" if value >= 0.0001 else "< 0.0001"


def interval(of: Summary | PairedComparison | Interval | None, scale: float, decimals: int) -> str:
    """Returns both ends of an interval, each times `scale`."""
    if of is None or of.ci_low is None or of.ci_high is None:
        return "no interval"
    return f"{number(scale * of.ci_low, decimals)} to {number(scale * of.ci_high, decimals)}"
