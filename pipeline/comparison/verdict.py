"""The rule by which a comparison is decided, in code and in words.

One rule, fixed before the runs, decides every comparison. A candidate is better if

1. the interval of the mean difference lies above 0, or below 0 if smaller values are better;
2. the interval of its probability of outperforming lies above 0.5, and the probability itself is at
   least `MEANINGFUL` (Bouthillier et al. 2021, "Accounting for variance in machine learning
   benchmarks", section 4);
3. Wilcoxon's p, adjusted over all effects examined together (Holm 1979), is at most
   1 - confidence.

A baseline is better by the mirror image of this. Fewer pairs than `fewest_pairs` give no verdict.
"""

from __future__ import annotations

import math
from typing import Literal

from pipeline.comparison.beyond_pairs import UnpairedComparison
from pipeline.comparison.statistics import PairedComparison

Verdict = Literal["candidate_better", "baseline_better", "not_settled", "too_few_pairs"]

# The lowest probability of outperforming that is meaningful (Bouthillier et al. 2021).
MEANINGFUL = 0.75


def verdict(
    paired: PairedComparison, p: float | None, confidence: float, *, smaller_is_better: bool = False
) -> Verdict:
    """Returns which of the two is better.

    Args:
        paired: candidate against baseline.
        p: that of Wilcoxon's test, adjusted over the family; None if it cannot be computed.
        confidence: of the intervals, in (0, 1).
        smaller_is_better: whether smaller values are better, as `paired` counted its wins.
    """
    if paired.n < fewest_pairs(confidence):
        return "too_few_pairs"
    low, high = paired.ci_low, paired.ci_high
    if low is None or high is None or p is None or p > 1 - confidence:
        return "not_settled"
    if smaller_is_better:
        low, high = -high, -low
    probability = paired.probability_of_outperforming
    if low > 0 and paired.probability_ci_low > 0.5 and probability >= MEANINGFUL:
        return "candidate_better"
    if high < 0 and paired.probability_ci_high < 0.5 and 1 - probability >= MEANINGFUL:
        return "baseline_better"
    return "not_settled"


def unpaired_verdict(
    compared: UnpairedComparison,
    p: float | None,
    confidence: float,
    *,
    family: int = 1,
    smaller_is_better: bool = False,
) -> Verdict:
    """Returns which of two is better whose runs are not paired, by the same rule as far as may be.

    The interval is Welch's, p is the Mann-Whitney test's, and of the probability of outperforming
    only the value counts, because the test is of that probability.

    Args:
        compared: candidate against baseline.
        p: adjusted over the family.
        confidence: of the interval, in (0, 1).
        family: how many p values were adjusted together.
        smaller_is_better: whether smaller values are better.
    """
    n, m = compared.n_candidate, compared.n_baseline
    # The smallest p that these numbers of runs can have: every run of one beats all of the other.
    if family * 2 / math.comb(n + m, n) > 1 - confidence:
        return "too_few_pairs"
    low, high = compared.ci_low, compared.ci_high
    if low is None or high is None or p is None or p > 1 - confidence:
        return "not_settled"
    if smaller_is_better:
        low, high = -high, -low
    probability = compared.probability_of_outperforming
    if low > 0 and probability >= MEANINGFUL:
        return "candidate_better"
    if high < 0 and 1 - probability >= MEANINGFUL:
        return "baseline_better"
    return "not_settled"


def fewest_pairs(confidence: float) -> int:
    """Returns how many pairs, all won, it takes to exclude a probability of 0.5: 6 at 95 %.

    With n wins in n pairs, the Clopper-Pearson bound is `((1 - confidence) / 2) ** (1 / n)`.
    Wilcoxon's p is then `2 / 2 ** n`, which is at most `1 - confidence`.
    """
    return math.floor(math.log((1 - confidence) / 2) / math.log(0.5)) + 1


def rule_in_words(confidence: float, family: int = 1) -> str:
    """Returns the rule in words.

    Args:
        confidence: of the intervals, in (0, 1).
        family: how many p values were adjusted together.
    """
    adjusted = f", adjusted over the {family} comparisons made here (Holm)," if family > 1 else ""
    return (
        "The rule, fixed beforehand: one is better than the other if the interval of the mean "
        f"difference excludes 0, its probability of outperforming is at least {MEANINGFUL} with an "
        "interval that excludes 0.5 (Bouthillier et al. 2021), and the p value of Wilcoxon's "
        f"signed-rank test{adjusted} is at most {1 - confidence:.2g}. With fewer than "
        f"{fewest_pairs(confidence)} pairs there is no verdict."
    )
