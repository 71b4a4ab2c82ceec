"""Contrasts as a page for people."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.comparison.cells import Cell
from pipeline.comparison.contrast import Contrast
from pipeline.comparison.verdict import fewest_pairs, rule_in_words
from pipeline.comparison.words import ABSENT, interval, level, number, percent, verdict_sentence
from pipeline.reporting.certainty import certainty
from pipeline.reporting.pages import Block, Heading, Paragraph, Table
from pipeline.reporting.report import divergence

_SHORT = 8


def blocks(one: Contrast) -> list[Block]:
    """Returns a contrast as blocks: the verdict, what differs, how sure."""
    a, b = one.a.label, one.b.label
    if one.same_scores:
        same = "runs" if one.same_inputs else "test scores in every pair"
        heading = f"{a} and {b}: the same {same}"
        answer = f"Equal to the last digit in {_pairs(one)}."
        after: list[Block] = []
    else:
        heading = verdict_sentence(one.effect.verdict, a, b)
        answer = _answer(one)
        after = [_test_table(one)]
        if len(one.effect.seeds) > 1:
            after += [
                Table([f"{a} minus {b}", ""], certainty(one)),
                Paragraph(rule_in_words(one.confidence, one.effect.family)),
            ]
    page: list[Block] = [Heading(heading), Paragraph(" ".join([answer, *_warnings(one)]))]
    if inputs := _differing_inputs(one):
        page.append(Table(["Differs", a, b], inputs))
    return page + after


def _answer(one: Contrast) -> str:
    result, a = one.accuracy, one.a.label
    differs = f"the test accuracy of {a} differs from that of {one.b.label} by"
    if result.mean is None:
        return f"Over {_pairs(one)} {differs} no finite number."
    points = f"{100 * result.mean:+z.2f} percentage points"
    if result.n == 1:
        return (
            f"On one pair of runs {differs} {points}. One pair says nothing of other seeds: a "
            f"verdict takes {fewest_pairs(one.confidence)}."
        )
    ties = f", tied in {result.ties}" if result.ties else ""
    return (
        f"Over {_pairs(one)} {differs} {points} on average "
        f"({level(one.confidence)} interval: {interval(result, 100, 2)}). "
        f"{a} is ahead in {result.wins} of them{ties}."
    )


def _pairs(one: Contrast) -> str:
    count = len(one.effect.seeds)
    return "1 pair of runs" if count == 1 else f"{count} pairs of runs"


def _warnings(one: Contrast) -> Iterator[str]:
    """Yields what a reader should know before believing the numbers."""
    if not one.same_seeds:
        ((a, b),) = one.effect.seeds
        yield f"Their seeds differ, {a} and {b}: that alone may be what makes them differ."
    left_out = [
        f"{len(seeds)} of {cell.label}"
        for cell, seeds in zip((one.a, one.b), one.effect.left_out, strict=True)
        if seeds
    ]
    if left_out:
        yield f"Left out, without a partner of the same seed: {' and '.join(left_out)}."
    if told := divergence([one.a, one.b], None if one.same_scores else one):
        yield told
    if one.same_inputs and not one.same_scores:
        yield "Both were made from the same: other packages or another machine made the difference."
    other = [
        f"other {name}"
        for name, same in (("data", one.same_data), ("code", one.same_code))
        if not same
    ]
    if other:
        alone = "the parameters alone" if one.parameters else "a parameter"
        then = "" if one.same_scores else f", so the difference is not due to {alone}"
        yield f"They were made from {' and '.join(other)}{then}."


def _differing_inputs(one: Contrast) -> list[list[str]]:
    rows = [
        [difference.key, _shown(difference.a), _shown(difference.b)]
        for difference in one.parameters
    ]
    if not one.same_data:
        rows.append(["data", one.a.data_sha256[:_SHORT], one.b.data_sha256[:_SHORT]])
    if not one.same_code:
        rows.append(["code", one.a.code_sha256[:_SHORT], one.b.code_sha256[:_SHORT]])
    return rows


def _shown(value: object) -> str:
    return ABSENT if value is None else str(value)


def _test_table(one: Contrast) -> Table:
    def row(cell: Cell) -> list[str]:
        accuracy, loss = (cell.summary(name, one.confidence) for name in ("accuracy", "loss"))
        spread = [percent(accuracy.mean), percent(accuracy.sd), interval(accuracy, 100, 2)]
        return [cell.label, str(len(cell.scores)), *spread, number(loss.mean)]

    header = ["Test set", "runs", "accuracy, %", "sd", f"{level(one.confidence)} interval", "loss"]
    return Table(header, [row(one.a), row(one.b)])
