"""A study: a claim, the grid of trainings that tests it, and the rules of its verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipeline.params import Count, Params, Section

STUDIES = Path("studies")
Text = Annotated[str, Field(min_length=1)]
Value = bool | int | float | str
# Known of every run without a probe.
SCORES = (
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss",
    "test_accuracy",
)  # fmt: skip
MEASURES = (*SCORES, "diverged")
# Known of a network that is not trained.
UNTRAINED = ("test_loss", "test_accuracy")


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def named(value: Any) -> Any:
    """Returns a value as axes, tables and figures show it; a list becomes one word."""
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else value


class Rule(Section):
    """What to compare, and what the claim expects; fixed before the runs.

    A rule takes one number from each seed and variant, and compares the variants over the seeds.

    Attributes:
        measure: a column of the study's results.
        expected: how the candidate's number compares with the baseline's if the claim is right.
        baseline: a variant to use instead of the study's baseline.
        candidate: a variant to use instead of the study's candidate.
        number: what to compare the candidate with, in place of a baseline.
        at: the point at which `measure` is taken, if the grid has more than one.
        minus: a point whose value is subtracted, so that the number is a change.
        everywhere: test the rule at each point of the grid; it holds if it holds at every point.
        best_by: take `measure` at the variant's best point by this measure, averaged over
            `chosen_on` seeds, which are then left out; least is best of losses and of calibration
            errors, most of all others.
        chosen_on: how many seeds, starting with the first, choose that point.
        largest: take the largest value of this axis at which `measure` is at least `reaching`, or
            at most, if less of it is better; 0 if there is none.
        reaching: see `largest`.
        margin: with `expected: equal`, the largest difference that counts as equal; with
            `not_smaller`, the largest by which the candidate may be behind.
    """

    measure: Text
    expected: Literal["greater", "smaller", "equal", "not_smaller"]
    baseline: str | None = None
    candidate: str | None = None
    number: float | None = None
    at: dict[str, Annotated[Value, BeforeValidator(named)]] | None = None
    minus: dict[str, Annotated[Value, BeforeValidator(named)]] | None = None
    everywhere: Literal[True] | None = None
    best_by: str | None = None
    chosen_on: Count | None = None
    largest: str | None = None
    reaching: float | None = None
    margin: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Rule:
        places = (self.at, self.everywhere, self.best_by, self.largest)
        if sum(place is not None for place in places) > 1:
            raise ValueError("give one of `at`, `everywhere`, `best_by` and `largest`")
        for key, partner in (("best_by", "chosen_on"), ("largest", "reaching")):
            if (getattr(self, key) is None) is not (getattr(self, partner) is None):
                raise ValueError(f"give both `{key}` and `{partner}`, or neither")
        if self.number is not None and self.baseline is not None:
            raise ValueError("give `number` or `baseline`, not both")
        if self.minus is not None and self.at is None:
            raise ValueError("give `minus` with `at` only")
        if (self.expected in ("equal", "not_smaller")) is (self.margin is None):
            raise ValueError(
                "give `margin` with `expected: equal` or `not_smaller`, and only there"
            )
        return self


class About(Section):
    """A study's claim and protocol.

    Attributes:
        claim: one sentence.
        plainly: the claim in a sentence that a student understands.
        source: who published it, and where.
        published: what was measured there, or that nothing was.
        limits: what the protocol leaves open; if it was changed after its first runs, why, and what
            had come out.
        probes: measures beyond `MEASURES`, by their names in `studies.measures.probes`.
        rules: together they decide the verdict.
        published_values: by variant, then measure, to draw beside ours; with `step`, a curve.
        untrained: the networks are measured as they start, and none is trained.
        course: probes to measure after each epoch of a run, in addition to losses and
            accuracies; by default nothing is followed.
        related: two measures whose rank correlation over seeds is shown for every cell; it does
            not affect the verdict.
    """

    claim: Text
    plainly: Text | None = None
    source: Text
    published: Text
    limits: Text | None = None
    probes: Annotated[tuple[str, ...], BeforeValidator(_listed)]
    rules: Annotated[tuple[Rule, ...], BeforeValidator(_listed), Field(min_length=1)]
    published_values: (
        dict[str, dict[str, Annotated[tuple[float, ...], BeforeValidator(_listed)]]] | None
    ) = None
    untrained: bool = False
    course: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None
    related: Annotated[tuple[str, str], BeforeValidator(_listed)] | None = None

    @model_validator(mode="after")
    def _follows_training(self) -> About:
        if self.untrained and self.course is not None:
            raise ValueError("remove `course`, or `untrained`: without training there is none")
        return self


@dataclass(frozen=True)
class Point:
    """One point of the grid: the value on each axis, and the parameters there."""

    at: Mapping[str, Any]
    params: Params


@dataclass(frozen=True)
class Study:
    """A study, ready to run.

    Attributes:
        name: that of its folder.
        about: its claim and rules.
        axes: the grid, name to values; a name is that of a parameter, as DVC spells it, the first
            if several change together.
        points: every combination of the grid.
        is_quick: whether it runs at a smaller scale, whose verdict is not reliable.
    """

    name: str
    about: About
    axes: Mapping[str, tuple[Any, ...]]
    points: tuple[Point, ...]
    is_quick: bool

    @property
    def params(self) -> Params:
        """The parameters of the first point; all share data, comparison, labels and seeds."""
        return self.points[0].params

    def tested(self) -> list[Mapping[str, Any]]:
        """Returns the points of the grid that the rules test, in the order of the grid.

        A rule without `at` tests all points.
        """
        places = [
            place
            for rule in self.about.rules
            for place in (rule.at, rule.minus)
            if place is not None
        ]
        if any(rule.at is None for rule in self.about.rules):
            return [point.at for point in self.points]
        named_short = [{short(axis): value for axis, value in place.items()} for place in places]
        return [
            point.at
            for point in self.points
            if any(
                all(value == place.get(short(axis), value) for axis, value in point.at.items())
                for place in named_short
            )
        ]

    def trials(self) -> Iterator[tuple[Point, str, int]]:
        """Yields every point, variant and seed, in the order of the grid and of variant names."""
        for point in self.points:
            for name, variant in sorted(point.params.variants.items()):
                for seed in range(variant.training.seeds):
                    yield point, name, seed


def short(axis: str) -> str:
    """Returns the last part of a parameter's name, which is the column and label of its axis."""
    return axis.rpartition(".")[2]
