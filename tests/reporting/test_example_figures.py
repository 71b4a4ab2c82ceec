import itertools
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import Data
from pipeline.reporting import example_figures as figures
from pipeline.reporting.features import Scale
from pipeline.reporting.words import DIGITS, words_for

IMAGES = words_for(Data(dataset="file", path="a.npz", validation_size=1), has_images=True)
LONG = [f"the species of the number {place}, as we call it" for place in range(4)]


@pytest.fixture
def digits(true_labels):
    """A hundred images; every pixel of image i is i + 1."""
    examples = Examples(np.tile(np.arange(1, 101, dtype=np.uint8), (8, 8, 1)).T, true_labels)
    return Dataset(examples, examples, examples, tuple("0123"))


@pytest.fixture(scope="module")
def cells(make_cell):
    """Each run gets the first images right: candidates 0 … 89, baselines 0 … 79 and 84."""
    return make_cell("With", [0.9, 0.9]), make_cell("Without", [0.80, 0.85])


def shown_values(picture):
    """Returns the grey of each image in a row of a grid, from left to right."""
    middle = picture[len(picture) * 3 // 4]
    return [int(grey) for grey in dict.fromkeys(middle) if grey]


def texts(axis):
    return [text.get_text() for text in axis.texts]


def boxes_of(texts):
    return [text.get_window_extent() for text in texts if text.get_text()]


def expect_apart(figure, texts):
    """Checks that texts overlap neither each other nor the figure's edge."""
    boxes = boxes_of(texts)
    assert boxes
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    low, high = figure.bbox.get_points()
    assert all(
        (low <= box.get_points()).all() and (box.get_points() <= high).all() for box in boxes
    )


def test_divided_digits_are_those_that_one_variant_gets_more_often(digits, cells):
    figure = figures.divided_images(digits, *cells, DIGITS, columns=3)
    ahead, behind = figure.axes
    # Image 85 is the first that only candidates get right; labels go 0, 1, 2, 3, 0, …
    assert texts(ahead) == [
        "1:  100% · 0%",
        "2:  100% · 0%",
        "3:  100% · 0%",
        "0:  100% · 0%",
        "1:  100% · 0%",
        "0:  100% · 50%",
    ]
    picture = ahead.images[0].get_array()
    top, bottom = np.split(picture, 2)
    assert shown_values(top) + shown_values(bottom) == [86, 87, 88, 89, 90, 81]
    assert ahead.get_title().startswith("With does better.")
    assert behind.get_title().startswith("Without does better.")
    assert not behind.texts
    assert not behind.images[0].get_array().any()


def test_samples_are_the_first_of_each_class_one_row_per_class(digits):
    (axis,) = figures.sample_images(digits, DIGITS, each=3).axes
    rows = np.split(axis.images[0].get_array(), 4)
    assert [shown_values(row) for row in rows] == [[1, 5, 9], [2, 6, 10], [3, 7, 11], [4, 8, 12]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["0", "1", "2", "3"]


def test_samples_of_a_small_class_leave_blanks(digits):
    few = Examples(digits.train.inputs[:5], digits.train.labels[:5])
    dataset = Dataset(few, few, few, digits.classes)
    (axis,) = figures.sample_images(dataset, DIGITS, each=3).axes
    rows = np.split(axis.images[0].get_array(), 4)
    assert [shown_values(row) for row in rows] == [[1, 5], [2], [3], [4]]


def test_images_in_colour_are_shown_in_colour_on_white(make_dataset):
    dataset = make_dataset("colour")
    (axis,) = figures.sample_images(dataset, IMAGES, each=2).axes
    picture = np.asarray(axis.images[0].get_array())
    # A margin of an eighth of the height, which is 8 by 6 pixels.
    assert picture.shape == (4 * 10, 2 * 8, 3)
    np.testing.assert_array_equal(picture[1:9, 1:7], dataset.train.inputs[0])
    np.testing.assert_array_equal(picture[11:19, 9:15], dataset.train.inputs[5])
    assert (picture[[0, 9, 10]] == 255).all()


def test_images_that_are_no_digits_are_not_inverted(make_dataset):
    figure = figures.sample_images(make_dataset("grey"), IMAGES, each=2)
    assert figure.axes[0].images[0].get_cmap().name == "gray"


@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_divided_images_have_the_names_of_their_classes_apart(make_dataset, cells, kind):
    figure = figures.divided_images(make_dataset(kind, LONG), *cells, IMAGES)
    figure.draw_without_rendering()
    ahead, _ = figure.axes
    assert re.fullmatch(r"the spec….*1.*\n100% · 0%|1: .*\n100% · 0%", texts(ahead)[0])
    expect_apart(figure, ahead.texts)


def test_divided_rows_are_those_with_their_unusual_features(make_dataset, cells):
    dataset = make_dataset("rows", ("one", "two", "three", "four"))
    scale = Scale(dataset.train, dataset.features)
    ahead, behind = figures.divided_rows(dataset, *cells, scale).axes
    lines = np.reshape(texts(ahead)[4:], (8, 6))
    assert lines[0, :3].tolist() == ["85", "two", "100% · 0%"]
    assert lines[:, 0].tolist() == ["85", "86", "87", "88", "89", "80", "81", "82"]
    unusual = scale.unusual(dataset.test.inputs[85], 3)
    assert lines[0, 3:].tolist() == [f"{one.name}\n{one}" for one in unusual]
    assert texts(behind)[4:] == ["None."]


def test_rows_with_long_names_are_apart(make_dataset, cells):
    features = tuple(f"the measurement of the number {i}, as we call it" for i in range(30))
    dataset = make_dataset("rows", LONG, features)
    figure = figures.divided_rows(dataset, *cells, Scale(dataset.train, features))
    figure.draw_without_rendering()
    expect_apart(figure, [text for axis in figure.axes for text in axis.texts])


def test_means_of_classes_have_their_names_and_values(make_dataset):
    dataset = make_dataset("rows", ("one", "two", "three", "four"))
    axis = figures.feature_means(dataset, Scale(dataset.train, dataset.features)).axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == list(dataset.classes)
    names = [tick.get_text() for tick in axis.get_xticklabels()]
    rows = dataset.train.inputs.astype(float)
    distances = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    for column, name in enumerate(names):
        values = distances[:, dataset.features.index(name)]
        for place in range(4):
            mean = values[dataset.train.labels == place].mean()
            assert float(texts(axis)[place * len(names) + column]) == pytest.approx(mean, abs=0.06)


@pytest.mark.parametrize("count", [1, 3, 30])
def test_means_of_classes_with_long_names_are_apart(make_dataset, count):
    whole = make_dataset("rows", LONG)
    examples = Examples(whole.train.inputs[:, :count], whole.train.labels)
    features = tuple(f"the measurement of the number {i}, as we call it" for i in range(count))
    dataset = Dataset(examples, examples, examples, whole.classes, features)
    figure = figures.feature_means(dataset, Scale(examples, features))
    figure.draw_without_rendering()
    axis = figure.axes[0]
    ticks = [*axis.get_xticklabels(), *axis.get_yticklabels(), *axis.texts, axis.title]
    expect_apart(figure, ticks)


def test_names_are_no_mathematics_and_those_without_glyphs_have_a_number(make_dataset):
    dataset = make_dataset("grey", ("$x_1$", "紫色", "a\nb", "ok"))
    figure = figures.sample_images(dataset, IMAGES, each=2)
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [r"\$x_1\$", "class 1", "class 2", "ok"]


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (1, 1), (100, 100)])
def test_images_of_any_shape_can_be_drawn(true_labels, cells, shape):
    examples = Examples(np.zeros((100, *shape), np.uint8), true_labels)
    dataset = Dataset(examples, examples, examples, tuple("abcd"))
    for figure in (
        figures.sample_images(dataset, IMAGES),
        figures.divided_images(dataset, *cells, IMAGES),
    ):
        figure.draw_without_rendering()
        assert max(figure.get_size_inches()) <= 41


def test_figures_are_free_of_pyplot(digits, make_dataset, cells):
    rows = make_dataset("rows")
    scale = Scale(rows.train, rows.features)
    for figure in (
        figures.sample_images(digits, DIGITS),
        figures.divided_images(digits, *cells, DIGITS),
        figures.feature_means(rows, scale),
        figures.divided_rows(rows, *cells, scale),
    ):
        assert isinstance(figure, Figure)
        assert figure.canvas.manager is None
        figure.draw_without_rendering()
