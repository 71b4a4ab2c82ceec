"""The design that a table of runs amounts to."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.designs.asked import Asked, Inference, LeftOut
from pipeline.designs.columns import columns
from pipeline.designs.copies import distinct_runs
from pipeline.designs.factors import factors
from pipeline.designs.metric import Metric
from pipeline.designs.pairing import Question, question
from pipeline.designs.selection import counted
from pipeline.stores.stored_runs import StoredRuns


@dataclass(frozen=True, eq=False)
class Design:
    """What some runs can be asked.

    Attributes:
        metric: what is compared.
        questions: one, or one for each factor of a factorial.
        inferences: what was inferred, in the order in which it matters.
        of_pairs: what was inferred of pairs; it matters only if there are some.
        left_out: runs that do not count.
        runs: how many do.
        copies: how many of these are the same as another one to the last digit.
        against: the level that all others are compared with, if the user named one.
    """

    metric: Metric
    questions: tuple[Question, ...]
    inferences: tuple[Inference, ...]
    of_pairs: tuple[Inference, ...]
    left_out: tuple[LeftOut, ...]
    runs: int
    copies: int
    against: str | None


def design(stored: StoredRuns, asked: Asked) -> Design:
    """Returns the design of the runs: what is compared, by what measure, in which blocks.

    Example: the runs of two optimisers, each with the seeds 0 to 9 and an accuracy, compare the
    optimisers in ten pairs; that the accuracy, the optimiser and the seed were meant is said in
    `inferences`, each with the flag that overrides it.

    Raises:
        ArgumentError: if the question cannot be answered: no run counts, nothing differs, more than
            one metric may be meant, or a name in `asked` is unknown.
    """
    metric, values, left_out, of_metric = counted(stored, asked)
    known = columns(stored, values.index)
    found, of_factors = factors(known, asked)
    cells = [of for _, of in found]
    kept, of_copies = distinct_runs(known, cells, values, asked.pair_by)
    copies = len(values) - len(kept)
    if copies:
        # What a copy has in common with its original says nothing about the others.
        known = columns(stored, kept)
        found, of_factors = factors(known, asked)
    questions = [question(factor, of, values[kept], known, asked) for factor, of in found]
    of_pairs = tuple(dict.fromkeys(told for of in questions for told in of.told))
    if len(questions) > 1 and not asked.pair_by:
        # Of a factorial, what is said of all factors is said once.
        of_pairs = (Inference("Paired by all else that was varied.", "--pair-by"),)
    return Design(
        metric=metric,
        questions=tuple(questions),
        inferences=(*of_factors[:1], *of_metric, *of_factors[1:], *of_copies),
        of_pairs=of_pairs,
        left_out=tuple(left_out),
        runs=len(values),
        copies=copies,
        against=asked.against,
    )
