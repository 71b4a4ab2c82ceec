"""What a user asks of a store's runs, and what was inferred where they did not say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """What the flags said; None or () where it is to be inferred.

    Attributes:
        metric: the name of the metric that is compared.
        at: which of its values counts in each run: `last`, `best`, `mean`, or a step.
        by: what is compared: names of parameters or tags, `run_name`, `experiment`.
        pair_by: what the runs of a pair share: names as in `by`.
        smaller_is_better: of the metric.
        against: the value of `by` that all others are compared with.
    """

    metric: str | None = None
    at: str | None = None
    by: tuple[str, ...] = ()
    pair_by: tuple[str, ...] = ()
    smaller_is_better: bool | None = None
    against: str | None = None


@dataclass(frozen=True)
class Inference:
    """One thing that was inferred, as a sentence, and the flag that overrides it."""

    text: str
    flag: str


@dataclass(frozen=True)
class LeftOut:
    """How many runs were left out, and why: `3 failed`."""

    reason: str
    count: int
