import numpy as np
import pytest

from pipeline.examples.dataset import Examples
from pipeline.reporting.misread import misread_examples


@pytest.fixture
def test_set():
    images = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((2, 2), np.uint8)
    return Examples(images, np.array([7, 1, 2, 3, 4], np.uint8))


@pytest.fixture
def results(make_cell):
    """Two variants of three runs: digit 0 is hard, on 2 they differ, 3 is misread once, 4 ties."""
    first = [[7, 1, 2, 3, 0], [1, 1, 2, 3, 4], [1, 1, 2, 8, 4]]
    second = [[1, 1, 0, 3, 4], [9, 1, 0, 3, 0], [9, 1, 2, 3, 4]]
    return [
        make_cell(label, (0.5,), predicted=np.array(rows, np.uint8))
        for label, rows in (("A", first), ("B", second))
    ]


def test_the_worst_come_first_and_examples_all_got_right_are_left_out(test_set, results):
    misread = misread_examples(test_set, results, 10)
    # Shares of runs of A and B that are wrong: 2/3 and 1, 0 and 2/3, 1/3 and 1/3, 1/3 and 0.
    assert [example.place for example in misread.examples] == [0, 2, 4, 3]
    assert misread.total == 4


def test_at_most_the_requested_examples_are_returned_and_all_counted(test_set, results):
    misread = misread_examples(test_set, results, 2)
    assert [example.place for example in misread.examples] == [0, 2]
    assert misread.total == 4


def test_an_example_has_its_input_label_and_readings(test_set, results):
    example = misread_examples(test_set, results, 1).examples[0]
    assert example.label == 7
    assert example.input.tolist() == test_set.inputs[0].tolist()
    assert example.readings == (((1, 2), (7, 1)), ((9, 2), (1, 1)))


def test_the_variant_with_most_correct_runs_is_best_unless_tied(test_set, results):
    best = {
        example.place: example.best for example in misread_examples(test_set, results, 10).examples
    }
    assert best == {0: 0, 2: 0, 3: 1, 4: None}
