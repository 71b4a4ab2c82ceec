"""Contrasts as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.comparison.contrast import MEASURES, Contrast, Side
from pipeline.comparison.results import Comparison
from pipeline.comparison.statistics import Interval, fewest_pairs
from pipeline.comparison.words import (
    ABSENT,
    interval,
    level,
    number,
    p_value,
    percent,
    verdict_sentence,
)
from pipeline.reporting.pages import Block, Heading, Paragraph, Table
from pipeline.reporting.report import divergence

_SHORT = 8


def blocks(one: Contrast) -> list[Block]:
    """Returns a contrast as blocks: the verdict, what differs, how sure."""
    a, b = one.a.results.label, one.b.results.label
    if one.comparison:
        heading = verdict_sentence(one.comparison.accuracy, a, b)
        answer = _answer(one, one.comparison)
        after: list[Block] = [_test_table(one)]
        if len(one.seeds) > 1:
            after.append(_certainty_table(one, one.comparison))
    else:
        same = "runs" if one.same_inputs else "test scores in every pair"
        heading = f"{a} and {b}: the same {same}"
        answer = f"Equal to the last digit in {_pairs(len(one.seeds))}."
        after = []
    page: list[Block] = [Heading(heading), Paragraph(" ".join([answer, *_warnings(one)]))]
    if inputs := _differing_inputs(one):
        page.append(Table(["Differs", a, b], inputs))
    return page + after


def _answer(one: Contrast, comparison: Comparison) -> str:
    result = comparison.accuracy
    a, b = one.a.results.label, one.b.results.label
    differs = f"the test accuracy of {a} differs from that of {b} by"
    if result.mean is None:
        return f"Over {_pairs(result.n)} {differs} no finite number."
    points = f"{100 * result.mean:+z.2f} percentage points"
    if result.n == 1:
        needed = fewest_pairs(one.confidence)
        return (
            f"On one pair of runs {differs} {points}. One pair says nothing of other seeds: a "
            f"verdict takes {needed}."
        )
    ties = f", tied in {result.ties}" if result.ties else ""
    return (
        f"Over {_pairs(result.n)} {differs} {points} on average "
        f"({level(one.confidence)} interval: {interval(result, 100, 2)}). "
        f"{a} is ahead in {result.wins} of them{ties}."
    )


def _pairs(n: int) -> str:
    return "1 pair of runs" if n == 1 else f"{n} pairs of runs"


def _warnings(one: Contrast) -> Iterator[str]:
    """Yields what a reader should know before believing the numbers."""
    if not one.same_seeds:
        ((a, b),) = one.seeds
        yield f"Their seeds differ, {a} and {b}: that alone may be what makes them differ."
    if left_out := _left_out(one):
        yield left_out
    if told := divergence([one.a.results, one.b.results], one.comparison, one.confidence):
        yield told
    if one.same_inputs and one.comparison:
        yield "Both were made from the same: other packages or another machine made the difference."
    other = [
        f"other {name}"
        for name, same in (("data", one.same_data), ("code", one.same_code))
        if not same
    ]
    if other:
        alone = "the parameters alone" if one.parameters else "a parameter"
        then = f", so the difference is not due to {alone}" if one.comparison else ""
        yield f"They were made from {' and '.join(other)}{then}."


def _left_out(one: Contrast) -> str:
    told = [
        f"{len(seeds)} of {side.results.label}"
        for side, seeds in zip((one.a, one.b), one.left_out, strict=True)
        if seeds
    ]
    return f"Left out, without a partner of the same seed: {' and '.join(told)}." if told else ""


def _differing_inputs(one: Contrast) -> list[list[str]]:
    rows = [
        [difference.key, _shown(difference.a), _shown(difference.b)]
        for difference in one.parameters
    ]
    for name, same in (("data", one.same_data), ("code", one.same_code)):
        if not same:
            hashes = (getattr(side, f"{name}_sha256")[:_SHORT] for side in (one.a, one.b))
            rows.append([name, *hashes])
    return rows


def _shown(value: object) -> str:
    return ABSENT if value is None else str(value)


def _test_table(one: Contrast) -> Table:
    measured = level(one.confidence)
    return Table(
        ["Test set", "runs", "accuracy, %", "sd", f"{measured} interval", "loss"],
        [_test_row(one, side) for side in (one.a, one.b)],
    )


def _test_row(one: Contrast, side: Side) -> Sequence[str]:
    accuracy, loss = (one.summary(side, measure) for measure in MEASURES)
    return (
        side.results.label,
        str(len(side.results.scores)),
        percent(accuracy.mean),
        percent(accuracy.sd),
        interval(accuracy, 100, 2),
        number(loss.mean),
    )


def _certainty_table(one: Contrast, comparison: Comparison) -> Table:
    result, loss = comparison.accuracy, comparison.loss
    a, b = one.a.results.label, one.b.results.label
    its = f"its {level(one.confidence)} interval"
    beyond = interval(comparison.beyond_test_set, 100, 2)
    chance = Interval(result.probability_ci_low, result.probability_ci_high)
    return Table(
        [f"{a} minus {b}", ""],
        [
            ["Mean difference in accuracy, percentage points", percent(result.mean)],
            [f"{its} on these test images", interval(result, 100, 2)],
            [f"{its} on other images like these", beyond],
            ["Pairs won", f"{result.wins} of {result.n}"],
            ["Probability of outperforming", number(result.probability_of_outperforming, 2)],
            [its, interval(chance, 1, 2)],
            ["Wilcoxon signed-rank test, p", p_value(result.wilcoxon_p)],
            ["Paired t test, p", p_value(result.t_test_p)],
            ["Correlation of the pairs", number(result.pairing_correlation, 2)],
            ["Mean difference in loss", number(loss.mean)],
            [its, interval(loss, 1, 4)],
        ],
    )
