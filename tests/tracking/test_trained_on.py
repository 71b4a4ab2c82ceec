import pytest

from pipeline.errors import DataError, MissingInputError
from pipeline.tracking.trained_on import TrainedOn, read_trained_on


def test_it_is_what_the_dataset_is(make_dataset):
    dataset = make_dataset("colour", ("a", "b", "c", "d"))
    assert TrainedOn.of("file", dataset) == TrainedOn("file", (8, 6, 3), ("a", "b", "c", "d"), ())
    rows = TrainedOn.of("file", make_dataset("rows"))
    assert (rows.shape, rows.features[29]) == ((30,), "feature 29")


def test_a_model_that_was_stored_without_it_is_reported(tmp_path):
    told = r"^net, version 1 was stored by an earlier version, .* `dvc repro` and then"
    with pytest.raises(MissingInputError, match=told):
        read_trained_on("net, version 1", tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"dataset": "a"}', "3", "\xff"])
def test_a_damaged_one_is_reported_in_a_line(tmp_path, content):
    (tmp_path / "trained_on.json").write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"^trained_on\.json of net is damaged: ") as told:
        read_trained_on("net", tmp_path)
    assert len(str(told.value).splitlines()) == 1
