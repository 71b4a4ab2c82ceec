"""A grid as a page: one table of all cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from pipeline.comparison.grid import Grid, Row, named, shown
from pipeline.comparison.measures import Measure
from pipeline.comparison.statistics import Summary
from pipeline.comparison.verdict import too_few_in_words
from pipeline.comparison.words import ABSENT, better_or_worse, level, p_value
from pipeline.reporting import pages
from pipeline.reporting.certainty import diverged, rule, without_diverged
from pipeline.reporting.pages import Block, Heading, Paragraph, Table


def blocks(grid: Grid) -> list[Block]:
    """Returns a grid as blocks: what the table shows, the table, and notes on it."""
    over = f"{', '.join(grid.axes)}: " if grid.axes else ""
    count, of = len(grid.rows), len(grid.experiments)
    title = f"{over}{count} cells of {of} experiment{'s' if of != 1 else ''}"
    page: list[Block] = [Heading(title), Paragraph(_legend(grid)), _table(grid)]
    if notes := list(_notes(grid)):
        page.append(Paragraph(" ".join(notes)))
    return page


def text(page: Sequence[Block]) -> str:
    """Returns the page as plain text, one line per cell, however wide."""
    parts = []
    for block in page:
        if isinstance(block, Table):
            rows = [block.header, *block.rows]
            lines = tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()
            parts.append("".join(f"{line.rstrip()}\n" for line in lines))
        else:
            parts.append(pages.text([block]))
    return "\n".join(parts)


def _legend(grid: Grid) -> str:
    at_level = level(grid.confidence)
    measure = grid.measure
    values = (
        f"Test {measure.words}: mean over the runs, and half of its {at_level} interval."
        f"{' Smaller is better.' if measure.smaller_is_better else ''}"
    )
    if not grid.contrasts:
        return values
    adjusted = f", adjusted for all {grid.family} (Holm)" if grid.family > 1 else ""
    contrasts = [contrast for _, contrast in grid.contrasts]
    levels = sorted({contrast.confidence for contrast in contrasts})
    return (
        f"{values} Difference: to {baseline_label(grid)} of the same experiment, pair by pair, "
        f"in {measure.unit}, with its {' or '.join(map(level, levels))} interval; p is "
        f"Wilcoxon's{adjusted}. {' '.join(dict.fromkeys(map(rule, contrasts)))}"
    )


def baseline_label(grid: Grid) -> str:
    """Returns the label of the variant that the others are compared with."""
    return next(row.cell.label for row in grid.rows if row.cell.variant == grid.baseline)


def _table(grid: Grid) -> Table:
    # A cell that is compared with several baselines has a row for each.
    places = [(row.cell.variant, named(row.at)) for row, _ in grid.contrasts]
    against = len(set(places)) < len(places)
    header = [*grid.axes, "variant", "runs", grid.measure.heading]
    if grid.contrasts:
        header += ["against"] if against else []
        header += ["difference", "wins", "p", "verdict"]
    is_open = any(contrast.needed for _, contrast in grid.contrasts)
    header += ["pairs to settle it"] if is_open else []
    rows = []
    for row in grid.rows:
        columns = [shown(row.at.get(axis)) for axis in grid.axes]
        columns += [row.cell.label, str(len(row.cell.scores))]
        columns.append(_mean(grid.measure, row.cell.summary(grid.measure.name, grid.confidence)))
        if grid.contrasts:
            columns += [named(row.against or {}) or ABSENT] if against else []
            columns += _difference(row)
        columns += [_needed(row)] if is_open else []
        first, *others = row.experiments
        rows.append([*columns, f"{first} +{len(others)}" if others else first])
    return Table([*header, "experiment"], rows)


def _mean(measure: Measure, of: Summary) -> str:
    if of.mean is None or of.ci_low is None or of.ci_high is None:
        return measure.value(of.mean)
    below, above = measure.value(of.mean - of.ci_low), measure.value(of.ci_high - of.mean)
    # An interval that ends where the measure does is not even.
    half = f"± {above}" if above == below else f"({measure.interval(of)})"
    return f"{measure.value(of.mean)} {half}"


def _difference(row: Row) -> list[str]:
    if row.contrast is None:
        return [ABSENT] * 4
    result, effect, measure = row.contrast.paired, row.contrast.effect, row.contrast.measure
    difference = measure.difference(result.mean)
    if row.contrast.same_scores:
        difference = measure.value(0)
    elif result.ci_low is not None:
        difference += f" ({measure.interval(result)})"
    wins = f"{result.wins} of {result.n}"
    return [difference, wins, p_value(effect.p), better_or_worse(row.contrast.verdict)]


def _needed(row: Row) -> str:
    """Returns how many pairs would probably settle a row."""
    needed = row.contrast.needed if row.contrast else None
    if needed is None:
        return ABSENT
    return f"> {needed.at_most}" if needed.pairs is None else str(needed.pairs)


def _notes(grid: Grid) -> Iterator[str]:
    """Yields what a reader should know before trusting the numbers."""
    left_out = [
        f"{len(seeds)} of {label} ({_described(row)})"
        for row, contrast in grid.contrasts
        for label, seeds in zip(
            (row.cell.label, baseline_label(grid)), contrast.effect.left_out, strict=True
        )
        if seeds
    ]
    if left_out:
        yield f"Left out of differences, without a partner of the same seed: {'; '.join(left_out)}."
    counts = [
        f"{len(row.cell.diverged)} of {len(row.cell.scores)} of {_described(row)}"
        for row in grid.rows
        if row.cell.diverged
    ]
    if counts:
        yield diverged(counts, grid.measure, "; ")
    for row, contrast in grid.contrasts:
        if not contrast.same_scores and (difference := without_diverged(contrast)):
            yield f"{_described(row)}: {difference}."
    for row in grid.disagreeing:
        yield (
            f"{_described(row)} of {', '.join(row.experiments)} scored differently elsewhere with "
            "the same inputs: other packages or another machine made the difference."
        )
    differing = [name for name in ("data", "code") if name in grid.axes]
    if differing:
        yield f"Not all cells were made from the same {' and '.join(differing)}."
    pairs = [len(contrast.effect.seeds) for _, contrast in grid.contrasts]
    if pairs and (
        few := too_few_in_words(max(pairs), grid.confidence, max(grid.family, 1), grid.looks)
    ):
        yield few
    if needed := [contrast.needed for _, contrast in grid.contrasts if contrast.needed]:
        known = {one.is_spread_known for one in needed}
        simulated = (
            f"so many in all would do with a probability of {level(needed[0].power)}, by "
            "simulation, if those to come vary like these"
        )
        fewest = "how much pairs vary is not known from so few; a verdict takes at least so many"
        told = "; ".join([simulated] * (True in known) + [fewest] * (False in known))
        yield (
            f"Pairs to settle it: {told}. With `training.seeds` raised to that, an experiment "
            "trains only those that are missing."
        )


def _described(row: Row) -> str:
    return f"{row.cell.label} at {named(row.at)}" if row.at else row.cell.label
