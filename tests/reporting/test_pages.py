import pytest
from markdown_it import MarkdownIt

from pipeline.reporting import pages
from pipeline.reporting.pages import Heading, Paragraph, Picture, Table

PAGE = [
    Heading("Seven"),
    Paragraph("A sentence. Another."),
    Table(["", "a", "b"], [["momentum", "0.9", ""], ["x|y", "1", "22"]]),
    Picture("What it shows", "some folder/a.png"),
]


def test_text_is_aligned():
    assert pages.text(PAGE) == (
        "Seven\n=====\n\n"
        "A sentence. Another.\n\n"
        "          a    b\nmomentum  0.9\nx|y       1    22\n\n"
        "Figure: some folder/a.png\n"
    )


def test_markdown_escapes_cells_and_paths():
    rendered = pages.markdown(PAGE)

    page = MarkdownIt("commonmark").enable("table").render(rendered)
    assert "<h2>Seven</h2>" in page
    assert page.count("<tr>") == 3
    assert "<td>x|y</td>" in page
    assert '<img src="some%20folder/a.png" alt="What it shows"' in page


def test_markdown_shows_what_looks_like_html():
    page = [Heading("List<int>"), Paragraph("<unk>"), Table(["<b>"], [["</td>"]])]

    shown = MarkdownIt("commonmark").enable("table").render(pages.markdown(page))
    for text in ("List&lt;int&gt;", "&lt;unk&gt;", "&lt;b&gt;", "&lt;/td&gt;"):
        assert text in shown


@pytest.mark.parametrize("word", ["long ", "endless"])
def test_a_wide_table_wraps_its_widest_columns(word):
    rendered = pages.text([Table(["key", "a", "b"], [["training.epochs", word * 30, word * 20]])])

    assert max(map(len, rendered.splitlines())) <= pages.WIDTH
    assert rendered.splitlines()[1].startswith("training.epochs  ")
    assert rendered.replace(" ", "").replace("\n", "").count(word.strip()[:3]) >= 45


def test_wide_characters_are_not_wrapped_for_want_of_room():
    rendered = pages.text([Heading("方法"), Table(["模型"], [["乙方法"]])])
    assert rendered == "方法\n====\n\n模型\n乙方法\n"


def test_long_paragraphs_and_headings_are_wrapped():
    rendered = pages.text([Heading("word " * 40), Paragraph("word " * 40)])
    assert max(map(len, rendered.splitlines())) <= pages.WIDTH


def test_code_is_shown_as_it_is():
    # Within backquotes a backslash would be shown (CommonMark, section 6.1).
    shown = pages.markdown([Paragraph("<a> and `studies/<name>/x` and <b>, one ` <c>")])
    assert shown == "\\<a> and `studies/<name>/x` and \\<b>, one ` \\<c>\n"
