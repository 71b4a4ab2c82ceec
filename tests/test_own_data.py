"""What docs/your-data.md and the examples promise, done."""

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from sklearn.datasets import load_breast_cancer, load_digits

from pipeline.datasets import prepare
from pipeline.examples.prepared import read_prepared
from pipeline.files import read_json
from pipeline.params_file import read_params

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs/your-data.md").read_text(encoding="utf-8")


def block(language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return code


def prepared(params):
    """What the stage `prepare` makes of a file of parameters, and the counts beside it."""
    shutil.copytree(ROOT / "networks", "networks")
    Path("params.yaml").write_text(params, encoding="utf-8")
    prepare.run(read_params())
    return read_prepared(), read_json(Path("reports/data.json"))


def total(counts):
    return {name: sum(split[name] for split in counts.values()) for name in counts["train"]}


TUMOURS = {"benign": 357, "malignant": 212}


@pytest.mark.usefixtures("project")
def test_the_table_of_the_guide_is_prepared():
    shipped = (ROOT / "params.yaml").read_text(encoding="utf-8")
    start, end = shipped.index("data:"), shipped.index("network:")
    exec(block("python"), {})  # noqa: S102

    dataset, counts = prepared(shipped[:start] + block("yaml") + shipped[end:])

    # The dataset's own description has these counts.
    assert total(counts) == TUMOURS
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [
        319, 100, 150,
    ]  # fmt: skip
    rows = np.concatenate([part.inputs for part in (dataset.train, dataset.validation)])
    expected = load_breast_cancer()
    assert set(map(tuple, rows)) <= set(map(tuple, expected.data.astype(np.float32)))
    assert dataset.features == tuple(expected.feature_names)


def test_the_flags_of_the_guide_are_its_block():
    flags = dict(re.findall(r"-S \+?data\.(\w+)=(\S+)", GUIDE))
    assert flags == {
        key: str(value) for key, value in YAML(typ="safe").load(block("yaml"))["data"].items()
    }


@pytest.mark.usefixtures("project")
def test_the_example_of_a_table_is_prepared():
    runpy.run_path(str(ROOT / "examples/breast_cancer/make.py"))

    _, counts = prepared((ROOT / "examples/breast_cancer/params.yaml").read_text(encoding="utf-8"))

    assert total(counts) == TUMOURS


@pytest.mark.usefixtures("project")
def test_the_example_of_pictures_is_prepared():
    runpy.run_path(str(ROOT / "examples/pictures/make.py"))

    dataset, counts = prepared((ROOT / "examples/pictures/params.yaml").read_text(encoding="utf-8"))

    digits = load_digits()
    expected = np.bincount(digits.target).tolist()
    assert total(counts) == dict(zip("0123456789", expected, strict=True))
    images = {image.tobytes() for image in np.round(digits.images * (255 / 16)).astype(np.uint8)}
    assert {image.tobytes() for image in dataset.train.inputs} <= images
    assert dataset.train.inputs.shape == (1197, 8, 8)


@pytest.mark.slow
def test_the_table_of_the_guide_is_trained_on_and_scored(make_clone):
    clone = make_clone(forks=True, training__epochs=3, training__seeds=2)
    clone.run("python", "-c", block("python"))
    clone.run("dvc", "add", "-q", "tumours.csv")
    flags = re.findall(r"-S \S+", GUIDE)

    clone.run("dvc", "exp", "run", "evaluate", *" ".join(flags).split())

    assert (clone.folder / "tumours.csv.dvc").exists()
    assert "tumours.csv" in clone.run("dvc", "dag", "evaluate").stdout
    scores = pd.read_csv(clone.folder / "evaluation/batch_norm/test.csv")
    # To say benign always would be right for 94 of 150.
    assert (scores["accuracy"] > 0.8).all()
    assert clone.run("dvc", "status", "prepare").stdout.strip().endswith("up to date.")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").glob("*/params.yaml")), ids=lambda one: one.parent.name
)
def test_the_parameters_of_each_example_are_valid(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert read_params(path).tracking.experiment
