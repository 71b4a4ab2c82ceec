import numpy as np
import pytest

from pipeline.errors import ParamsError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.params_file import read_params
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest, read_manifest
from pipeline.runs.models import read_model
from pipeline.runs.tables import read_history, run_folder
from pipeline.training.train_variant import check_variant, write_runs
from pipeline.training.trainer import TrainedRun
from tests.networks import PARAMS

MANIFEST = Manifest("a", parameters={}, seeds=(0, 1), data_sha256="da7a", code_sha256="c0de")


@pytest.fixture
def prepare(project):
    """Makes data with so many examples to train on; returns the shipped parameters and the data."""

    def prepare(count):
        (project / "params.yaml").write_text(PARAMS, encoding="utf-8")
        examples = Examples(np.zeros((count, 2, 2), np.uint8), np.arange(count, dtype=np.uint8) % 2)
        return read_params(), Dataset(examples, examples, examples, ("a", "b"))

    return prepare


def test_a_batch_may_have_all_examples_trained_on(prepare):
    params, dataset = prepare(32)
    assert check_variant(params, "no_norm", dataset) == []


def test_a_batch_larger_than_the_examples_trained_on_is_refused(prepare):
    params, dataset = prepare(31)
    with pytest.raises(ParamsError) as told:
        check_variant(params, "no_norm", dataset)

    assert str(told.value) == (
        "`batch_size` must be at most the 31 examples trained on, got 32 "
        "(params.yaml, variants.no_norm.training)"
    )


def test_runs_are_written_anew_each_with_its_own_model(project, model):
    left = run_folder("a", 2)
    left.mkdir(parents=True)
    weights = {
        seed: tuple(weight + seed for weight in model.get_weights()) for seed in MANIFEST.seeds
    }
    trained = [
        TrainedRun(
            seed, (EpochScores(seed, 0, Scores(seed, 0.5), Scores(9, 0.25)),), model.to_json(), own
        )
        for seed, own in weights.items()
    ]

    write_runs(MANIFEST, trained)

    assert not left.exists()
    for seed, own in weights.items():
        found = read_model(project / run_folder("a", seed)).get_weights()
        for weight, expected in zip(found, own, strict=True):
            np.testing.assert_array_equal(weight, expected)
    assert read_history("a")["loss"].tolist() == [0, 9, 1, 9]
    assert read_manifest("a") == MANIFEST
