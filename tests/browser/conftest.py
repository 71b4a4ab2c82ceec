"""A page as Chromium has it: opened from disk, with no network to reach."""

import json
import re
import shutil

import pytest

from pipeline.reporting.drawing import program
from pipeline.reporting.pictures import thumbnail_png
from pipeline.reporting.report_page import html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# The first keeps all names from being resolved, so that nothing outside can be reached.
_OPTIONS = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking", "--no-sandbox", "--disable-gpu",
)  # fmt: skip


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(_OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def write_page(experiment, make_dataset, enclose, tmp_path_factory):
    """Writes the page of two variants into a file of its own."""
    vega = program()

    def write(javascript=vega, kind="grey", classes=tuple("0123"), **kwargs):
        params, cells, contrast = experiment(**kwargs)
        dataset = make_dataset(kind, classes)
        still = thumbnail_png(make_dataset("grey").test.inputs[1], is_ink=True)
        figures = dict.fromkeys(("paired_differences", "curves"), still)
        enclosed = enclose(params, cells, dataset, program=javascript, figures=figures)
        path = tmp_path_factory.mktemp("page") / "report.html"
        path.write_text(html(params, cells, contrast, enclosed), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def path(write_page):
    return write_page()


@pytest.fixture(scope="session")
def specs(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="specs">(.*?)</script>', text, re.DOTALL).group(1))


class Visit:
    """A page that is open, and all that was asked of the network or complained of."""

    def __init__(self, chromium, path, *, is_drawn=True, expected=(), **options):
        self.requests, self.complaints, self.expected = [], [], list(expected)
        self.page = chromium.new_page(**options)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.goto(path.as_uri())
        if is_drawn:
            self.page.wait_for_selector("html[data-drawn='6']")


@pytest.fixture
def visit(chromium, path):
    """Opens the page, or another; in the end nobody may have complained."""
    visits = []

    def visit(other=path, **options):
        visits.append(Visit(chromium, other, **options))
        return visits[-1].page

    yield visit
    for one in visits:
        one.page.close()
        assert one.complaints == one.expected
        inside = [url for url in one.requests if url.startswith("data:")]
        assert len(one.requests) - len(inside) == 1
