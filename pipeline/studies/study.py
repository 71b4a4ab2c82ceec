"""A study: a claim, the grid of trainings that puts it to the test, and the rule of its verdict."""

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
# What is known of every run without a probe.
SCORES = (
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss",
    "test_accuracy",
)  # fmt: skip
MEASURES = (*SCORES, "diverged")


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def named(value: Any) -> Any:
    """Returns a value as axes, tables and figures have it: of a list, its values in one word."""
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else value


class Rule(Section):
    """What is set against what, and what the claim expects; fixed before the runs.

    Of every seed and variant one number is taken, and the variants are compared over the seeds.

    Attributes:
        measure: a column of the study's results.
        expected: how the candidate's number compares to the baseline's, if the claim is right.
        baseline: another than the study's.
        candidate: another than the study's.
        at: the grid's point at which `measure` is taken, where the grid has more than one.
        minus: the point at which it is taken off: the number is then a change.
        everywhere: test the rule at each point of the grid; it holds if it holds at every one.
        best_by: take it instead at the point that is best for the variant by this measure, on
            average over `chosen_on` seeds of their own, which are then left out.
        chosen_on: how many seeds, the first of them, choose.
        largest: take instead the largest value of this axis at which `measure` is at least
            `reaching`; 0 where there is none.
        reaching: see `largest`.
        margin: with `expected: equal`, how far apart still counts as equal.
    """

    measure: Text
    expected: Literal["greater", "smaller", "equal"]
    baseline: str | None = None
    candidate: str | None = None
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
        if sum(one is not None for one in places) > 1:
            raise ValueError("give one of `at`, `everywhere`, `best_by` and `largest`")
        for one, other in (
            ("best_by", "chosen_on"), ("largest", "reaching"),
        ):  # fmt: skip
            if (getattr(self, one) is None) is not (getattr(self, other) is None):
                raise ValueError(f"give both `{one}` and `{other}`, or neither")
        if self.minus is not None and self.at is None:
            raise ValueError("give `minus` with `at` only")
        if (self.expected == "equal") is (self.margin is None):
            raise ValueError("give `margin` with `expected: equal`, and only there")
        return self


class About(Section):
    """What a study says of itself.

    Attributes:
        claim: in a sentence.
        source: who published it, and where.
        published: what was measured there, or that nothing was.
        probes: measures beyond `MEASURES`, by their names in `studies.measures.probes`.
        rules: together they decide.
        published_values: by variant, then measure, to be drawn beside ours; with `step`, a curve.
        course: probes that are followed through the course of each run, epoch by epoch, beside
            losses and accuracies; by default nothing is.
        related: two measures whose rank correlation over the seeds is told of every cell; it
            decides nothing.
    """

    claim: Text
    source: Text
    published: Text
    probes: Annotated[tuple[str, ...], BeforeValidator(_listed)]
    rules: Annotated[tuple[Rule, ...], BeforeValidator(_listed), Field(min_length=1)]
    published_values: (
        dict[str, dict[str, Annotated[tuple[float, ...], BeforeValidator(_listed)]]] | None
    ) = None
    course: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None
    related: Annotated[tuple[str, str], BeforeValidator(_listed)] | None = None


@dataclass(frozen=True)
class Point:
    """One point of the grid: the value of each axis, and what params.yaml would be there."""

    at: Mapping[str, Any]
    params: Params


@dataclass(frozen=True)
class Study:
    """A study as it is run.

    Attributes:
        name: of its folder.
        about: claim and rules.
        axes: the grid, name to values; the name is a parameter's, as DVC spells it, the first of
            those that change together.
        points: of the grid, every combination.
        is_quick: whether it runs at a smaller scale, of which no verdict is to be believed.
    """

    name: str
    about: About
    axes: Mapping[str, tuple[Any, ...]]
    points: tuple[Point, ...]
    is_quick: bool

    @property
    def params(self) -> Params:
        """What all points share: data, comparison, the variants' labels, the number of seeds."""
        return self.points[0].params

    def tested(self) -> list[Mapping[str, Any]]:
        """Returns the points of the grid that the rules test, in the order of the grid.

        A rule that chooses its point looks at all of them.
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
        """Yields every point, variant and seed, in the order of the grid and of names."""
        for point in self.points:
            for name, variant in sorted(point.params.variants.items()):
                for seed in range(variant.training.seeds):
                    yield point, name, seed


def short(axis: str) -> str:
    """Returns the column and label of an axis: the last part of the parameter's name."""
    return axis.rpartition(".")[2]
