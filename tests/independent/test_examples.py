"""An example against a loop that is written by hand with Keras; see `comparison.RULE`."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.examples.prepared import read_prepared
from tests.faults.command import CHECKOUT, start
from tests.independent import convolutions
from tests.independent.comparison import Comparison, Sample

FASHION = os.environ.get("FASHION_MNIST_MIRROR", "/usr/share/datasets/fashion-mnist")
SEEDS = 4


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    """The folder in which the example was run, as its stages run it."""
    if not Path(FASHION).is_dir():
        pytest.skip("Fashion-MNIST is not there: Debian's dataset-fashion-mnist has it")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("fashion"))
        params = (CHECKOUT / "examples/fashion/params.yaml").read_text(encoding="utf-8")
        Path("params.yaml").write_text(params.replace("seeds: 8 ", f"seeds: {SEEDS} "))
        shutil.copytree(CHECKOUT / "networks", "networks")
        for stage in ("download", "prepare", "train batch_norm", "train no_norm", "evaluate"):
            process = start(*stage.split(), FASHION_MNIST_MIRROR=FASHION)
            told = process.communicate()
            assert process.returncode == 0, told
    return folder


@pytest.mark.drill
@pytest.mark.parametrize("variant", ["batch_norm", "no_norm"])
def test_fashion_and_a_loop_by_hand_come_to_the_same(
    fashion, monkeypatch, variant, record_property
):
    monkeypatch.chdir(fashion)
    settings = YAML(typ="safe").load(Path("params.yaml"))
    dataset = read_prepared()
    train, test = ((part.inputs, part.labels) for part in (dataset.train, dataset.test))
    scores = pd.read_csv(f"evaluation/{variant}/test.csv")

    by_hand = [
        convolutions.accuracy(
            seed, train, test, normalized=variant == "batch_norm", settings=settings
        )
        for seed in range(SEEDS)
    ]

    one = Comparison(
        "examples/fashion", variant, "test_accuracy",
        Sample.of(scores["accuracy"]), Sample.of(by_hand),
    )  # fmt: skip
    record_property("told", asdict(one))
    assert one.agrees, str(one)
