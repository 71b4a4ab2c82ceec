"""What was found out about anybody's runs, as a page and as a record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import singledispatch
from typing import Any

from pipeline.comparison.statistics import Interval
from pipeline.comparison.verdict import MEANINGFUL, fewest_pairs, rule_in_words
from pipeline.comparison.words import ABSENT, better_or_worse, level, p_value
from pipeline.designs.answers import (
    Answer,
    Basis,
    Cell,
    Comparison,
    Paired,
    Search,
    Trends,
    Unpaired,
    UnpairedPair,
    Values,
)
from pipeline.designs.factors import ABSENT as NO_VALUE
from pipeline.designs.metric import listed
from pipeline.reporting.pages import Block, Heading, Paragraph, Table

_ROWS = 40
_BESIDE = 4
_LONGEST = 12
_VALUES = 3


def blocks(answer: Answer) -> list[Block]:
    """Returns an answer as blocks: in a sentence, in a table, and what it rests on."""
    return [*_page(answer), *_basis(answer.basis)]


def record(answer: Answer) -> dict[str, Any]:
    """Returns an answer ready for JSON, with its kind: `paired`, `trends`, and so on."""
    return {"answer": type(answer).__name__.lower(), "sentence": sentence(answer), **asdict(answer)}


def sentence(answer: Answer) -> str:
    """Returns the answer in one sentence."""
    return next(block.text for block in _page(answer) if isinstance(block, Heading))


@singledispatch
def _page(answer: Answer) -> list[Block]:
    raise TypeError(type(answer))


@_page.register
def _(answer: Paired) -> list[Block]:
    basis = answer.basis
    ratios = basis.metric.as_ratio
    several = len({of.factor for of in answer.comparisons}) > 1
    header = [
        *(["compared"] if several else []),
        "A",
        "B",
        _units(answer),
        "mean of A",
        "mean of B",
        f"A {'/' if ratios else '-'} B ({level(basis.confidence)})",
        "A ahead",
        "p",
        "A is",
    ]
    rows = [
        [
            *([of.factor] if several else []),
            of.candidate or NO_VALUE,
            of.baseline or NO_VALUE,
            str(of.paired.n),
            _number(of.candidate_mean),
            _number(of.baseline_mean),
            _effect(of),
            f"{of.paired.wins} of {of.paired.n}",
            p_value(of.p),
            better_or_worse("same" if of.paired.ties == of.paired.n else of.verdict),
        ]
        for of in answer.comparisons
    ]
    factor = f"{answer.comparisons[0].factor}: " if not several else ""
    return [
        Heading(factor + _headline(answer.comparisons)),
        Paragraph(" ".join(_on_pairs(answer))),
        Table(header, rows),
        Paragraph(" ".join(_rule(answer))),
    ]


def _units(answer: Paired) -> str:
    return {"pairs": "pairs", "data": "blocks", "folds": "folds", "alone": "pairs"}[answer.unit]


def _headline(comparisons: Sequence[Comparison] | Sequence[UnpairedPair]) -> str:
    """Returns what is settled, in one sentence."""
    several = len({of.factor for of in comparisons}) > 1
    settled = [
        _better(of, several=several)
        for of in comparisons
        if of.verdict in {"candidate_better", "baseline_better"}
    ]
    rest = len(comparisons) - len(settled)
    if settled:
        return listed(settled) + (f"; {rest} more not settled" if rest else "")
    few = all(of.verdict == "too_few_pairs" for of in comparisons)
    runs = "runs" if isinstance(comparisons[0], UnpairedPair) else "pairs"
    why = f"too few {runs} for a verdict" if few else "not settled"
    if len(comparisons) == 1:
        (of,) = comparisons
        return f"{of.candidate or NO_VALUE} or {of.baseline or NO_VALUE}, {why}"
    return f"{why}, in any of {len(comparisons)} comparisons"


def _better(of: Comparison | UnpairedPair, *, several: bool) -> str:
    pair = of.candidate or NO_VALUE, of.baseline or NO_VALUE
    better, worse = pair if of.verdict == "candidate_better" else pair[::-1]
    return f"{f'{of.factor} ' if several else ''}{better} is better than {worse}"


def _effect(of: Comparison) -> str:
    paired = of.paired
    if of.ratio is not None:
        return _with_interval(of.ratio.ratio, _shown_interval(of, of.ratio), signed=False)
    return _with_interval(paired.mean, _shown_interval(of, of.corrected or paired), signed=True)


def _shown_interval(of: Comparison, interval: Any) -> Interval | None:
    """Returns the interval; None of fewer pairs than any verdict takes, for it would mislead."""
    if of.verdict == "too_few_pairs" or interval.ci_low is None or interval.ci_high is None:
        return None
    return Interval(interval.ci_low, interval.ci_high)


def _with_interval(value: float | None, interval: Interval | None, *, signed: bool) -> str:
    shown = ABSENT if value is None else _number(value, sign="+" if signed and value else "")
    if interval is None:
        return shown
    return f"{shown} ({_number(interval.ci_low)} to {_number(interval.ci_high)})"


def _number(value: float, sign: str = "") -> str:
    """Returns a number with four digits that count."""
    shown = f"{value:{sign}.4g}"
    return f"{value:{sign}.0f}" if "e+" in shown and abs(value) < 1e7 else shown


def _on_pairs(answer: Paired) -> Iterator[str]:
    """Yields what the table shows."""
    basis = answer.basis
    metric = basis.metric
    yield (
        f"{metric.name} of A beside that of B, "
        f"{'the smaller the better' if metric.smaller_is_better else 'the larger the better'}."
    )
    if metric.as_ratio:
        yield "It is a time, so they are compared by the ratio of their geometric means."
    if answer.unit == "data":
        yield (
            "Each data set or experiment is one block: this says something about others like "
            "these, not about other seeds."
        )
    if answer.unit == "folds":
        yield (
            "Folds share training data, so interval and p are those of the corrected resampled t "
            "test (Nadeau & Bengio 2003)."
        )
    if answer.friedman is not None:
        of = answer.friedman
        yield (
            f"Friedman's test of all {of.cells} on the {of.blocks} blocks that have every one: "
            f"p = {p_value(of.p)}."
        )
    together = {(of.candidate, of.baseline): of.without_partner for of in answer.comparisons}
    if any(together.values()):
        yield f"At most {max(together.values())} runs of a comparison have no partner in the other."


def _rule(answer: Paired) -> Iterator[str]:
    confidence = answer.basis.confidence
    comparisons = answer.comparisons
    family = comparisons[0].family
    if answer.unit == "folds":
        yield (
            f"One is better than the other if the corrected interval excludes 0, its corrected p"
            f"{_adjusted(family)} is at most {1 - confidence:.2g}, and it wins a pair with a "
            f"probability of at least {MEANINGFUL} whose interval excludes 0.5. With fewer than "
            f"{fewest_pairs(confidence)} folds there is no verdict."
        )
    else:
        yield rule_in_words(confidence, family)
    if answer.basis.metric.as_ratio:
        yield "Of a ratio the interval must exclude 1."
    most = max(of.paired.n for of in comparisons)
    needed = comparisons[0].fewest
    if most < needed:
        ahead = [
            of
            for of in comparisons
            if of.paired.n > 1 and of.paired.wins in {0, of.paired.n} and not of.paired.ties
        ]
        if ahead:
            yield f"{len(ahead)} of {len(comparisons)} comparisons have the same side ahead in all."
        alone = fewest_pairs(confidence)
        fewer = f"; a single comparison takes {alone}" if needed > alone else ""
        yield (
            f"{most} pairs cannot settle it, whatever they show: {needed} are the fewest that "
            f"could{_together(family)}{fewer}."
        )


def _adjusted(family: int) -> str:
    return f", adjusted over {family} comparisons (Holm)," if family > 1 else ""


def _together(family: int) -> str:
    return f", with {family} comparisons adjusted together" if family > 1 else ""


@_page.register
def _(answer: Unpaired) -> list[Block]:
    basis = answer.basis
    ratios = basis.metric.as_ratio
    header = [
        "A",
        "B",
        "runs",
        "mean of A",
        "mean of B",
        f"A {'/' if ratios else '-'} B ({level(basis.confidence)})",
        "A beats B",
        "p",
        "A is",
    ]
    rows = [
        [
            of.candidate or NO_VALUE,
            of.baseline or NO_VALUE,
            f"{of.compared.n_candidate}, {of.compared.n_baseline}",
            _number(of.candidate_mean),
            _number(of.baseline_mean),
            _unpaired_effect(of),
            f"{of.compared.probability_of_outperforming:.2f}",
            p_value(of.p),
            better_or_worse(of.verdict).replace("pairs", "runs"),
        ]
        for of in answer.comparisons
    ]
    family = answer.comparisons[0].family
    better = "smaller" if basis.metric.smaller_is_better else "larger"
    return [
        Heading(f"{answer.comparisons[0].factor}: {_headline(answer.comparisons)}, unpaired"),
        Paragraph(
            f"{basis.metric.name} of A beside that of B, the {better} the better. Their runs share "
            "nothing, so all runs of one are compared with all of the other: the interval is "
            "Welch's, p is the Mann-Whitney test's. Pairs, runs of both with the same seed, would "
            "tell more with as many runs."
        ),
        Table(header, rows),
        Paragraph(
            f"One is better than the other if the interval excludes {1 if ratios else 0}, p"
            f"{_adjusted(family)} is at most {1 - basis.confidence:.2g}, and a run of it beats one "
            f"of the other with a probability of at least {MEANINGFUL}."
        ),
    ]


def _unpaired_effect(of: UnpairedPair) -> str:
    compared = of.compared
    mean, low, high = compared.mean, compared.ci_low, compared.ci_high
    interval = None if low is None or high is None else Interval(low, high)
    if of.as_ratio:
        interval = interval and Interval(math.exp(interval.ci_low), math.exp(interval.ci_high))
        return _with_interval(math.exp(mean), interval, signed=False)
    return _with_interval(mean, interval, signed=True)


@_page.register
def _(answer: Trends) -> list[Block]:
    name = answer.basis.metric.name
    rows = []
    for of in answer.trends:
        row = [of.where or "all", str(len(of.points))]
        if of.trend is None:
            rows.append([*row, ABSENT, ABSENT, ABSENT, ABSENT])
            continue
        for coefficient in (of.trend.pearson, of.trend.spearman):
            interval = Interval(coefficient.ci_low, coefficient.ci_high)
            shown = (
                f"{coefficient.coefficient:.2f} ({interval.ci_low:.2f} to {interval.ci_high:.2f})"
            )
            row += [shown, p_value(coefficient.p)]
        rows.append(row)
    told = [
        f"{answer.factor} is a number with a run or few for each of many values, so what is looked "
        f"at is whether {name} rises or falls with it, not each value against each. A correlation "
        "is no proof of a cause."
    ]
    if answer.elsewhere:
        told.append(
            f"{answer.elsewhere} runs are not in the table, because too few others were made with "
            "the same settings."
        )
    at = level(answer.basis.confidence)
    header = ["runs with", "n", f"Pearson's r ({at})", "p", f"Spearman's rho ({at})", "p"]
    return [
        Heading(f"{name} over {answer.factor}: {_trend_headline(answer)}"),
        Paragraph(" ".join(told)),
        Table(header, rows),
    ]


def _trend_headline(answer: Trends) -> str:
    told = []
    alpha = 1 - answer.basis.confidence
    for of in answer.trends:
        if of.trend is None:
            how = "the same everywhere"
        elif max(of.trend.pearson.p, of.trend.spearman.p) > alpha:
            how = "no clear trend"
        else:
            how = "rises" if of.trend.pearson.coefficient > 0 else "falls"
        told.append(f"{how}{f' with {of.where}' if of.where else ''}")
    return ", ".join(told)


@_page.register
def _(answer: Values) -> list[Block]:
    name = answer.basis.metric.name
    single = all(cell.runs == 1 for cell in answer.cells)
    why = "each value has one run" if single else "hardly any two runs differ in nothing but this"
    return [
        Heading(f"{answer.factor}: no verdict, because {why}"),
        Paragraph(
            f"The table has {name} as it is. Whether any two would differ again, these runs cannot "
            f"say. A verdict takes at least {answer.fewest} runs of each, with seeds (or data sets, "
            "or other settings) that all share."
        ),
        _cells(answer.factor, answer.cells, answer.basis, combined=False),
    ]


@_page.register
def _(answer: Search) -> list[Block]:
    name = answer.basis.metric.name
    best = answer.best[0]
    told = [
        f"{best.level or NO_VALUE} has the best {name} of {answer.settings}, "
        f"{_number(best.mean)}. That is optimistic, because it was picked from "
        f"{answer.settings}: run again, it would probably do worse."
    ]
    if answer.ahead is not None:
        told.append(
            f"It lies {answer.ahead:.1f} standard deviations from the mean of all; the best of "
            f"{answer.settings} draws from one normal distribution lies "
            f"{answer.expected_ahead:.1f} away, without being any better."
        )
    told.append(
        "To know whether it is better than another, run both again with the same new seeds, and "
        "compare these (--where)."
    )
    return [
        Heading(f"{answer.factor}: the best of {answer.settings} settings, and no verdict"),
        Paragraph(" ".join(told)),
        _cells(answer.factor, answer.best, answer.basis, combined=True),
    ]


def _cells(factor: str, cells: Sequence[Cell], basis: Basis, *, combined: bool) -> Table:
    repeated = any(cell.runs > 1 for cell in cells)
    beside = [of.name for _, confounders in basis.confounders for of in confounders][:_BESIDE]
    header = [
        "setting" if combined else factor,
        *(["runs"] if repeated else []),
        f"{'mean ' if repeated else ''}{basis.metric.name}",
        *(["lowest to highest"] if repeated else []),
        *beside,
    ]
    rows = [
        [
            cell.level or NO_VALUE,
            *([str(cell.runs)] if repeated else []),
            _number(cell.mean),
            *([_range(cell)] if repeated else []),
            *(_several(values) for values in cell.beside[:_BESIDE]),
        ]
        for cell in cells[:_ROWS]
    ]
    return Table(header, rows)


def _range(cell: Cell) -> str:
    return ABSENT if cell.runs == 1 else f"{_number(cell.low)} to {_number(cell.high)}"


def _several(values: Sequence[str]) -> str:
    if len(values) > _VALUES:
        return f"{len(values)} values"
    return ", ".join(value[:_LONGEST] or NO_VALUE for value in values)


def _basis(basis: Basis) -> list[Block]:
    """Returns what an answer rests on: what was inferred, and what a reader should know."""
    page: list[Block] = []
    if notes := list(_notes(basis)):
        page.append(Paragraph(" ".join(notes)))
    if basis.inferences:
        rows = [[of.text, of.flag] for of in basis.inferences]
        page.append(Table(["What was inferred", "to change it"], rows))
    return page


def _notes(basis: Basis) -> Iterator[str]:
    for factor, confounders in basis.confounders:
        always = [of.name for of in confounders if of.always]
        partly = [of.name for of in confounders if not of.always]
        if always:
            yield (
                f"Always different too where {factor} is: {listed(always)}. Which of them makes "
                "the difference, these runs cannot say."
            )
        if partly:
            yield f"Not always the same where {factor} differs: {listed(partly)}."
    if basis.copies:
        yield (
            f"{_runs(basis.copies)} counted as one with another, because all their metrics are the "
            "same to the last digit: a copy is no repetition."
        )
    if basis.repeats:
        yield f"{_runs(basis.repeats)} of the same setting and block averaged with each other."
    counted = f"{basis.runs} runs count."
    if basis.left_out:
        counted += f" Left out: {', '.join(f'{of.count} {of.reason}' for of in basis.left_out)}."
    yield counted


def _runs(count: int) -> str:
    return "1 run was" if count == 1 else f"{count} runs were"
