"""Whether docs/first-hour.md shows what is there now; `make first-hour` makes it anew."""

import re
from pathlib import Path

from pipeline.tracking.experiment_pages import CURVES, TABLE, view_path

PAGE = Path("docs/first-hour.md")


def test_its_answer_is_that_of_the_report():
    report = Path("reports/report.md").read_text(encoding="utf-8")
    title, _, answer = report.replace("**", "").splitlines()[:3]

    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert {title.removeprefix("# "), answer} <= set(page)


def test_its_addresses_are_those_of_the_views():
    page = PAGE.read_text(encoding="utf-8")
    for view in (TABLE, CURVES):
        assert f"http://127.0.0.1:5000/{view_path('1', view)}\n" in page


def test_every_picture_is_shown_and_there():
    shown = re.findall(r"\]\((first-hour/[^)]+)\)", PAGE.read_text(encoding="utf-8"))
    there = [path.relative_to("docs").as_posix() for path in Path("docs/first-hour").iterdir()]
    assert sorted(shown) == sorted(there)
