from html.parser import HTMLParser

from pipeline.reporting.blocks_page import html
from pipeline.reporting.pages import Heading, Paragraph, Picture, Table

PAGE = [
    Heading("Is <b>A</b> better?"),
    Paragraph("It is & it is not."),
    Table(["name", "mean"], [["<script>alert(1)</script>", "0.5"]]),
    Picture('A "figure"', "comparisons/a.png"),
]


class Parsed(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data.strip())


def parsed():
    return Parsed(html(PAGE, {"comparisons/a.png": b"\x89PNG"}, "Made from a store."))


def test_text_of_a_store_is_shown_as_it_is_and_never_run():
    page = parsed()
    for text in ("Is <b>A</b> better?", "It is & it is not.", "<script>alert(1)</script>", "0.5"):
        assert text in page.texts
    assert "script" not in [tag for tag, _ in page.tags]
    assert page.texts.count("Is <b>A</b> better?") == 2  # The title, and the heading.


def test_pictures_are_in_the_page_which_loads_nothing():
    page = parsed()
    (picture,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert picture == {"src": "data:image/png;base64,iVBORw==", "alt": 'A "figure"'}
    assert not [tag for tag, attributes in page.tags if tag == "link" or "href" in attributes]
    assert "Made from a store." in page.texts
