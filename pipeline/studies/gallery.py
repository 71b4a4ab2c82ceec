"""Writes the page that lists all studies."""

from pipeline.files import read_json, write_text
from pipeline.studies import report
from pipeline.studies.study import STUDIES


def run() -> None:
    """Writes `studies/README.md` from all `verdict.json` files, in the order of study names."""
    verdicts = [read_json(path) for path in sorted(STUDIES.glob("*/verdict.json"))]
    write_text(STUDIES / "README.md", report.gallery(verdicts))
