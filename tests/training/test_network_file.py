import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import ParamsError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import (
    Augmentation,
    EarlyStopping,
    Optimizer,
    Schedule,
    Training,
    Variant,
)
from pipeline.training.network import build, first_weights, moments_of
from pipeline.training.network_file import network_class
from pipeline.training.normalization import BatchNorm, NoNorm
from pipeline.training.trainer import Hooks, Task, Trainer
from pipeline.training.workers import worker_pool

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/your-network.md").read_text(encoding="utf-8")
NORM = {"momentum": 0.9, "epsilon": 0.001, "center": True, "scale": True}
CONV = {
    "code": str(ROOT / "networks/conv.py"),
    "filters": [3, 4],
    "kernel_size": 3,
    "units": 5,
    "activation": "relu",
    "dropout": 0.3,
}
HEAD = "import keras\nfrom pipeline.params import Count, Network\n\n\n"
PLAIN = HEAD + (
    "class Plain(Network):\n"
    "    width: Count\n"
    "    def hidden(self, inputs, normalize):\n"
    "        return keras.layers.Dense(self.width)(keras.layers.Flatten()(inputs))\n"
)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a network's file; returns the function that loads it."""
    monkeypatch.chdir(tmp_path)
    Path("networks").mkdir()

    def write(text):
        Path("networks/own.py").write_text(text, encoding="utf-8")
        return network_class("networks/own.py")

    return write


def built(network, normalization=None, shape=(6, 6, 2)):
    return build(network, normalization or NoNorm(), shape=shape, classes=3)


def variant(network, normalization, **training):
    optimizer = Optimizer(name="adam", learning_rate=0.01)
    settings = {"epochs": 2, "batch_size": 4, "optimizer": optimizer, "seeds": 2} | training
    return Variant(
        label="A", normalization=normalization, network=network, training=Training(**settings)
    )


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    splits = [
        Examples(rng.integers(0, 256, (12, 6, 6), np.uint8), np.arange(12, dtype=np.uint8) % 3)
        for _ in range(3)
    ]
    return Dataset(*splits, classes=("a", "b", "c"))


def test_the_guides_network_is_one(written):
    (text,) = re.findall(r"<!-- networks/residual.py -->\n```python\n(.*?)```", GUIDE, re.DOTALL)
    network = written(text)(code="networks/own.py", blocks=2, width=8, dropout=0.1)
    assert [one.name for one in built(network, BatchNorm(**NORM)).layers if "norm" in one.name] == [
        "norm_0",
        "norm_1",
        "norm_2",
    ]
    with pytest.raises(ValueError, match="blocks"):
        written(text)(code="networks/own.py", blocks=0, width=8, dropout=0.1)


def test_checking_it_imports_no_tensorflow(tmp_path):
    (tmp_path / "own.py").write_text(PLAIN, encoding="utf-8")
    code = (
        "import sys\n"
        "from pipeline.training.network_file import network_class\n"
        f"print(network_class({str(tmp_path / 'own.py')!r})(code='', width=3).width)\n"
        "print('tensorflow' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["3", "False"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class Plain(:\n", r"own\.py, line 1: SyntaxError: invalid syntax"),
        (HEAD + "1 / 0\n", r"own\.py, line 5: ZeroDivisionError: division by zero"),
        (HEAD, r"must have one class that extends Network, and has none"),
        (PLAIN + "class Other(Plain):\n    pass\n", r"and has Plain, Other"),
        (HEAD + "class Plain(Network):\n    width: Count\n", r"Plain must have a method `hidden`"),
        (
            PLAIN.replace("width: Count", "width = 3"),
            r"line 5: .*`width = 3`: give each field a ty",
        ),
        (PLAIN.replace("width: Count", "width: Cuont"), r"line 6: NameError: .*Cuont"),
        (
            "from __future__ import annotations\n" + PLAIN.replace("width: Count", "width: Cuont"),
            "own.py: .*Cuont",
        ),
        ("from networks.blocks import *\n" + PLAIN, r"line 1: imports another file of the project"),
        ("from . import blocks\n" + PLAIN, r"line 1: imports another file of the project"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_a_line(written, text, told):
    with pytest.raises(ParamsError, match=told) as error:
        written(text)
    assert "\n" not in str(error.value)


def test_keras_is_there_for_those_that_import_it(written):
    without = written(PLAIN.replace("import keras\n", ""))(code="networks/own.py", width=4)
    with pytest.raises(ParamsError, match=r"own\.py, line 7: NameError: name 'keras'"):
        built(without)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ParamsError, match=r"none\.py': No such file"):
        network_class(str(tmp_path / "none.py"))


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ("keras.layers.Dense(4, unit=3)(inputs)", "line 8: .*unit"),
        (
            "keras.layers.Dense(4)(inputs)",
            r"py, line 7: `hidden` must return .*, got \[batch, 6, 6, 4\]",
        ),
        ("keras.layers.Conv2D(4, 9)(inputs)", "line 8: ValueError"),
        ("None", "hidden"),
        ("inputs[::", "line 8: SyntaxError"),
        (
            "keras.layers.Flatten()(keras.layers.Lambda(lambda x: x)(inputs))",
            "`Lambda` is not a layer of Keras' own",
        ),
    ],
)
def test_layers_that_are_wrong_are_told_with_their_line(written, layers, told):
    text = PLAIN.partition("        return")[0] + f"        return {layers}\n"
    with pytest.raises(ParamsError, match=told) as error:
        built(written(text)(code="networks/own.py", width=4))
    assert "\n" not in str(error.value)


def test_equal_parameters_give_an_equal_description_whatever_was_built_before():
    network = network_class(CONV["code"])(**CONV)
    assert built(network).to_json() == built(network).to_json()


def test_operations_on_units_are_layers_too(written):
    text = PLAIN.replace("inputs))\n", "inputs)) * 2.0\n")
    model = built(written(text)(code="networks/own.py", width=4))
    again = keras.models.model_from_json(model.to_json())
    assert again.output_shape == (None, 3)


def test_every_normalization_takes_images(normalization, dataset):
    trainer = Trainer(dataset)
    chosen = variant(network_class(CONV["code"])(**CONV), normalization, epochs=1)
    assert trainer.check(chosen) == []
    solver = trainer.solver(chosen)
    # A step that is not compiled, which would take most of the time.
    batch = [tf.constant(part[:8]) for part in (dataset.train.inputs, dataset.train.labels)]
    state, loss = solver.train_step(solver.start(1), *batch)
    assert all(np.isfinite(value).all() for value in [loss, *state.trainable, *state.statistics])
    assert np.isfinite(solver.predict(first_weights(solver.model, 1), dataset.test.inputs)).all()


class Kept(Hooks):
    """Keeps the snapshot after the first epoch, and begins with it."""

    def __init__(self, begins_with=None):
        self.begins_with, self.first = begins_with, None

    def begin(self, seed):  # noqa: ARG002
        return self.begins_with

    def keep(self, seed, snapshot):  # noqa: ARG002
        self.first = self.first or snapshot


@pytest.mark.slow
def test_noise_and_early_stopping_give_the_same_bits_resumed_and_side_by_side(dataset):
    chosen = variant(
        network_class(CONV["code"])(**CONV),
        BatchNorm(**NORM),
        epochs=4,
        early_stopping=EarlyStopping(monitor="loss", patience=1),
        augmentation=[Augmentation(layer="RandomTranslation", height_factor=0.2, width_factor=0.2)],
        schedule=Schedule(name="cosine"),
    )
    kept = Kept()
    trainer = Trainer(dataset, kept)
    alone = trainer(Task(chosen, 1))
    trainer._hooks = Kept(kept.first)
    resumed = trainer(Task(chosen, 1))
    trainer._hooks = Hooks()
    with worker_pool(2) as pool:
        beside = pool.map(trainer, [Task(chosen, 0), Task(chosen, 1)], chunksize=1)[1]
    for other in (resumed, beside):
        assert other.history == alone.history
        assert [one.tobytes() for one in other.weights] == [one.tobytes() for one in alone.weights]
    # The weights are those of the epoch with the best validation loss.
    best = min(alone.history, key=lambda epoch: epoch.validation.loss)
    # The same batches as in training, so that the bits are.
    scores = trainer.solver(chosen).evaluate(
        alone.weights, trainer._inputs, trainer._labels, rows=trainer._rows[1]
    )
    assert scores == best.validation


@pytest.mark.slow
def test_a_seed_draws_the_same_kernels_whatever_the_normalization(normalizations):
    network = network_class(CONV["code"])(**CONV)
    kernels = []
    for normalization in normalizations:
        model = built(network, normalization)
        drawn = dict(
            zip([one.path for one in model.weights], first_weights(model, seed=4), strict=True)
        )
        kernels.append([value for path, value in drawn.items() if path.endswith("kernel")])
    for others in kernels[1:]:
        for one, same in zip(kernels[0], others, strict=True):
            np.testing.assert_array_equal(one, same)
    # Glorot's bound, the square root of 6 over inputs and outputs of a filter of 3 by 3 pixels.
    bound = np.sqrt(6 / (9 * 2 + 9 * 3))
    assert bound * 0.8 < np.abs(kernels[0][0]).max() <= bound


def test_features_are_scaled_by_their_own_moments_inside_the_model(written):
    features = np.float32([[1, 5, 7], [3, 5, 9], [5, 5, 14]])
    moments = moments_of(features)
    np.testing.assert_allclose(moments.mean, features.mean(axis=0))
    np.testing.assert_allclose(moments.variance, [8 / 3, 1, 26 / 3], rtol=1e-6)
    network = written(PLAIN)(code="networks/own.py", width=4)
    model = build(network, NoNorm(), shape=(3,), classes=2, moments=moments)
    scaled = keras.Model(model.input, model.get_layer("scaled").output)(features)
    np.testing.assert_allclose(scaled.numpy().mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.numpy()[:, 1], 0)


def test_a_function_of_ones_own_in_place_of_kerass_is_refused(written):
    text = PLAIN.replace("Dense(self.width)", "Dense(self.width, kernel_initializer=draw)")
    text = text.replace("class", "def draw(shape, dtype=None):\n    return 0\n\n\nclass", 1)
    with pytest.raises(ParamsError, match=r"own\.py: a layer is given a function"):
        built(written(text)(code="networks/own.py", width=4))


@pytest.mark.slow
def test_a_penalty_of_the_network_is_part_of_what_is_minimised(written, dataset):
    text = PLAIN.replace("Dense(self.width)", "Dense(self.width, kernel_regularizer='l2')")
    trained = [
        Trainer(dataset)(Task(variant(written(one)(code="networks/own.py", width=4), NoNorm()), 0))
        for one in (PLAIN, text)
    ]
    plain, penalised = (np.abs(run.weights[0]).sum() for run in trained)
    assert penalised < plain
