"""What came out of the drills, as a page."""

from collections import Counter
from itertools import groupby

from pipeline.reporting.pages import Heading, Paragraph, Table, markdown

_HEAD = (
    "Each line is a promise and the drill that puts it to the test, with the figures that came out "
    "when `make drills` last wrote this page. A drill makes the fault for real: a server that "
    "misbehaves, a signal, a full file system, a lock. It lives in `tests/faults/`, under the name "
    "given here; the short ones run in `make test ALL=1` as well."
)


class Drill:
    """One test function, all of its cases."""

    def __init__(self, area, about, name, promise):
        self.area, self.about, self.name, self.promise = area, about, name, promise
        self.outcomes, self.counts, self.peaks = Counter(), Counter(), {}
        self.seconds, self.reasons = 0.0, set()

    def add(self, outcome, seconds, reason, properties):
        """Takes what a test's report says of one case."""
        self.outcomes[outcome] += 1
        self.seconds += seconds
        if outcome == "skipped":
            self.reasons.add(str(reason[-1]).removeprefix("Skipped: "))
        for kind, figures in properties:
            if kind == "counts":
                self.counts.update(figures)
            elif kind == "peaks":
                for name, value in figures.items():
                    self.peaks[name] = max(value, self.peaks.get(name, value))

    @property
    def result(self):
        """Whether the promise held."""
        if self.outcomes.keys() - {"passed", "skipped"}:
            return "BROKEN"
        if self.reasons:
            return "not tried here: " + "; ".join(sorted(self.reasons))
        return "kept" if self.outcomes.total() == 1 else f"kept, {self.outcomes.total()} cases"

    @property
    def figures(self):
        """What was counted, and how long it took."""
        peaks = {name: f"{value:,.4g}" for name, value in self.peaks.items()}
        told = {name: f"{value:,}" for name, value in self.counts.items()} | peaks
        told["s"] = f"{self.seconds:.1f}"
        return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in told.items())


def page(drills):
    """Returns the page as Markdown; `drills` come in the order of their areas."""
    ordered = sorted(drills, key=lambda drill: drill.area)
    blocks = [Paragraph(_HEAD)]
    for (area, about), group in groupby(ordered, lambda drill: (drill.area, drill.about)):
        rows = [[one.promise, one.result, one.figures, f"`{one.name}`"] for one in group]
        blocks += [
            Heading(area),
            *([Paragraph(" ".join(about.split()))] if about.strip() else []),
            Table(["Promise", "", "Figures", "Drill"], rows),
        ]
    return f"# Reliability\n\n{markdown(blocks)}"
