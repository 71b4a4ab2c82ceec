"""Ablations as a page for people: one table of all cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from pipeline.comparison.grid import Ablation, Cell, Effect, named, shown
from pipeline.comparison.statistics import MEANINGFUL, Summary, fewest_pairs
from pipeline.comparison.words import ABSENT, interval, level, p_value, percent
from pipeline.evaluation.divergence import HIGHEST_LOSS
from pipeline.reporting import pages
from pipeline.reporting.pages import Block, Heading, Paragraph, Table


def blocks(found: Ablation) -> list[Block]:
    """Returns an ablation as blocks: what is shown, the table, and what to know of it."""
    page: list[Block] = [Heading(_title(found)), Paragraph(_legend(found)), _table(found)]
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


def _title(found: Ablation) -> str:
    over = f"{', '.join(found.axes)}: " if found.axes else ""
    count, of = len(found.cells), len(found.experiments)
    return f"{over}{count} cells of {of} experiment{'s' if of != 1 else ''}"


def _legend(found: Ablation) -> str:
    measured = level(found.confidence)
    told = f"Test accuracy: mean over the runs, and half of its {measured} interval."
    if not found.effects:
        return told
    adjusted = f", adjusted for all {found.family} (Holm)" if found.family > 1 else ""
    return (
        f"{told} Difference: to {baseline_label(found)} of the same experiment, pair by pair, in "
        f"percentage points, with its {measured} interval; p is Wilcoxon's{adjusted}. Better or "
        f"worse: the interval leaves out 0, at least {level(MEANINGFUL)} of the pairs are won or "
        f"lost, which can be told from half of them, and p is at most {1 - found.confidence:.2g}."
    )


def baseline_label(found: Ablation) -> str:
    """Returns the label of the variant that the others are set against."""
    return next(
        cell.side.results.label for cell in found.cells if cell.side.variant == found.baseline
    )


def _table(found: Ablation) -> Table:
    against = _has_several_references(found)
    header = [*found.axes, "variant", "runs", "accuracy, %"]
    if found.effects:
        header += ["against"] if against else []
        header += ["difference", "wins", "p", "verdict"]
    rows = []
    for cell in found.cells:
        row = [shown(cell.at.get(axis)) for axis in found.axes]
        row += [cell.side.results.label, str(len(cell.side.results.scores))]
        row.append(_mean(cell.summary("accuracy", found.confidence)))
        if found.effects:
            row += [_against(cell)] if against else []
            row += _effect(cell.effect)
        rows.append([*row, _experiments(cell)])
    return Table([*header, "experiment"], rows)


def _mean(of: Summary) -> str:
    if of.mean is None or of.ci_high is None:
        return percent(of.mean)
    return f"{percent(of.mean)} ± {percent(of.ci_high - of.mean)}"


def _effect(effect: Effect | None) -> list[str]:
    if effect is None:
        return [ABSENT] * 4
    comparison = effect.contrast.comparison
    if comparison is None:
        pairs = len(effect.contrast.seeds)
        return ["0.00", f"0 of {pairs}", ABSENT, effect.verdict]
    result = comparison.accuracy
    told = ABSENT if result.mean is None else f"{100 * result.mean:+z.2f}"
    if result.ci_low is not None:
        told += f" ({interval(result, 100, 2)})"
    return [told, f"{result.wins} of {result.n}", p_value(effect.p), effect.verdict]


def _has_several_references(found: Ablation) -> bool:
    """Returns whether a cell is set against more than one baseline, which its row must tell."""
    places = [(cell.side.variant, named(cell.at)) for cell, _ in found.effects]
    return len(set(places)) < len(places)


def _against(cell: Cell) -> str:
    return named(cell.effect.reference) or ABSENT if cell.effect else ABSENT


def _experiments(cell: Cell) -> str:
    first, *others = cell.experiments
    return f"{first} +{len(others)}" if others else first


def _notes(found: Ablation) -> Iterator[str]:
    """Yields what a reader should know before believing the numbers."""
    yield from _left_out(found)
    yield from _diverged(found)
    for cell in found.disagreeing:
        yield (
            f"{_told(cell)} of {', '.join(cell.experiments)} came out otherwise than elsewhere "
            "from the same: other packages or another machine made the difference."
        )
    other = [name for name in ("data", "code") if name in found.axes]
    if other:
        yield f"Not all cells were made from the same {' and '.join(other)}."
    yield from _too_few(found)


def _left_out(found: Ablation) -> Iterator[str]:
    told = [
        f"{len(seeds)} of {label} ({_told(cell)})"
        for cell, effect in found.effects
        for label, seeds in zip(
            (cell.side.results.label, baseline_label(found)), effect.contrast.left_out, strict=True
        )
        if seeds
    ]
    if told:
        yield f"Left out of differences, without a partner of the same seed: {'; '.join(told)}."


def _diverged(found: Ablation) -> Iterator[str]:
    told = [
        f"{len(cell.side.results.diverged)} of {len(cell.side.results.scores)} of {_told(cell)}"
        for cell in found.cells
        if cell.side.results.diverged
    ]
    if not told:
        return
    yield (
        f"Runs that diverged: {'; '.join(told)}. Their training loss ended above "
        f"{HIGHEST_LOSS:.1f}, twice that of a guess, or was no longer finite. They count with the "
        "accuracy that they have."
    )
    for cell, effect in found.effects:
        comparison = effect.contrast.comparison
        if comparison is None or comparison.steady == comparison.accuracy:
            continue
        left = comparison.steady
        if left is None or left.mean is None:
            yield f"{_told(cell)}: there is no pair in which neither diverged."
        else:
            yield (
                f"{_told(cell)}: over the pairs in which neither diverged, {left.n} of "
                f"{comparison.accuracy.n}, the difference is {100 * left.mean:+z.2f} "
                f"({interval(left, 100, 2)})."
            )


def _too_few(found: Ablation) -> Iterator[str]:
    """Yields how many seeds it would take, where no p can be as small as a verdict needs it."""
    pairs = [len(effect.contrast.seeds) for _, effect in found.effects]
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


def _told(cell: Cell) -> str:
    label = cell.side.results.label
    return f"{label} at {named(cell.at)}" if cell.at else label
