import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.runs.models import write_model
from pipeline.tracking import served_model
from pipeline.tracking.served_model import Classifier


@pytest.fixture
def classifier(model, tmp_path):
    write_model(tmp_path, model.to_json(), model.get_weights())
    names = ("model.json", "model.weights.h5")
    loaded = Classifier()
    loaded.load_context(SimpleNamespace(artifacts={name: str(tmp_path / name) for name in names}))
    return loaded


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
        "pathlib",
        "typing",
    }
