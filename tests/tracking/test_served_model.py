import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.runs.models import write_model
from pipeline.tracking import served_model
from pipeline.tracking.served_model import Classifier


def load(model, tmp_path):
    write_model(tmp_path, model.to_json(), model.get_weights())
    names = ("model.json", "model.weights.h5")
    loaded = Classifier()
    loaded.load_context(SimpleNamespace(artifacts={name: str(tmp_path / name) for name in names}))
    return loaded


@pytest.fixture
def classifier(model, tmp_path):
    return load(model, tmp_path)


def test_it_gives_the_probability_of_each_class(classifier, model):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)

    probabilities = classifier.predict(None, images)

    odds = np.exp(np.asarray(model(images)))
    np.testing.assert_allclose(probabilities, odds / odds.sum(axis=1, keepdims=True), rtol=1e-5)
    assert probabilities.dtype == np.float32


def test_it_takes_the_lists_of_a_json_request(classifier):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 3), np.uint8)

    np.testing.assert_array_equal(
        classifier.predict(None, images.tolist()), classifier.predict(None, images)
    )


OPTIONS = {"display.max_rows": 60, "display.max_columns": 80}


@pytest.mark.parametrize(
    "inputs", [np.zeros((9, 28, 28), np.uint8), pd.DataFrame(np.ones((99, 64)))]
)
@pytest.mark.parametrize("is_served", [False, True])
def test_where_mlflow_serves_it_errors_do_not_print_all_inputs(
    model, tmp_path, monkeypatch, inputs, is_served
):
    with pd.option_context(OPTIONS):
        before = str(inputs)
    if is_served:
        monkeypatch.setitem(sys.modules, "mlflow.pyfunc.scoring_server.app", served_model)
    with np.printoptions(), pd.option_context(OPTIONS):
        load(model, tmp_path)
        printed = str(inputs)

    assert (len(printed) < 150) if is_served else (printed == before)


def test_it_works_without_this_project():
    tree = ast.parse(Path(served_model.__file__).read_text())

    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert {name.partition(".")[0] for name in imported} == {
        "keras",
        "mlflow",
        "numpy",
        "os",
        "pandas",
        "pathlib",
        "sys",
        "typing",
    }
