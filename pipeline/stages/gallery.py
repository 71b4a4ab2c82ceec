"""Writes the page of all studies."""

from pipeline.adapters.files import read_json, write_text
from pipeline.adapters.study_file import STUDIES
from pipeline.core import study_report


def run() -> None:
    """Writes `studies/README.md` from the verdicts that are there, in the order of their names."""
    verdicts = [read_json(path) for path in sorted(STUDIES.glob("*/verdict.json"))]
    write_text(STUDIES / "README.md", study_report.gallery(verdicts))
