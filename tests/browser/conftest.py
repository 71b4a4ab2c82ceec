"""A page as Chromium has it: opened from disk, with no network to reach."""

import json
import re
import shutil

import pytest

from pipeline.examples.dataset import Examples
from pipeline.reporting.drawing import program
from pipeline.reporting.misread import misread_digits
from pipeline.reporting.pictures import ink_png
from pipeline.reporting.report_page import Enclosed, html

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
def write_page(experiment, true_labels, tmp_path_factory):
    """Writes the page of two variants into a file of its own."""
    vega = program()

    def write(javascript=vega, **kwargs):
        params, cells, contrast = experiment(**kwargs)
        images = true_labels[:, None, None].repeat(8, 1).repeat(8, 2) * 60
        misread = misread_digits(Examples(images, true_labels), list(cells.values()), 100)
        enclosed = Enclosed(
            labels=true_labels,
            misread=misread,
            thumbnails=[ink_png(digit.image) for digit in misread.digits],
            figures=dict.fromkeys(("paired_differences", "curves"), ink_png(images[1])),
            program=javascript,
        )
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
