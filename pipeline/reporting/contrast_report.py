"""A contrast as a page."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.comparison.contrast import Contrast
from pipeline.comparison.measures import MEASURES
from pipeline.comparison.verdict import fewest_pairs
from pipeline.comparison.words import ABSENT, level, verdict_sentence
from pipeline.reporting.certainty import certainty, how_many_more, rule
from pipeline.reporting.pages import Block, Heading, Paragraph, Table
from pipeline.reporting.report import divergence, more_seeds

_SHORT = 8
# The origin of what is in the present folder.
HERE = "workspace"


def blocks(contrast: Contrast) -> list[Block]:
    """Returns a contrast as blocks: the verdict, what differs, how certain that is."""
    a, b = contrast.a.label, contrast.b.label
    if contrast.same_scores:
        same = "runs" if contrast.same_inputs else "test scores in every pair"
        heading = f"{a} and {b}: the same {same}"
        answer = f"Equal to the last digit in {_pairs(contrast)}."
        after: list[Block] = []
    else:
        heading = verdict_sentence(contrast.effect.verdict, a, b)
        answer = _answer(contrast)
        after = [_test_table(contrast)]
        if len(contrast.effect.seeds) > 1:
            after += [
                Table([f"{a} minus {b}", ""], certainty(contrast)),
                Paragraph(rule(contrast)),
            ]
    page: list[Block] = [Heading(heading), Paragraph(" ".join([answer, *_warnings(contrast)]))]
    if inputs := _differing_inputs(contrast):
        page.append(Table(["Differs", a, b], inputs))
    return page + after


def _answer(contrast: Contrast) -> str:
    result, measure, a = contrast.paired, contrast.measure, contrast.a.label
    differs = f"the test {measure.words} of {a} differs from that of {contrast.b.label} by"
    if result.mean is None:
        return f"Over {_pairs(contrast)} {differs} no finite number."
    if result.n == 1:
        return (
            f"On one pair of runs {differs} {measure.by(result.mean)}. One pair says nothing about "
            f"other seeds: a verdict takes {fewest_pairs(contrast.confidence)}."
        )
    ties = f", tied in {result.ties}" if result.ties else ""
    more = how_many_more(contrast, lambda pairs: _how_to_add(contrast, pairs))
    return (
        f"Over {_pairs(contrast)} {differs} {measure.by(result.mean)} on average "
        f"({level(contrast.confidence)} interval: {measure.interval(result)}). "
        f"{'Smaller is better, and ' if measure.smaller_is_better else ''}"
        f"{a} is ahead in {result.wins} of them{ties}.{f' {more}' if more else ''}"
    )


def _how_to_add(contrast: Contrast, pairs: int) -> str:
    if {contrast.a.origin, contrast.b.origin} == {HERE}:
        return more_seeds(pairs, contrast.effect.looks)
    return (
        f"With `training.seeds` at {pairs} on both sides, `dvc repro` trains only those that are "
        "missing."
    )


def _pairs(contrast: Contrast) -> str:
    count = len(contrast.effect.seeds)
    return "1 pair of runs" if count == 1 else f"{count} pairs of runs"


def _warnings(contrast: Contrast) -> Iterator[str]:
    """Yields what a reader should know before trusting the numbers."""
    if not contrast.same_seeds:
        ((a, b),) = contrast.effect.seeds
        yield f"Their seeds differ, {a} and {b}, which alone may explain the difference."
    left_out = [
        f"{len(seeds)} of {cell.label}"
        for cell, seeds in zip((contrast.a, contrast.b), contrast.effect.left_out, strict=True)
        if seeds
    ]
    if left_out:
        yield f"Left out, without a partner of the same seed: {' and '.join(left_out)}."
    if sentence := divergence([contrast.a, contrast.b], contrast):
        yield sentence
    if contrast.same_inputs and not contrast.same_scores:
        yield "Both have the same inputs: other packages or another machine made the difference."
    different = [
        f"different {name}"
        for name, same in (("data", contrast.same_data), ("code", contrast.same_code))
        if not same
    ]
    if different:
        alone = "the parameters alone" if contrast.parameters else "a parameter"
        then = "" if contrast.same_scores else f", so the difference is not due to {alone}"
        yield f"They were made from {' and '.join(different)}{then}."


def _differing_inputs(contrast: Contrast) -> list[list[str]]:
    rows = [
        [difference.key, _shown(difference.a), _shown(difference.b)]
        for difference in contrast.parameters
    ]
    if not contrast.same_data:
        rows.append(["data", contrast.a.data_sha256[:_SHORT], contrast.b.data_sha256[:_SHORT]])
    if not contrast.same_code:
        rows.append(["code", contrast.a.code_sha256[:_SHORT], contrast.b.code_sha256[:_SHORT]])
    return rows


def _shown(value: object) -> str:
    return ABSENT if value is None else str(value)


def _test_table(contrast: Contrast) -> Table:
    """Returns the test scores, a row each: few columns fit a terminal."""
    sides, measure, confidence = (contrast.a, contrast.b), contrast.measure, contrast.confidence
    summaries = [side.summary(measure.name, confidence) for side in sides]
    rows = [
        ["runs", *(str(len(side.scores)) for side in sides)],
        [f"{measure.heading} (decides)", *(measure.value(of.mean) for of in summaries)],
        ["its sd", *(measure.value(of.sd) for of in summaries)],
        [f"its {level(confidence)} interval", *map(measure.interval, summaries)],
    ]
    for other in (MEASURES[name] for name in contrast.others):
        means = [side.summary(other.name, confidence).mean for side in sides]
        rows.append([other.heading, *map(other.value, means)])
    return Table(["Test set", *(side.label for side in sides)], rows)
