"""The rule by which a comparison is settled: once in code, once in words.

There is one rule for all that is compared, fixed before the runs. A candidate is better if

1. the interval of the mean difference leaves out 0 on its side;
2. its probability of outperforming can be told from 0.5 and reaches `MEANINGFUL` (Bouthillier et
   al. 2021, "Accounting for variance in machine learning benchmarks", section 4);
3. Wilcoxon's p, adjusted over all effects that are looked at together (Holm 1979), is no more than
   1 - confidence.

With fewer than `fewest_pairs` there is no verdict.
"""

from __future__ import annotations

import math
from typing import Literal

from pipeline.comparison.statistics import PairedComparison

Verdict = Literal["candidate_better", "baseline_better", "not_settled", "too_few_pairs"]

# From which probability of outperforming on a difference is meaningful (Bouthillier et al. 2021).
MEANINGFUL = 0.75


def verdict(paired: PairedComparison, p: float | None, confidence: float) -> Verdict:
    """Returns which of the two is better.

    Args:
        paired: candidate against baseline, higher values being better.
        p: of Wilcoxon's test, adjusted over the family; None where there is none.
        confidence: of the intervals, in (0, 1).
    """
    if paired.n < fewest_pairs(confidence):
        return "too_few_pairs"
    low, high = paired.ci_low, paired.ci_high
    if low is None or high is None or p is None or p > 1 - confidence:
        return "not_settled"
    probability = paired.probability_of_outperforming
    if low > 0 and paired.probability_ci_low > 0.5 and probability >= MEANINGFUL:
        return "candidate_better"
    if high < 0 and paired.probability_ci_high < 0.5 and 1 - probability >= MEANINGFUL:
        return "baseline_better"
    return "not_settled"


def fewest_pairs(confidence: float) -> int:
    """Returns how many pairs it takes, all of them won, to tell a probability from 0.5: 6 at 95 %.

    Of n wins in n the Clopper-Pearson bound is `((1 - confidence) / 2) ** (1 / n)`. Wilcoxon's p is
    `2 / 2 ** n` then, and no more than `1 - confidence`.
    """
    return math.floor(math.log((1 - confidence) / 2) / math.log(0.5)) + 1


def rule_in_words(confidence: float, family: int = 1) -> str:
    """Returns the rule in words.

    Args:
        confidence: of the intervals.
        family: how many p values were adjusted together.
    """
    adjusted = f", adjusted over the {family} comparisons made here (Holm)," if family > 1 else ""
    return (
        "The rule, fixed beforehand: one is better than the other if the interval of the mean "
        f"difference leaves out 0, its probability of outperforming is at least {MEANINGFUL}, the "
        "interval of that leaves out 0.5 (Bouthillier et al. 2021), and the p of Wilcoxon's "
        f"signed-rank test{adjusted} is at most {1 - confidence:.2g}; with fewer than "
        f"{fewest_pairs(confidence)} pairs there is no verdict."
    )
