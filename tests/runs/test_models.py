import shutil
import subprocess

import keras
import numpy as np
import pytest

from pipeline.errors import DataError, MissingInputError
from pipeline.runs.models import read_model, read_weights, write_model

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
NAMES = ["model.json", "model.weights.h5"]


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    write_model(folder, model.to_json(), model.get_weights())
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """Returns a copy, to be damaged."""
    return shutil.copytree(written, tmp_path / "seed-00")


def contents(folder):
    return [(folder / name).read_bytes() for name in NAMES]


def test_a_model_is_two_files(written):
    assert sorted(path.name for path in written.iterdir()) == NAMES


def test_a_model_read_back_predicts_like_the_original(model, written):
    again = read_model(written)

    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))
    for got, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_model_is_the_same_bytes_each_time(model, written, tmp_path):
    write_model(tmp_path, model.to_json(), model.get_weights())

    assert contents(tmp_path) == contents(written)


@pytest.mark.slow
def test_a_model_is_the_same_bytes_in_another_process(written, tmp_path, python_at_once):
    program = """
import sys
from pathlib import Path
from pipeline.runs.models import read_model, write_model
model = read_model(Path(sys.argv[1]))
write_model(Path(sys.argv[2]), model.to_json(), model.get_weights())
"""
    subprocess.run(
        [python_at_once, "-c", program, str(written), str(tmp_path / "again")],
        check=True,
        capture_output=True,
    )

    assert contents(tmp_path / "again") == contents(written)


def test_weights_of_one_run_replace_those_of_another(model, written):
    other = keras.models.clone_model(model)
    assert not np.array_equal(other(IMAGES), model(IMAGES))

    read_weights(other, written)

    np.testing.assert_array_equal(other(IMAGES), model(IMAGES))


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_says_what_makes_it(folder, name):
    (folder / name).unlink()

    with pytest.raises(MissingInputError, match=f"seed-00/{name} is not here: `dvc repro` makes"):
        read_model(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe\x00"])
def test_a_damaged_file_is_reported(folder, name, content):
    (folder / name).write_bytes(content)

    with pytest.raises(DataError, match=f"seed-00/{name} "):
        read_model(folder)


@pytest.mark.parametrize(
    "content",
    [
        '{"class_name": "Mystery", "config": {}}',
        *["[]", "{}", '{"class_name": "Mystery"}'],
    ],
)
def test_other_json_is_not_a_model(folder, content):
    (folder / "model.json").write_text(content)

    with pytest.raises(DataError, match=r"seed-00/model\.json does not describe a model"):
        read_model(folder)


def test_truncated_weights_are_reported(folder):
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-100])

    with pytest.raises(DataError, match=r"model\.weights\.h5 has no weights for its model"):
        read_model(folder)


def test_weights_with_a_broken_tree_are_reported(folder):
    weights = folder / "model.weights.h5"
    # What stands before the table of a group's members in HDF5.
    weights.write_bytes(weights.read_bytes().replace(b"TREE", b"TWIG", 1))

    with pytest.raises(DataError, match=r"model\.weights\.h5 has no weights for its model"):
        read_model(folder)


def another_architecture():
    return keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(7, name="dense_0")])


def test_weights_of_another_architecture_are_reported(folder):
    with pytest.raises(DataError, match=r"model\.weights\.h5 has no weights for its model"):
        read_weights(another_architecture(), folder)


def test_weights_of_another_architecture_are_reported_in_one_line(folder):
    with pytest.raises(DataError) as told:
        read_weights(another_architecture(), folder)

    lines = str(told.value).splitlines()
    assert len(lines) == 1
    # What Keras says begins with it; the shapes are further down.
    assert "object <Dense name=dense_0" in lines[0]
