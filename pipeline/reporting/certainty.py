"""How sure a contrast is, and which runs diverged: the same rows and sentences on every page."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.comparison.contrast import Contrast
from pipeline.comparison.statistics import Interval
from pipeline.comparison.words import interval, level, number, p_value, percent
from pipeline.evaluation.divergence import HIGHEST_LOSS


def certainty(one: Contrast) -> list[tuple[str, str]]:
    """Returns the statistics of a contrast, what each is and its value."""
    paired = one.accuracy
    its = f"its {level(one.confidence)} interval"
    chance = Interval(paired.probability_ci_low, paired.probability_ci_high)
    family = one.effect.family
    adjusted = [(f"the same, adjusted over {family} comparisons (Holm)", p_value(one.effect.p))]
    return [
        ("Mean difference in accuracy, percentage points", percent(paired.mean)),
        (f"{its} on these test images (BCa bootstrap over seeds)", interval(paired, 100, 2)),
        (
            f"{its} on other images like these (percentile bootstrap over seeds and images)",
            interval(one.beyond_test_set, 100, 2),
        ),
        ("Pairs won", f"{paired.wins} of {paired.n}"),
        (
            "Probability of outperforming: that a pair is won",
            number(paired.probability_of_outperforming, 2),
        ),
        (f"{its} (Clopper–Pearson)", interval(chance, 1, 2)),  # noqa: RUF001
        ("Wilcoxon signed-rank test, p", p_value(paired.wilcoxon_p)),
        *(adjusted if family > 1 else []),
        ("Paired t test, p", p_value(paired.t_test_p)),
        ("Correlation of the pairs", number(paired.pairing_correlation, 2)),
        ("Mean difference in loss", number(one.loss.mean)),
        (its, interval(one.loss, 1, 4)),
    ]


def diverged(counts: Sequence[str], separator: str = ", ") -> str:
    """Returns what it means that these runs diverged, `2 of 10 of With BN` for one."""
    return (
        f"Runs that diverged: {separator.join(counts)}. Their training loss ended above "
        f"{HIGHEST_LOSS:.1f}, twice that of a guess, or was no longer finite. They count with the "
        "accuracy that they have, in the mean difference as in its interval."
    )


def without_diverged(one: Contrast) -> str:
    """Returns what the difference is without the pairs of which a run diverged; '' if none did."""
    left = one.steady
    if left == one.accuracy:
        return ""
    if left is None or left.mean is None:
        return "there is no pair in which neither diverged"
    return (
        f"over the pairs in which neither diverged, {left.n} of {one.accuracy.n}, the difference "
        f"is {100 * left.mean:+z.2f} percentage points ({level(one.confidence)} interval: "
        f"{interval(left, 100, 2)})"
    )
