"""What came out of the drills, as a page."""

import re
from collections import Counter
from itertools import groupby

from pipeline.reporting.pages import Heading, Paragraph, Table, markdown

_HEAD = (
    "Each line is a promise and the drill that puts it to the test, with the figures that came out "
    "when `make drills` last ran it; `make drills ONLY=tests/faults/test_dvc.py` runs those of one "
    "file, and leaves the other sections as they are. A drill makes the fault for real: a server "
    "that misbehaves, a signal, a full file system, a lock. It lives in `tests/faults/`, under the "
    "name given here; the short ones run in `make test ALL=1` as well."
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


def page(drills, before="", areas=()):
    """Returns the page as Markdown, a section for each area.

    Of the page `before`, the sections of those `areas` stay that no drill is of.
    """
    ordered = sorted(drills, key=lambda drill: drill.area)
    _, *parts = re.split(r"(?m)^## (.+)\n", before)
    kept = dict(zip(parts[::2], parts[1::2], strict=True))
    sections = {area: f"## {area}\n{kept[area].rstrip()}\n" for area in areas if area in kept}
    for (area, about), group in groupby(ordered, lambda drill: (drill.area, drill.about)):
        rows = [[one.promise, one.result, one.figures, f"`{one.name}`"] for one in group]
        sections[area] = markdown(
            [
                Heading(area),
                *([Paragraph(" ".join(about.split()))] if about.strip() else []),
                Table(["Promise", "", "Figures", "Drill"], rows),
            ]
        )
    head = markdown([Paragraph(_HEAD)])
    return "\n".join(["# Reliability\n", head, *(sections[area] for area in sorted(sections))])
