"""The tutorial as it is committed: the notebook, and the page that is made of it.

That it runs, on other data too, is among the tests of the whole pipeline.
"""

import json
import re
import tempfile
from pathlib import Path

import nbformat
import pytest

from notebooks import export

# Of these cells one wants only what they define.
SILENT = {"project", "tools"}
# Neither in code nor in the target of a link: figures there are commands and names.
CODE = re.compile(r"^```.*?^```$|^ {4}.*?$|`[^`]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# The normalised mean and variance, the threshold of a ReLU; years; the marks of a list.
KNOWN = re.compile(r"\b[01]\b(?![.,]\d)|\b20[12]\d\b|^\d\. ", re.MULTILINE)


@pytest.fixture
def notebook():
    return nbformat.read(export.NOTEBOOK, as_version=4)


def cells(notebook, kind):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def test_the_page_is_what_the_notebook_gives(notebook):
    text, pictures = export.page(notebook)

    assert export.PAGE.read_text(encoding="utf-8") == text
    folder = export.PAGE.with_suffix("")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == pictures


def test_all_cells_ran_once_and_in_order(notebook):
    code = cells(notebook, "code")

    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert {cell.id for cell in code if not cell.outputs} == SILENT


def test_outputs_are_results_without_faults_or_warnings(notebook):
    for cell in cells(notebook, "code"):
        kinds = {output.output_type for output in cell.outputs}
        assert kinds <= {"execute_result"}, cell.id
        # Whoever cannot see them is told what the figures show.
        for output in cell.outputs:
            if "image/png" in output.data:
                assert len(output.metadata["image/png"]["alt"]) > 30


def test_the_notebook_tells_nothing_of_machine_or_day(notebook):
    text = export.NOTEBOOK.read_text(encoding="utf-8")

    for place in {Path.cwd(), Path.home(), Path(tempfile.gettempdir())} - {Path("/")}:
        assert f"{place}/" not in text
    assert not re.search(r"\d\d:\d\d:\d\d", text)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert {key for cell in notebook.cells for key in cell.metadata} == {"tags"}


def test_the_text_holds_no_number_that_was_measured(notebook):
    for cell in cells(notebook, "markdown"):
        prose = KNOWN.sub("", CODE.sub("", cell.source))
        assert not re.findall(r".*\d.*", prose), cell.id


@pytest.mark.parametrize(
    ("prose", "measured"),
    [
        ("a mean of 0 and a variance of 1.", False),
        ("`momentum=0.9`, in 2015\n\n1. one\n2. two", False),
        ("[the report](../reports/2.md)", False),
        ("it gains 1.55 points", True),
        ("97% of them", True),
        ("10 pairs", True),
    ],
)
def test_what_counts_as_a_measured_number(prose, measured):
    assert bool(re.search(r"\d", KNOWN.sub("", CODE.sub("", prose)))) is measured


def test_links_lead_somewhere_from_notebook_and_page():
    text = FENCED.sub("", export.PAGE.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\((?!https:)([^)]+)\)", text)

    assert len(targets) > 20
    for target in targets:
        assert (export.PAGE.parent / target).exists(), target
        if target.startswith("../"):
            assert (export.NOTEBOOK.parent / target).exists(), target


def test_pictures_are_small():
    for path in export.PAGE.with_suffix("").iterdir():
        assert path.stat().st_size < 80_000


def test_the_page_has_the_verdict_of_every_study():
    page = export.PAGE.read_text(encoding="utf-8")
    for path in Path().glob("studies/*/verdict.json"):
        (told,) = re.findall(rf"\(\.\./studies/{path.parent.name}/README\.md\)\s*\|(.*)\|", page)
        assert told.strip() == json.loads(path.read_text(encoding="utf-8"))["verdict"]
