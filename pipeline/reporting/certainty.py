"""How certain a contrast is, and which runs diverged, in the same words on every page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipeline.comparison.contrast import Contrast
from pipeline.comparison.measures import MEASURES, Measure
from pipeline.comparison.needed import needed_in_words
from pipeline.comparison.statistics import Interval
from pipeline.comparison.verdict import fewest_together, looks_in_words, rule_in_words
from pipeline.comparison.words import interval, level, number, p_value


def in_short(contrast: Contrast) -> list[tuple[str, str, str]]:
    """Returns what the rule looks at: the name of each statistic, its value, and what it means."""
    paired, measure = contrast.paired, contrast.measure
    return [
        (
            f"{_difference_in(measure)}, and its {level(contrast.confidence)} interval",
            f"{measure.value(paired.mean)} ({measure.interval(paired)})",
            "How large it is, and between which values the mean of many more pairs probably lies.",
        ),
        (
            "Pairs won",
            f"{paired.wins} of {paired.n}",
            "How often the first is ahead of the run with the same initial weights and batches.",
        ),
        (
            "Wilcoxon signed-rank test, p",
            p_value(paired.wilcoxon_p),
            "How often pairs that do not differ would come out as one-sided as these, by chance.",
        ),
    ]


def certainty(contrast: Contrast) -> list[tuple[str, str]]:
    """Returns all statistics of a contrast, each as its name and its value."""
    paired, measure = contrast.paired, contrast.measure
    its = f"its {level(contrast.confidence)} interval"
    chance = Interval(paired.probability_ci_low, paired.probability_ci_high)
    family = contrast.effect.family
    adjusted = [
        (f"the same, adjusted over {family} comparisons (Holm)", p_value(contrast.effect.p))
    ]
    beyond = [
        (
            f"{its} on other examples like these (percentile bootstrap over seeds and examples)",
            measure.interval(contrast.beyond_test_set),
        )
    ]
    return [
        (_difference_in(measure), measure.value(paired.mean)),
        (f"{its} on these test examples (BCa bootstrap over seeds)", measure.interval(paired)),
        *(beyond if measure.name == "accuracy" else []),
        ("Pairs won", f"{paired.wins} of {paired.n}"),
        (
            "Probability of outperforming, that is, of winning a pair, where a tie counts half",
            number(paired.probability_of_outperforming, 2),
        ),
        (f"{its} (Clopper–Pearson)", interval(chance, 1, 2)),  # noqa: RUF001
        ("Wilcoxon signed-rank test, p", p_value(paired.wilcoxon_p)),
        *(adjusted if family > 1 else []),
        ("Paired t test, p", p_value(paired.t_test_p)),
        ("Correlation within pairs", number(paired.pairing_correlation, 2)),
        *_others(contrast),
    ]


def _difference_in(measure: Measure) -> str:
    return f"Mean difference in {measure.words}, {measure.unit}"


def _others(contrast: Contrast) -> Iterator[tuple[str, str]]:
    """Yields the differences in the measures that do not decide."""
    for name, paired in contrast.others.items():
        measure = MEASURES[name]
        yield (
            f"{_difference_in(measure)}, and its interval",
            f"{measure.value(paired.mean)} ({measure.interval(paired)})",
        )


def diverged(counts: Sequence[str], measure: Measure, separator: str = ", ") -> str:
    """Returns how many runs diverged and what that means.

    Args:
        counts: each as in `2 of 10 of With BN`.
        measure: the one that decides.
        separator: between two counts.
    """
    return (
        f"Runs that diverged: {separator.join(counts)}. Their training loss ended above twice that "
        f"of a blind guess, or was no longer finite. Their {measure.words} still counts, in the "
        "mean difference and in its interval."
    )


def how_many_more(contrast: Contrast, add: Callable[[int], str]) -> str:
    """Returns how many pairs would probably settle a contrast; '' where it is settled.

    Args:
        contrast: of several pairs.
        add: returns a sentence on how to come to so many pairs.
    """
    if contrast.needed is None:
        return ""
    ends = contrast.paired.ci_low or 0.0, contrast.paired.ci_high or 0.0
    measure = contrast.measure
    within = f"{measure.value(max(map(abs, ends)))} {measure.unit}"
    return needed_in_words(contrast.needed, within, add)


def rule(contrast: Contrast) -> str:
    """Returns the rule that decided a contrast, in words."""
    effect, looks = contrast.effect, contrast.effect.looks
    if not looks.repeated:
        return rule_in_words(effect.confidence, effect.family)
    fewest = fewest_together(effect.over_all_looks, 1, looks)
    told = rule_in_words(effect.confidence, effect.family, fewest)
    return f"{told} {looks_in_words(len(effect.seeds), effect.over_all_looks, looks)}"


def without_diverged(contrast: Contrast) -> str:
    """Returns the difference over the pairs in which neither run diverged; '' if none diverged."""
    steady = contrast.steady
    if steady == contrast.paired:
        return ""
    if steady is None or steady.mean is None:
        return "in every pair at least one run diverged"
    measure = contrast.measure
    return (
        f"over the pairs in which neither diverged, {steady.n} of {contrast.paired.n}, the "
        f"difference is {measure.by(steady.mean)} "
        f"({level(contrast.confidence)} interval: {measure.interval(steady)})"
    )
