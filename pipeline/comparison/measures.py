"""The scores on the test set that can decide a comparison, and how people read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.comparison.words import ABSENT, interval, number

if TYPE_CHECKING:
    from pipeline.comparison.statistics import Interval, PairedComparison, Summary


@dataclass(frozen=True)
class Measure:
    """A score on the test set.

    Attributes:
        name: in params.yaml, and of its column in `test.csv`.
        words: its name in a sentence.
        smaller_is_better: whether less of it is better.
        is_share: whether it is between 0 and 1, and shown in per cent; else it is in nats.
    """

    name: str
    words: str
    smaller_is_better: bool = False
    is_share: bool = True

    @property
    def scale(self) -> int:
        """What a value is multiplied by to be shown."""
        return 100 if self.is_share else 1

    @property
    def decimals(self) -> int:
        """With how many decimals it is shown."""
        return 2 if self.is_share else 4

    @property
    def heading(self) -> str:
        """Its name above a column of values."""
        return f"{self.words}, %" if self.is_share else self.words

    @property
    def unit(self) -> str:
        """The unit of differences."""
        return "percentage points" if self.is_share else "nats"

    def possible(self, of: Summary) -> Summary:
        """Returns a summary whose interval has no values that the measure cannot have."""
        if of.ci_low is None or of.ci_high is None:
            return of
        high = min(1.0, of.ci_high) if self.is_share else of.ci_high
        return replace(of, ci_low=max(0.0, of.ci_low), ci_high=high)

    def value(self, value: float | None) -> str:
        """Returns a value as shown, without `%`; None as a dash."""
        return ABSENT if value is None else number(self.scale * value, self.decimals)

    def difference(self, value: float | None) -> str:
        """Returns a difference as shown: with its sign, without its unit."""
        shown = self.value(value)
        return f"+{shown}" if value is not None and not shown.startswith("-") else shown

    def by(self, value: float | None) -> str:
        """Returns a difference with its sign and its unit."""
        return "no finite number" if value is None else f"{self.difference(value)} {self.unit}"

    def interval(self, of: Summary | PairedComparison | Interval | None) -> str:
        """Returns both ends of an interval of values or differences, as shown."""
        return interval(of, self.scale, self.decimals)


# In the order in which tables list them.
MEASURES = {
    measure.name: measure
    for measure in (
        Measure("accuracy", "accuracy"),
        Measure("balanced_accuracy", "balanced accuracy"),
        Measure("macro_f1", "macro F1"),
        Measure("roc_auc", "ROC AUC"),
        Measure("loss", "loss", smaller_is_better=True, is_share=False),
        Measure("expected_calibration_error", "calibration error", smaller_is_better=True),
    )
}
