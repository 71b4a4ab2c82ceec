import base64
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.colors import COLORS
from pipeline.reporting import report_page
from pipeline.reporting.pictures import thumbnail_png

pytestmark = pytest.mark.slow

CSS = Path(report_page.__file__).with_name("templates") / "report.css"
HOSTILE = [
    "BN & dropout",
    "rate < 0.1",
    "a.b['c']",
    "<b>BN</b>",
    "</script><script>alert(1)</script>",
]
VOID = {"meta", "img", "input", "wbr"}


class Page(HTMLParser):
    """A page, parsed as a browser would."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def make(experiment, make_dataset, enclose):
    """Renders the page of two variants, on images of digits or on a dataset of the user's own."""

    def make(*args, kind="grey", classes=tuple("0123"), features=None, most=100, **kwargs):
        params, cells, contrast = experiment(*args, **kwargs)
        cells = {name: replace(cell, code_sha256=f"c0de of {name}") for name, cell in cells.items()}
        enclosed = enclose(params, cells, make_dataset(kind, classes, features), most=most)
        return report_page.html(params, cells, contrast, enclosed)

    return make


@pytest.fixture(scope="module")
def page(make):
    return make(published=("batch", "none"))


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ("candidate_better", "With BN is better than Without BN"),
        ("not_settled", "Not settled whether With BN or Without BN is better"),
    ],
)
def test_the_verdict_heads_the_page_with_its_interval(make, verdict, sentence):
    page = make(verdict=verdict, ci_low=0.012, ci_high=0.03456)
    taken = Page(page)
    assert taken.text["title"] == taken.text["h1"] == sentence
    lead = re.search(r'<p class="lead">(.*?)</p>', page).group(1)
    assert "<strong>+2.50 percentage points</strong>" in lead
    assert "(95\N{NO-BREAK SPACE}% interval: 1.20 to 3.46)" in lead


def test_the_page_follows_the_measure(make):
    page = make(measure="loss")
    lead = re.search(r'<p class="lead">(.*?)</p>', page).group(1)
    assert "<strong>-0.0250 nats</strong>" in lead
    assert "Smaller is better, and it is ahead in 8 of 8 pairs" in lead
    assert "<caption>Test loss, and the difference in nats</caption>" in page
    # The first pair: 1 - 0.98 and 1 - 0.95.
    assert '<th scope="row">0</th><td>0.0200</td><td>0.0500</td><td>-0.0300</td>' in page
    heads = re.findall(r'<th scope="row">([^<]*)</th>', page)
    assert {"Loss (decides)", "Accuracy, %", "Macro F1, %", "ROC AUC, %"} <= set(heads)


def test_how_sure_it_is_begins_with_what_the_rule_looks_at(page):
    sure = page[page.index('id="sure"') : page.index('id="curves"')]
    rows = re.findall(r'<th scope="row">(.*?)<span class="meaning">.*?</th><td>(.*?)</td>', sure)
    assert [value for _, value in rows][1] == "8 of 8"
    # Of 2^8 equally likely patterns of signs two are as one-sided as all alike.
    assert [value for _, value in rows][2] == "0.0078"
    assert sure.index("The rule, fixed beforehand") < sure.index("<details>")


def test_the_paired_differences_are_the_first_picture(page):
    charts = re.findall(r'class="chart[^>]* id="([^"]+)"', page)
    assert charts == [
        "differences-chart", "pairs-chart", "train-loss-chart", "validation-loss-chart",
        "train-accuracy-chart", "validation-accuracy-chart",
    ]  # fmt: skip


def test_every_chart_has_a_specification_and_is_described(page):
    taken = Page(page)
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', page, re.DOTALL).group(1))
    drawn = [element for element in taken.all("div") if "chart" in element.get("class", "").split()]
    assert {element["id"] for element in drawn} == specs.keys()
    assert all(element["role"] == "img" and element["aria-label"] for element in drawn)
    assert any("Means after the last one: With BN" in element["aria-label"] for element in drawn)


def test_elements_are_closed_and_ids_are_unique(page):
    taken = Page(page)
    assert not taken.open
    ids = [attributes["id"] for _, attributes in taken.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [element["href"] for element in taken.all("a")]
    assert {target.removeprefix("#") for target in targets} <= set(ids)


def test_nothing_is_loaded_from_elsewhere(page):
    loading = {"src", "href", "srcset", "action", "data", "poster", "background", "formaction"}
    for tag, attributes in Page(page).elements:
        for name in loading & attributes.keys():
            assert attributes[name].startswith(("#", "data:image/png;base64,")), (tag, name)
    policy = Page(page).all("meta")[2]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    assert not re.search(r"url\(|@import", style)


def test_embedded_programs_come_with_their_licences(page):
    for text in (
        "Interactive Data Lab",
        "Redistributions in binary form must reproduce the above copyright notice",
        "Mike Bostock",
        "Permission to use, copy, modify, and/or distribute this software",
    ):
        assert text in page


def test_the_page_is_the_same_bytes_each_time(make, page):
    assert make(published=("batch", "none")) == page


def test_pictures_for_readers_without_scripts_are_embedded(page):
    still = re.findall(r'<noscript><img [^>]*src="data:image/png;base64,([^"]+)"', page)
    assert [base64.b64decode(picture) for picture in still] == [b"pairs", b"curves"]


def test_all_pictures_and_controls_have_a_text(page):
    taken = Page(page)
    assert all(element["alt"] for element in taken.all("img"))
    assert all(element["scope"] for element in taken.all("th"))
    # Each control is inside its label.
    for control in re.findall(r"(?s)<(?:select|input).*?>", page):
        before = page[: page.index(control)]
        assert before.rfind("<label>") > before.rfind("</label>")


def test_numbers_of_the_charts_are_in_tables(page):
    # The first pair: 0.98 and 0.95.
    assert '<tr><th scope="row">0</th><td>98.00</td><td>95.00</td><td>+3.00</td></tr>' in page
    means = re.search(r"Means of the runs after each epoch.*?<tbody>(.*?)</tbody>", page, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", means.group(1))
    assert [row.count("<td>") for row in rows] == [8, 8, 8]


def test_confusions_are_shares_of_each_class(page):
    # On average over eight runs, 97 of 100 images are right, 25 per class: the last are wrong.
    cells = re.findall(r'<td class="right">([\d.]+)</td>', page)
    assert len(cells) == 8
    assert np.mean([float(cell) for cell in cells[:4]]) == pytest.approx(97, abs=0.1)


def test_each_digit_says_what_it_is_and_was_read_as(make, make_dataset):
    page = make(most=3)
    digits = re.findall(r'<li data-label="(\d)" data-best="(\d?)" data-readings="([^"]+)"', page)
    assert len(digits) == 3
    # A wrong run takes a digit for the next one; both variants have such runs.
    for label, _, readings in digits:
        read = {tuple(reading.split(":")) for reading in readings.split()}
        assert ("1", str((int(label) + 1) % 4)) in read
    assert "7 test digits were misread by at least one run. Here are the 3 that" in page
    picture = thumbnail_png(make_dataset("grey").test.inputs[99], is_ink=False)
    assert base64.b64encode(picture).decode() in page


def test_there_is_nothing_to_browse_where_every_run_is_right(make):
    page = make((1.0,) * 8, (1.0,) * 8)
    assert "No run misread a digit." in page
    assert 'id="asked"' not in page


def test_settings_that_differ_are_apart_from_shared_ones(page):
    differing, shared = page.split("What they share</caption>")
    assert "<code>momentum</code></th><td>0.99</td><td>–</td>" in differing  # noqa: RUF001
    assert "<code>network.<wbr>hidden_dims</code></th><td>[4]</td>" in shared


def test_of_own_data_the_settings_are_those_of_the_file(make):
    _, shared = make(dataset="file", path="data/my.csv").split("What they share</caption>")
    values = dict(re.findall(r"<code>data.<wbr>(\w+)</code></th><td>([^<,]*)", shared))
    assert values == {
        "dataset": "file", "path": "data/my.csv", "validation_size": "300",
    }  # fmt: skip


def test_each_hash_is_shown_once_with_what_it_is_of(page):
    assert page.count("<code>da7a</code>") == 1
    assert '<th scope="row">Prepared data</th>' in page
    assert '<th scope="row">Training code of Without BN</th>' in page


@pytest.mark.parametrize("label", HOSTILE)
def test_labels_are_shown_as_they_are(make, label):
    page = make(label=label, verdict="candidate_better")
    taken = Page(page)
    assert not taken.open
    assert taken.text["h1"] == f"{label} is better than Without BN"
    assert [element.get("type") for element in taken.all("script")] == [
        "application/json",
        None,
        None,
    ]
    assert "b" not in {tag for tag, _ in taken.elements}
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', page, re.DOTALL).group(1))
    rows = specs["train-loss-chart"]["data"]["values"]
    assert {row["label"] for row in rows} == {label, "Without BN"}
    captions = re.findall(r"<caption>(.*?)</caption>", page)
    assert label in map(html.unescape, captions)


def test_diverged_runs_are_counted(make):
    baseline = (0.95, 0.94, 0.95, 0.96, 0.94, 0.95, 0.1, 0.1)
    page = make(baseline=baseline, diverged=(6, 7))
    assert "<p>Runs that diverged: 2 of 8 of Without BN. " in page
    assert '<th scope="row">Diverged</th><td>0</td><td>2</td>' in page


@pytest.mark.parametrize("seeds", [(0, 1), range(8)], ids=["some", "all"])
def test_the_page_is_valid_whatever_diverged(make, seeds):
    taken = Page(make(baseline=(0.1,) * 8, diverged=tuple(seeds)))
    assert not taken.open
    assert len([element for element in taken.all("div") if element.get("role") == "img"]) == 6


def test_one_pair_says_little(make):
    page = make((0.97,), (0.95,))
    assert "A single pair says little: set <code>training.seeds</code> to at least 6." in page
    assert "nan" not in page.lower()
    assert ">None<" not in page


OWN = {"dataset": "file", "path": "data/<i>my fruit.npz"}


@pytest.mark.parametrize(
    ("kind", "example"), [("grey", "image"), ("colour", "image"), ("rows", "row")]
)
def test_only_digits_are_called_so(make, kind, example):
    page = make(kind=kind, **OWN)
    text = page.partition("</style>")[2].partition('<script type="application/json"')[0]
    assert "digit" not in text.lower()
    assert f'<h3 id="misread">Misread {example}s</h3>' in text
    assert f'data-example="{example}"' in text
    mistakes = text.partition('<h2 id="mistakes">')[2].partition('<h2 id="settings">')[0]
    assert ("image" in mistakes) == (kind != "rows")


def test_a_row_shows_its_features_farthest_from_the_mean(make, make_dataset):
    page = make(kind="rows", **OWN)
    dataset = make_dataset("rows")
    rows = dataset.train.inputs.astype(float)
    distances = stats.zscore(rows)
    for place, features in re.findall(r"<span>row (\d+)</span>(.*?)<strong>", page, re.DOTALL):
        told = re.findall(r"feature (\d+) <span>(\S+) \((\S+) sd\)</span>", features)
        farthest = np.argsort(-abs(distances[int(place)]))[:3]
        assert [int(one) for one, _, _ in told] == farthest.tolist()
        for one, value, distance in told:
            assert float(value) == pytest.approx(rows[int(place), int(one)], rel=1e-3, abs=1e-3)
            assert float(distance) == pytest.approx(distances[int(place), int(one)], abs=0.06)
    assert "<img" not in page.partition("Misread rows")[2]


@pytest.mark.parametrize("name", [*HOSTILE, "'; alert(1) //", "a" * 300])
@pytest.mark.parametrize("kind", ["colour", "rows"])
def test_names_of_classes_and_features_are_shown_as_they_are(make, kind, name):
    features = (name, *(f"f{i}" for i in range(29))) if kind == "rows" else None
    page = make(kind=kind, classes=(name, "b", "c", "d"), features=features, **OWN)
    taken = Page(page)
    assert not taken.open
    assert "i" not in {tag for tag, _ in taken.elements}
    assert len(taken.all("script")) == 3
    options = [html.unescape(text) for text in re.findall(r"<option.*?>(.*?)</option>", page)]
    assert options.count(name) == 2
    assert name in {element.get("title") for element in taken.all("span")}
    kicker = re.search(r'<p class="kicker">bnlab: (.*?), ', page).group(1)
    assert html.unescape(kicker) == "<i>my fruit"


def test_long_names_are_cut_at_the_heads_of_a_matrix_and_stay_apart(make):
    classes = [f"the species of the number {place}, as we call it" for place in range(4)]
    page = make(kind="rows", classes=classes, **OWN)
    heads = re.findall(r'<th scope="row"><span title="(.*?)">(.*?)</span></th>', page)
    assert [title for title, _ in heads] == 2 * classes
    assert len({short for _, short in heads}) == 4
    assert max(len(short) for _, short in heads) <= 22


def test_of_many_classes_the_most_confused_are_shown_and_all_can_be_chosen(make):
    classes = [f"class {place}" for place in range(100)]
    page = make(kind="rows", classes=classes, **OWN)
    assert "Of 100 classes these are the 20 with the most frequent mistakes." in page
    shown = re.findall(r'<th scope="row"><span title="class (\d+)"', page)
    assert len(shown) == 40
    # All mistakes are among the first four classes.
    assert shown[:4] == ["0", "1", "2", "3"]
    assert page.count('<option value="99">class 99</option>') == 2


def luminance(color):
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(color, other):
    """Returns the contrast ratio of two colours, as WCAG 2 defines it."""
    low, high = sorted([luminance(color), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def theme(name):
    """Returns the colours of the light or the dark page, by name."""
    texts = dict(
        zip(
            ("light", "dark"),
            re.findall(r":root \{(.*?)\}", CSS.read_text(), re.DOTALL),
            strict=True,
        )
    )
    return dict(re.findall(r"--(\w+): (#\w{6});", texts[name]))


THEMES = pytest.mark.parametrize("colors", [theme("light"), theme("dark")], ids=["light", "dark"])


def test_a_dark_page_has_all_colours_of_its_own():
    light, dark = theme("light"), theme("dark")
    assert light.keys() == dark.keys()
    assert not [name for name in light if light[name] == dark[name]]


def test_contrast_follows_the_guidelines():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # This is known as the lightest grey that passes on white.
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@THEMES
@pytest.mark.parametrize("text", ["text", "quiet", "link"])
@pytest.mark.parametrize("ground", ["background", "raised"])
def test_text_can_be_read(colors, text, ground):
    assert contrast(colors[text], colors[ground]) >= 4.5


@THEMES
def test_text_can_be_read_on_the_worst_mistake(colors):
    assert contrast(colors["text"], colors["mistake"]) >= 4.5


@THEMES
def test_edges_of_controls_can_be_seen(colors):
    assert contrast(colors["control"], colors["raised"]) >= 3


@pytest.mark.parametrize("color", COLORS)
def test_variants_can_be_seen_on_a_dark_page(color):
    assert contrast(report_page.ON_DARK.get(color, color), theme("dark")["background"]) >= 3


def test_how_to_add_pairs_is_set_as_code(make):
    page = make(candidate=(0.9, 0.92, 0.93, 0.9), baseline=(0.89, 0.9, 0.91, 0.88))
    assert "<code>dvc exp run -S training.seeds=6</code> trains only those that are missing" in page
    assert "`" not in re.search(r"<p>If the pairs to come.*?</p>", page).group()
