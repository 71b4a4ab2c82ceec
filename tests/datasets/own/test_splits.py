import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from pipeline.datasets.own.given import Given, Part
from pipeline.datasets.own.splits import split
from pipeline.errors import DataError, ParamsError
from pipeline.params import Data


def part(*counts):
    """Examples of class a, b and so on, this many of each, numbered."""
    labels = np.repeat(list("abcdef")[: len(counts)], counts)
    return Part(np.arange(len(labels), dtype=np.float32)[:, None], labels)


def drawn(given, *, test=None, **keys):
    data = Data(dataset="file", path="own.csv", **({"split_seed": 0} | keys))
    classes = tuple(sorted(set(given.labels)))
    return split(Given(given, test, ("x",)), classes, data)


def counts(examples):
    return np.bincount(examples.labels).tolist()


def numbers(examples):
    return examples.inputs[:, 0].astype(int).tolist()


def test_each_split_has_its_share_of_every_class():
    dataset = drawn(part(60, 30, 10), validation_size=20, test_size=10)

    assert counts(dataset.test) == [6, 3, 1]
    assert counts(dataset.validation) == [12, 6, 2]
    assert counts(dataset.train) == [42, 21, 7]


def test_no_example_is_lost_or_there_twice():
    dataset = drawn(part(33, 21, 17), validation_size=13, test_size=11)

    parts = (dataset.train, dataset.validation, dataset.test)
    assert sorted(number for one in parts for number in numbers(one)) == list(range(71))
    for one in parts:
        # In the order of the file, and each with its own label.
        assert numbers(one) == sorted(numbers(one))
        assert one.labels.tolist() == np.digitize(numbers(one), [33, 54]).tolist()


def test_the_test_examples_are_those_that_scikit_learn_draws():
    given = part(33, 21, 17)

    dataset = drawn(given, validation_size=13, test_size=11, split_seed=5)

    _, expected = train_test_split(
        np.arange(71), test_size=11, stratify=given.labels, random_state=5
    )
    assert numbers(dataset.test) == sorted(expected.tolist())


def test_the_seed_decides():
    first, again, other = (
        drawn(part(40, 40), validation_size=20, test_size=20, split_seed=seed) for seed in (0, 0, 1)
    )

    for name in ("train", "validation", "test"):
        assert numbers(getattr(first, name)) == numbers(getattr(again, name))
        assert numbers(getattr(first, name)) != numbers(getattr(other, name))


def test_another_validation_size_leaves_the_test_examples():
    first, other = (drawn(part(40, 40), validation_size=size, test_size=20) for size in (10, 30))

    assert numbers(first.test) == numbers(other.test)


def test_test_examples_of_the_file_are_used_as_they_are():
    given = part(2, 3)

    dataset = drawn(part(40, 40), test=given, validation_size=20)

    assert numbers(dataset.test) == numbers(given)
    assert counts(dataset.test) == [2, 3]
    assert len(dataset.train) == 60


@pytest.mark.parametrize(
    ("of_classes", "validation_size", "test_size", "told"),
    [
        ((5, 5), 3, None, "`test_size` is missing: own.csv has no test examples, so say how many"),
        ((5, 5), 3, 1, "`test_size` must be from 2 to 6, "),
        ((5, 5), 3, 7, "`test_size` must be from 2 to 6, "),
        ((5, 5), 1, 4, "`validation_size` must be from 2 to 4, "),
        ((5, 5), 5, 4, "`validation_size` must be from 2 to 4, "),
        ((95, 5), 20, 8, "`test_size` must be at least 20 to have class 'b', of which there are 5"),
        ((90, 10), 3, 10, "`validation_size` must be at least 10 to have class 'b', of which the"),
        ((17, 3), 2, 14, "`test_size` must be less, to leave 2 of class 'b', of which there are 3"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(of_classes, validation_size, test_size, told):
    with pytest.raises(ParamsError) as error:
        drawn(part(*of_classes), validation_size=validation_size, test_size=test_size)

    assert str(error.value).startswith(told)


def test_the_least_size_that_is_told_is_enough():
    dataset = drawn(part(95, 5), validation_size=20, test_size=20)

    assert 0 not in counts(dataset.test) + counts(dataset.validation)


@pytest.mark.parametrize(
    ("of_classes", "test", "splits"), [((9, 2), None, 3), ((9, 1), part(2, 2), 2)]
)
def test_a_class_with_too_few_examples_is_named(of_classes, test, splits):
    with pytest.raises(DataError) as error:
        drawn(part(*of_classes), test=test, validation_size=2, test_size=None if test else 2)

    assert str(error.value) == (
        f"own.csv has too few training examples of class 'b': {of_classes[1]}, where each split "
        f"takes one, {splits} in all; add some, or leave the class out"
    )


def test_as_few_examples_as_there_are_splits_are_enough():
    dataset = drawn(part(3, 3), validation_size=2, test_size=2)

    assert [counts(one) for one in (dataset.train, dataset.validation, dataset.test)] == [
        [1, 1]
    ] * 3
