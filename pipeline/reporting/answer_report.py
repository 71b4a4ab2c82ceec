"""What was found out about anybody's runs, as a page and as a record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import singledispatch
from typing import Any

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
from pipeline.designs.factors import shown
from pipeline.designs.metric import listed
from pipeline.errors import printable
from pipeline.reporting.pages import Block, Heading, Paragraph, Table

# Larger numbers are written with a power of ten.
_LARGE = 1e7
# How much a table or sentence shows: rows, confounders, characters and values of one, comparisons.
_ROWS = 40
_BESIDE = 4
_LONGEST = 12
_VALUES = 3
_NAMED = 6
_ALIASES = 4


def blocks(answer: Answer) -> list[Block]:
    """Returns an answer as blocks: in a sentence, in a table, and what it rests on.

    Names and values are those of the store; characters that would control a terminal are `?`.
    """
    return [_printable(block) for block in (*_page(answer), *_basis(answer.basis))]


def record(answer: Answer) -> dict[str, Any]:
    """Returns an answer ready for JSON, with its kind: `paired`, `trends`, and so on."""
    return {"answer": type(answer).__name__.lower(), "sentence": sentence(answer), **asdict(answer)}


def sentence(answer: Answer) -> str:
    """Returns the answer in one sentence."""
    first = _page(answer)[0]
    return printable(first.text) if isinstance(first, Heading) else ""


def _printable(block: Block) -> Block:
    match block:
        case Table():
            rows = [[printable(cell) for cell in row] for row in block.rows]
            return Table([printable(cell) for cell in block.header], rows)
        case Heading() | Paragraph():
            return replace(block, text=printable(block.text))
    return block


@singledispatch
def _page(answer: Answer) -> list[Block]:
    raise TypeError(type(answer))


@_page.register
def _(answer: Paired) -> list[Block]:
    comparisons = answer.comparisons
    several = _several_factors(comparisons)
    ratios = answer.basis.metric.as_ratio
    rows = [
        [
            *([of.factor] if several else []),
            shown(of.candidate),
            shown(of.baseline),
            _number(of.candidate_mean),
            _number(of.baseline_mean),
            _effect(of),
            f"{of.paired.wins} of {of.paired.n}",
            p_value(of.p),
            better_or_worse("same" if of.paired.ties == of.paired.n else of.verdict),
        ]
        for of in comparisons
    ]
    return [
        Heading(_headline(comparisons) + _but(answer.basis)),
        Paragraph(" ".join(_on_pairs(answer))),
        Table(_header(comparisons, ["A ahead"], ratios=ratios), rows),
        Paragraph(" ".join(_rule(answer))),
        *_how_many_more(comparisons),
    ]


def _header(
    comparisons: Sequence[Comparison] | Sequence[UnpairedPair], ahead: list[str], *, ratios: bool
) -> list[str]:
    return [
        *(["compared"] if _several_factors(comparisons) else []),
        "A",
        "B",
        "mean A",
        "mean B",
        f"A {'/' if ratios else '-'} B",
        *ahead,
        "p (Holm)" if comparisons[0].family > 1 else "p",
        "A is",
    ]


def _several_factors(comparisons: Sequence[Comparison] | Sequence[UnpairedPair]) -> bool:
    return len({of.factor for of in comparisons}) > 1


def _headline(comparisons: Sequence[Comparison] | Sequence[UnpairedPair]) -> str:
    """Returns what is settled, in one sentence."""
    several = _several_factors(comparisons)
    about = "" if several else f"{_named(comparisons[0])}: "
    settled = [
        _better(of, several=several)
        for of in comparisons
        if of.verdict in {"candidate_better", "baseline_better"}
    ]
    rest = len(comparisons) - len(settled)
    if settled:
        return f"{about}{listed(settled, _NAMED)}{f'; {rest} more not settled' if rest else ''}"
    if len(comparisons) == 1:
        (of,) = comparisons
        same = isinstance(of, Comparison) and of.paired.ties == of.paired.n
        pair = f"{shown(of.candidate)} {'and' if same else 'or'} {shown(of.baseline)}"
        if same:
            return f"{about}{pair} are the same in every pair"
        few = of.verdict == "too_few_pairs"
        return f"{about}{'too few runs to say' if few else 'not settled'} whether {pair} is better"
    few = all(of.verdict == "too_few_pairs" for of in comparisons)
    why = "too few runs for a verdict on" if few else "not settled by"
    leader = "" if several else _leader(comparisons)
    return f"{about}{why} any of {len(comparisons)} comparisons{leader}"


def _but(basis: Basis) -> str:
    """Returns what always changes with what was compared, as the end of a sentence."""
    always = dict.fromkeys(of.name for _, found in basis.confounders for of in found if of.always)
    if not always:
        return ""
    return f"; but {listed([*always])} differ{'s' if len(always) == 1 else ''} with it"


def _leader(comparisons: Sequence[Comparison] | Sequence[UnpairedPair]) -> str:
    """Returns which level was compared with all others and is ahead in every pair, if one is."""
    met = Counter(name for of in comparisons for name in (of.candidate, of.baseline))
    ahead: dict[str, bool] = {}
    for of in comparisons:
        won, n = (of.paired.wins, of.paired.n) if isinstance(of, Comparison) else (0, 0)
        lost = isinstance(of, Comparison) and won + of.paired.ties == 0
        ahead[of.candidate] = ahead.get(of.candidate, True) and won == n > 0
        ahead[of.baseline] = ahead.get(of.baseline, True) and lost
    return next(
        (
            f", though {shown(name)} is ahead in every pair"
            for name in ahead
            if name and ahead[name] and met[name] == len(met) - 1
        ),
        "",
    )


def _better(of: Comparison | UnpairedPair, *, several: bool) -> str:
    pair = shown(of.candidate), shown(of.baseline)
    better, worse = pair if of.verdict == "candidate_better" else pair[::-1]
    return f"{f'{_named(of)} ' if several else ''}{better} is better than {worse}"


def _named(of: Comparison | UnpairedPair) -> str:
    """Returns a factor with those that always change together with it."""
    return f"{of.factor} (with {listed(of.aliases, _ALIASES)})" if of.aliases else of.factor


def _effect(of: Comparison) -> str:
    interval = of.ratio or of.corrected or of.paired
    # Over fewer pairs than any verdict takes, an interval would look more certain than it is.
    low, high = interval.ci_low, interval.ci_high
    if of.verdict == "too_few_pairs" or low is None or high is None:
        low = high = None
    if of.ratio is not None:
        return _with_interval(of.ratio.ratio, low, high)
    return _with_interval(of.paired.mean, low, high, sign="+")


def _with_interval(
    value: float | None, low: float | None, high: float | None, sign: str = ""
) -> str:
    shown = ABSENT if value is None else _number(value, 3, sign if value else "")
    if low is None or high is None:
        return shown
    return f"{shown} ({_number(low, 3)} to {_number(high, 3)})"


def _number(value: float, digits: int = 4, sign: str = "") -> str:
    """Returns a number with so many digits that count."""
    shown = f"{value:{sign}#.{digits}g}".rstrip(".")
    return f"{value:{sign}.0f}" if "e+" in shown and abs(value) < _LARGE else shown


def _on_pairs(answer: Paired) -> Iterator[str]:
    """Yields what the table shows."""
    basis = answer.basis
    yield _on_means(
        basis, has_interval=any(of.verdict != "too_few_pairs" for of in answer.comparisons)
    )
    test = "the corrected t test's" if answer.unit == "folds" else "Wilcoxon's"
    adjusted = ", adjusted over all (Holm)" if answer.comparisons[0].family > 1 else ""
    yield f"p is {test}{adjusted}."
    if answer.unit == "data":
        yield (
            f"Each {answer.pair_by[0]} is one block: this says something about others like these, "
            "not about other seeds."
        )
    if answer.unit == "folds":
        yield (
            "Folds share training data, which is allowed for (corrected resampled t test, "
            "Nadeau & Bengio 2003)."
        )
    if answer.friedman is not None:
        of = answer.friedman
        yield (
            f"Friedman's test of all {of.cells} on the {of.blocks} blocks that have every one: "
            f"p = {p_value(of.p)}, by the chi-square distribution."
        )
    if most := max(of.without_partner for of in answer.comparisons):
        yield f"Runs without a partner are left out, up to {most} of a comparison."
    if answer.apart:
        yield f"Not compared, because nothing is shared: {_pairs(answer.apart)}."


def _on_means(basis: Basis, *, has_interval: bool = True) -> str:
    """Returns what the columns of both means and their difference have."""
    metric = basis.metric
    better = "smaller" if metric.smaller_is_better else "larger"
    what = "ratio of geometric means, as of all times" if metric.as_ratio else "difference"
    interval = f", with its {level(basis.confidence)} interval" if has_interval else ""
    return (
        f"Compared is {metric.name}, the {better} the better: the mean of A, the mean of B, and "
        f"their {what}{interval}."
    )


def _pairs(apart: Sequence[tuple[str, str, str]]) -> str:
    told = [f"{factor} {shown(a)} and {shown(b)}" for factor, a, b in apart[:_NAMED]]
    more = len(apart) - _NAMED
    return "; ".join([*told, *([f"{more} more"] if more > 0 else [])])


def _rule(answer: Paired) -> Iterator[str]:
    confidence = answer.basis.confidence
    comparisons = answer.comparisons
    family = comparisons[0].family
    if answer.unit == "folds":
        yield (
            f"The rule: one is better than the other if the interval excludes 0, p"
            f"{_adjusted(family)} is at most {1 - confidence:.2g}, and it wins a fold with a "
            f"probability of at least {MEANINGFUL} whose interval excludes 0.5. With fewer than "
            f"{fewest_pairs(confidence)} folds there is no verdict."
        )
    else:
        yield rule_in_words(confidence, family)
    if answer.basis.metric.as_ratio:
        yield (
            "Of a ratio the interval, Student's of the logarithms, must exclude 1; Wilcoxon's test "
            "is of the differences all the same."
        )
    most, needed = max(of.paired.n for of in comparisons), comparisons[0].fewest
    if answer.unit == "folds" or most >= needed:
        return
    ahead = [of for of in comparisons if of.paired.wins in {0, of.paired.n} and not of.paired.ties]
    if ahead:
        where = f"In {len(ahead)} of {len(comparisons)} one" if len(comparisons) > 1 else "One"
        yield f"{where} side is ahead in every pair."
    alone = fewest_pairs(confidence)
    fewer = f"; of two values alone, {alone}" if needed > alone else ""
    yield (
        f"But {most} pairs cannot settle it, whatever they show: {needed} are the fewest that could"
        f"{f', of {family} comparisons' if family > 1 else ''}{fewer}."
    )


def _how_many_more(comparisons: Sequence[Comparison]) -> Iterator[Paragraph]:
    """Yields how many pairs would probably settle what is open, if that is known."""
    several = _several_factors(comparisons)
    groups: dict[int | None, list[str]] = {}
    for of in comparisons:
        if of.needed and of.needed.is_spread_known:
            pair = f"{shown(of.candidate)} and {shown(of.baseline)}"
            groups.setdefault(of.needed.pairs, []).append(
                f"{of.factor} {pair}" if several else pair
            )
    if not groups:
        return
    needed = next(of.needed for of in comparisons if of.needed)
    told = []
    for pairs, names in sorted(groups.items(), key=lambda group: group[0] or math.inf):
        of_all = "it" if len(comparisons) == 1 else "any that is open"
        what = of_all if len(groups) == 1 else listed(names)
        many = f"not even {needed.at_most}" if pairs is None else str(pairs)
        told.append(f"{many} in all would settle {what}")
    yield Paragraph(
        f"If the pairs to come vary like these, {'; '.join(told)}, with a probability of "
        f"{level(needed.power)}, by simulation."
    )


def _adjusted(family: int) -> str:
    return f", adjusted over {family} comparisons (Holm)," if family > 1 else ""


@_page.register
def _(answer: Unpaired) -> list[Block]:
    basis = answer.basis
    comparisons = answer.comparisons
    ratios = basis.metric.as_ratio
    rows = [
        [
            shown(of.candidate),
            shown(of.baseline),
            _number(of.candidate_mean),
            _number(of.baseline_mean),
            _unpaired_effect(of),
            f"{of.compared.n_candidate}, {of.compared.n_baseline}",
            f"{of.compared.probability_of_outperforming:.2f}",
            p_value(of.p),
            better_or_worse(of.verdict).replace("pairs", "runs"),
        ]
        for of in comparisons
    ]
    on_means = (
        f"{_on_means(basis)} The runs of both share nothing, so this is unpaired: all runs of one "
        "are compared with all of the other. The interval is Welch's, p the Mann-Whitney test's. "
        "Pairs, which share a seed, often tell more with as many runs."
    )
    rule = (
        f"The rule: one is better than the other if the interval excludes {1 if ratios else 0}, p"
        f"{_adjusted(comparisons[0].family)} is at most {1 - basis.confidence:.2g}, and a run of "
        f"it beats one of the other with a probability of at least {MEANINGFUL}."
    )
    return [
        Heading(f"{_headline(comparisons)} (unpaired){_but(basis)}"),
        Paragraph(on_means),
        Table(_header(comparisons, ["runs", "A beats B"], ratios=ratios), rows),
        Paragraph(rule),
    ]


def _unpaired_effect(of: UnpairedPair) -> str:
    compared = of.compared
    low, high = compared.ci_low, compared.ci_high
    if not of.as_ratio:
        return _with_interval(compared.mean, low, high, sign="+")
    if low is None or high is None:
        return _with_interval(math.exp(compared.mean), None, None)
    return _with_interval(math.exp(compared.mean), math.exp(low), math.exp(high))


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
            ends = f"{coefficient.ci_low:.2f} to {coefficient.ci_high:.2f}"
            row += [f"{coefficient.coefficient:.2f} ({ends})", p_value(coefficient.p)]
        rows.append(row)
    told = (
        f"{answer.factor} is a number with a run or few for each of many values, so what is looked "
        f"at is whether {name} rises or falls with it, not each value against each. A trend is "
        f"clear if both p are at most {1 - answer.basis.confidence:.2g}. A correlation is no proof "
        "of a cause."
    )
    if len(answer.trends) > 1:
        told += " Each p is for itself: none is adjusted for the others."
    if answer.elsewhere:
        told += (
            f" {answer.elsewhere} runs are not in the table, because too few others were made with "
            "the same settings."
        )
    at = level(answer.basis.confidence)
    header = ["runs with", "n", f"Pearson's r ({at})", "p", f"Spearman's rho ({at})", "p"]
    return [
        Heading(f"{name} over {answer.factor}: {_trend_headline(answer)}"),
        Paragraph(told),
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
        told.append(f"{how}{f' ({of.where})' if of.where else ''}")
    return ", ".join(told)


@_page.register
def _(answer: Values) -> list[Block]:
    name = answer.basis.metric.name
    single = all(cell.runs == 1 for cell in answer.cells)
    why = "each has one run" if single else "hardly any two runs differ in nothing but this"
    alone = fewest_pairs(answer.basis.confidence)
    fewer = f" ({alone}, were there only two)" if answer.fewest > alone else ""
    told = (
        f"The table has {name} as it is. Whether any two would differ again, these runs cannot say."
        f" A verdict takes at least {answer.fewest} runs of each{fewer}, with seeds, or data sets, "
        "that all share."
    )
    return [
        Heading(f"{answer.factor}: no verdict, because {why}"),
        Paragraph(" ".join([told, *_apart(answer)])),
        _cells(answer.factor, answer.cells, answer.basis, combined=False),
    ]


def _apart(answer: Values) -> Iterator[str]:
    """Yields what runs of one level have, and no others."""
    found = [of for _, confounders in answer.basis.confounders for of in confounders]
    for cell in answer.cells if len(answer.cells) > 2 else ():
        others = [of.beside for of in answer.cells if of is not cell]
        own = [
            confounder.name
            for place, confounder in enumerate(found)
            if not confounder.always
            and {*cell.beside[place]}.isdisjoint(value for of in others for value in of[place])
        ]
        if own:
            yield f"{answer.factor} {shown(cell.level)} has a {listed(own)} that no other has."


@_page.register
def _(answer: Search) -> list[Block]:
    name = answer.basis.metric.name
    best = answer.best[0]
    told = (
        f"{shown(best.level)} has the best {name} of {answer.settings}, "
        f"{_number(best.mean)}. That is optimistic, because it was picked from "
        f"{answer.settings}: run again, it would probably do worse."
    )
    if answer.ahead is not None:
        told += (
            f" It lies {answer.ahead:.1f} standard deviations from the mean of all; the best of "
            f"{answer.settings} draws from one normal distribution lies "
            f"{answer.expected_ahead:.1f} away, without being any better."
        )
    told += (
        " To know whether it is better than another, run both again with the same new seeds, and "
        "compare these (--where)."
    )
    if answer.settings > (listed_here := len(answer.best)):
        told += f" The table has the best {listed_here} of them."
    return [
        Heading(f"{answer.factor}: the best of {answer.settings} settings, and no verdict"),
        Paragraph(told),
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
            shown(cell.level),
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
        differs = f"{factor} differ" if " and " in factor else f"{factor} differs"
        if always:
            yield (
                f"Wherever {differs}, so do these, and each may make the difference: "
                f"{listed(always)}."
            )
        if partly:
            yield f"Not always the same where {differs}: {listed(partly)}."
    if basis.copies:
        yield (
            f"{_runs(basis.copies)} counted as one with another, because all their metrics are the "
            "same to the last digit: a copy is no repetition."
        )
    if basis.repeats:
        yield (
            f"{_runs(basis.repeats)} averaged with others of the same setting in the same pair or "
            "block (to compare single runs, choose them with --where)."
        )
    counted = f"{basis.runs} runs count."
    if basis.left_out:
        counted += f" Left out: {', '.join(f'{of.count} {of.reason}' for of in basis.left_out)}."
    yield counted


def _runs(count: int) -> str:
    return "1 run was" if count == 1 else f"{count} runs were"
