"""When two samples of runs are taken for the same experiment, and the page that tells of it."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.reporting.pages import Paragraph, Table, markdown

CONFIDENCE = 0.999
# Differences so small, in points, that no claim would change by them; of losses, in hundredths.
MARGINS = {
    "test_accuracy": 0.3, "dead_units": 3.0, "train_loss": 0.3, "gradient_growth": 1.0,
    "stable_rank": 5.0, "ablation_area": 1.0,
}  # fmt: skip
RULE = (
    "If both do the same experiment, their seeds are draws from one distribution: the difference "
    f"of the means then stays, in {CONFIDENCE:.1%} of cases, within Student's interval around 0, "
    "with the spread of both samples pooled. They agree if the difference is no larger than that "
    "interval and a margin, by which no claim would change: "
    + ", ".join(f"{margin:g} of {m.replace('_', ' ')}" for m, margin in MARGINS.items())
    + ". What that allows in all is told with each line."
)
_HEAD = (
    "Each line trains a cell of a study, or an example, once more, by an implementation that "
    "shares no code with the project. For studies it is `tests/independent/mlp.py`: NumPy alone, "
    "backward passes by hand. For the example with convolutions it is "
    "`tests/independent/convolutions.py`: Keras' layers and a loop. Weights and batches are drawn "
    "by another generator. Means ± standard deviations over seeds, in % and points; losses, "
    "gradient growth and stable rank in hundredths. Written by `make independent`."
)


@dataclass(frozen=True)
class Sample:
    """What the runs of one side gave, in points; of what is no share, in hundredths."""

    runs: int
    mean: float
    sd: float

    @classmethod
    def of(cls, shares):
        points = 100 * np.asarray(shares, dtype=float)
        return cls(len(points), float(points.mean()), float(points.std(ddof=1)))

    def __str__(self):
        return f"{self.mean:.2f} ± {self.sd:.2f}"


@dataclass(frozen=True)
class Comparison:
    """One measure of one cell, as the project has it and as the other implementation has it."""

    study: str
    cell: str
    measure: str
    project: Sample
    independent: Sample

    @property
    def difference(self):
        return self.project.mean - self.independent.mean

    @property
    def allowed(self):
        """How large a difference may be."""
        one, other = self.project, self.independent
        freedom = one.runs + other.runs - 2
        squares = (one.runs - 1) * one.sd**2 + (other.runs - 1) * other.sd**2
        error = np.sqrt(squares / freedom * (1 / one.runs + 1 / other.runs))
        return MARGINS[self.measure] + float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * error)

    @property
    def agrees(self):
        # A mean that is not a number agrees with nothing.
        return bool(abs(self.difference) <= self.allowed)

    def __str__(self):
        return (
            f"{self.study}, {self.cell}, {self.measure}: {self.project} against {self.independent},"
            f" difference {self.difference:+.2f}, allowed {self.allowed:.2f}"
        )


def page(comparisons, not_tried):
    """Returns the page as Markdown; `not_tried` are reasons."""
    header = ["Study", "Cell", "Measure", "Seeds", "Project", "Independent"]
    header += ["Difference", "Allowed", "Agrees"]
    rows = [
        [
            one.study,
            one.cell,
            one.measure.replace("_", " "),
            f"{one.project.runs}, {one.independent.runs}",
            str(one.project),
            str(one.independent),
            f"{one.difference:+.2f}",
            f"{one.allowed:.2f}",
            "yes" if one.agrees else "NO",
        ]
        for one in comparisons
    ]
    missing = [Paragraph(f"Not tried: {reason}.") for reason in sorted(set(not_tried))]
    blocks = [Paragraph(_HEAD), Paragraph(RULE), Table(header, rows), *missing]
    return f"# Held against an independent implementation\n\n{markdown(blocks)}"
