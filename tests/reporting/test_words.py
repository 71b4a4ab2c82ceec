import markdown_it
import pytest

from pipeline.params import Data
from pipeline.reporting.words import escaped, short_names, shortened, words_for


@pytest.mark.parametrize(
    ("dataset", "has_images", "told"),
    [
        ("mnist", True, ("digit", "image", "digit")),
        ("digits", True, ("digit", "image", "digit")),
        ("fashion_mnist", True, ("image", "image", "class")),
        ("file", True, ("image", "image", "class")),
        ("file", False, ("row", "row", "class")),
    ],
)
def test_examples_are_called_what_they_are(dataset, has_images, told):
    # A file's own name says nothing of what is in it.
    data = Data(dataset=dataset, path="data/mnist.npz", validation_size=1)
    words = words_for(data, has_images=has_images)
    assert (words.example, words.input, words.category) == told


@pytest.mark.parametrize(
    ("name", "most", "short"),
    [
        ("cat", 3, "cat"),
        ("catfish", 6, "cat…sh"),
        ("catfish", 5, "cat…h"),
        ("two\nlines\tof it", 20, "two lines of it"),
        ("bell\x07", 9, "bell?"),
    ],
)
def test_a_long_name_loses_its_middle_and_all_are_one_line(name, most, short):
    assert shortened(name, most) == short


def test_names_that_would_be_equal_begin_with_their_places():
    names = ["a long name, one of two", "other", "a long name, two of two"]
    short = short_names(names, 12)
    assert short == ["0: a l…f two", "other", "2: a l…f two"]


@pytest.mark.parametrize(
    "text",
    [
        "*a* _b_ `c`",
        "[a](b)",
        "<script>x</script>",
        "a | b",
        "# no head",
        "1 \\ 2",
        "- $x$ ~~y~~ &amp;",
    ],
)
def test_markdown_shows_a_text_as_it_is(text):
    (inline,) = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).parseInline(escaped(text))
    assert {token.type for token in inline.children} <= {"text", "text_special"}
    assert "".join(token.content for token in inline.children) == text
