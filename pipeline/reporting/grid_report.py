"""Grids as a page for people: one table of all cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from pipeline.comparison.grid import Grid, Row, named, shown
from pipeline.comparison.statistics import Summary
from pipeline.comparison.verdict import fewest_pairs, rule_in_words
from pipeline.comparison.words import ABSENT, better_or_worse, interval, level, p_value, percent
from pipeline.reporting import pages
from pipeline.reporting.certainty import diverged, without_diverged
from pipeline.reporting.pages import Block, Heading, Paragraph, Table


def blocks(found: Grid) -> list[Block]:
    """Returns a grid as blocks: what is shown, the table, and what to know of it."""
    over = f"{', '.join(found.axes)}: " if found.axes else ""
    count, of = len(found.rows), len(found.experiments)
    title = f"{over}{count} cells of {of} experiment{'s' if of != 1 else ''}"
    page: list[Block] = [Heading(title), Paragraph(_legend(found)), _table(found)]
    if notes := list(_notes(found)):
        page.append(Paragraph(" ".join(notes)))
    return page


def text(page: Sequence[Block]) -> str:
    """Returns the page as plain text, a line a cell, however wide that is."""
    return "\n".join(
        _unbroken(block) if isinstance(block, Table) else pages.text([block]) for block in page
    )


def _unbroken(table: Table) -> str:
    told = tabulate([table.header, *table.rows], tablefmt="plain", disable_numparse=True)
    return "".join(f"{line.rstrip()}\n" for line in told.splitlines())


def _legend(found: Grid) -> str:
    measured = level(found.confidence)
    told = f"Test accuracy: mean over the runs, and half of its {measured} interval."
    if not found.contrasts:
        return told
    adjusted = f", adjusted for all {found.family} (Holm)" if found.family > 1 else ""
    return (
        f"{told} Difference: to {baseline_label(found)} of the same experiment, pair by pair, in "
        f"percentage points, with its {measured} interval; p is Wilcoxon's{adjusted}. "
        f"{rule_in_words(found.confidence, found.family)}"
    )


def baseline_label(found: Grid) -> str:
    """Returns the label of the variant that the others are set against."""
    return next(row.cell.label for row in found.rows if row.cell.variant == found.baseline)


def _table(found: Grid) -> Table:
    # A cell that is set against more than one baseline has a row for each.
    places = [(row.cell.variant, named(row.at)) for row, _ in found.contrasts]
    against = len(set(places)) < len(places)
    header = [*found.axes, "variant", "runs", "accuracy, %"]
    if found.contrasts:
        header += ["against"] if against else []
        header += ["difference", "wins", "p", "verdict"]
    rows = []
    for row in found.rows:
        told = [shown(row.at.get(axis)) for axis in found.axes]
        told += [row.cell.label, str(len(row.cell.scores))]
        told.append(_mean(row.cell.summary("accuracy", found.confidence)))
        if found.contrasts:
            told += [named(row.against or {}) or ABSENT] if against else []
            told += _difference(row)
        first, *others = row.experiments
        rows.append([*told, f"{first} +{len(others)}" if others else first])
    return Table([*header, "experiment"], rows)


def _mean(of: Summary) -> str:
    if of.mean is None or of.ci_high is None:
        return percent(of.mean)
    return f"{percent(of.mean)} ± {percent(of.ci_high - of.mean)}"


def _difference(row: Row) -> list[str]:
    if row.contrast is None:
        return [ABSENT] * 4
    result, effect = row.contrast.accuracy, row.contrast.effect
    told = ABSENT if result.mean is None else f"{100 * result.mean:+z.2f}"
    if row.contrast.same_scores:
        told = "0.00"
    elif result.ci_low is not None:
        told += f" ({interval(result, 100, 2)})"
    wins = f"{result.wins} of {result.n}"
    return [told, wins, p_value(effect.p), better_or_worse(row.contrast.verdict)]


def _notes(found: Grid) -> Iterator[str]:
    """Yields what a reader should know before believing the numbers."""
    left_out = [
        f"{len(seeds)} of {label} ({_told(row)})"
        for row, contrast in found.contrasts
        for label, seeds in zip(
            (row.cell.label, baseline_label(found)), contrast.effect.left_out, strict=True
        )
        if seeds
    ]
    if left_out:
        yield f"Left out of differences, without a partner of the same seed: {'; '.join(left_out)}."
    counts = [
        f"{len(row.cell.diverged)} of {len(row.cell.scores)} of {_told(row)}"
        for row in found.rows
        if row.cell.diverged
    ]
    if counts:
        yield diverged(counts, "; ")
    for row, contrast in found.contrasts:
        if not contrast.same_scores and (left := without_diverged(contrast)):
            yield f"{_told(row)}: {left}."
    for row in found.disagreeing:
        yield (
            f"{_told(row)} of {', '.join(row.experiments)} came out otherwise than elsewhere "
            "from the same: other packages or another machine made the difference."
        )
    other = [name for name in ("data", "code") if name in found.axes]
    if other:
        yield f"Not all cells were made from the same {' and '.join(other)}."
    yield from _too_few(found)


def _too_few(found: Grid) -> Iterator[str]:
    """Yields how many seeds it would take, where no p can be as small as a verdict needs it."""
    pairs = [len(contrast.effect.seeds) for _, contrast in found.contrasts]
    if not pairs:
        return
    # Of n pairs that are all won, Wilcoxon's p is 2 / 2**n; Holm multiplies the smallest by m.
    needed = fewest_pairs(1 - (1 - found.confidence) / max(found.family, 1))
    if max(pairs) < needed:
        together = f" where {found.family} are adjusted together" if found.family > 1 else ""
        yield (
            f"With {max(pairs)} pairs no p can be small enough for a verdict{together}: that takes "
            f"{needed} seeds."
        )


def _told(row: Row) -> str:
    return f"{row.cell.label} at {named(row.at)}" if row.at else row.cell.label
