"""How certain a contrast is, and which runs diverged, in the same words on every page."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.comparison.contrast import Contrast
from pipeline.comparison.statistics import Interval
from pipeline.comparison.words import interval, level, number, p_value, percent
from pipeline.evaluation.divergence import HIGHEST_LOSS


def certainty(contrast: Contrast) -> list[tuple[str, str]]:
    """Returns the statistics of a contrast, each as its name and its value."""
    paired = contrast.accuracy
    its = f"its {level(contrast.confidence)} interval"
    chance = Interval(paired.probability_ci_low, paired.probability_ci_high)
    family = contrast.effect.family
    adjusted = [
        (f"the same, adjusted over {family} comparisons (Holm)", p_value(contrast.effect.p))
    ]
    return [
        ("Mean difference in accuracy, percentage points", percent(paired.mean)),
        (f"{its} on these test images (BCa bootstrap over seeds)", interval(paired, 100, 2)),
        (
            f"{its} on other images like these (percentile bootstrap over seeds and images)",
            interval(contrast.beyond_test_set, 100, 2),
        ),
        ("Pairs won", f"{paired.wins} of {paired.n}"),
        (
            "Probability of outperforming, that is, of winning a pair",
            number(paired.probability_of_outperforming, 2),
        ),
        (f"{its} (Clopper–Pearson)", interval(chance, 1, 2)),  # noqa: RUF001
        ("Wilcoxon signed-rank test, p", p_value(paired.wilcoxon_p)),
        *(adjusted if family > 1 else []),
        ("Paired t test, p", p_value(paired.t_test_p)),
        ("Correlation within pairs", number(paired.pairing_correlation, 2)),
        ("Mean difference in loss", number(contrast.loss.mean)),
        (its, interval(contrast.loss, 1, 4)),
    ]


def diverged(counts: Sequence[str], separator: str = ", ") -> str:
    """Returns how many runs diverged and what that means; a count is `2 of 10 of With BN`."""
    return (
        f"Runs that diverged: {separator.join(counts)}. Their training loss ended above "
        f"{HIGHEST_LOSS:.1f}, twice that of a guess, or was no longer finite. Their accuracy "
        "still counts, in the mean difference and in its interval."
    )


def without_diverged(contrast: Contrast) -> str:
    """Returns the difference over the pairs in which neither run diverged; '' if none diverged."""
    steady = contrast.steady
    if steady == contrast.accuracy:
        return ""
    if steady is None or steady.mean is None:
        return "in every pair at least one run diverged"
    return (
        f"over the pairs in which neither diverged, {steady.n} of {contrast.accuracy.n}, the "
        f"difference is {100 * steady.mean:+z.2f} percentage points ({level(contrast.confidence)} "
        f"interval: {interval(steady, 100, 2)})"
    )
