"""Studies against runs of the same protocol in plain NumPy; `comparison.RULE` says what agrees."""

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from threadpoolctl import threadpool_limits

from pipeline.examples.prepared import PREPARED_FILE, read_prepared
from tests.independent.comparison import Comparison, Sample
from tests.independent.mlp import OPTIMIZERS, Network, probabilities, train

STUDIES = Path("studies")
MEASURES = {
    "notebook": ["test_accuracy", "train_loss"],
    "dead_relus": ["dead_units", "test_accuracy"],
    "batch_size": ["test_accuracy", "train_loss"],
    "exploding_gradients": ["gradient_growth"],
    "rank_collapse": ["stable_rank"],
    "single_units": ["ablation_area", "test_accuracy"],
}
# Of networks that are not trained, in how many batches.
UNTRAINED, BATCHES = ("exploding_gradients", "rank_collapse"), 10
ORDERS = 3
WITH_AND_WITHOUT = ("batch_norm", "no_norm")
ALL_NORMS = (*WITH_AND_WITHOUT, "layer_norm", "batch_renorm")
# As many seeds as keep all of it within some six minutes. A run is made once, whoever asks for it.
CELLS = [
    *(("notebook", {}, variant, 8) for variant in WITH_AND_WITHOUT),
    *(
        ("dead_relus", {"learning_rate": rate}, variant, seeds)
        for rate, seeds in ((0.001, 4), (0.01, 8), (0.1, 4))
        for variant in WITH_AND_WITHOUT
    ),
    *(
        ("batch_size", {"batch_size": size}, variant, seeds)
        for size, seeds in ((2, 3), (32, 5))
        for variant in ALL_NORMS
    ),
    *(
        ("exploding_gradients", {"batch_size": size}, variant, 4)
        for size in (32, 512)
        for variant in WITH_AND_WITHOUT
    ),
    *(
        ("rank_collapse", {"depth": depth, "activation": "relu"}, variant, 4)
        for depth in (2, 32)
        for variant in WITH_AND_WITHOUT
    ),
    *(("single_units", {}, variant, 4) for variant in WITH_AND_WITHOUT),
]


@dataclass(frozen=True)
class Protocol:
    """All that decides a run beside its seed."""

    hidden: tuple[int, ...]
    kernel: str
    norm: str
    norm_arguments: tuple[tuple[str, float], ...]
    optimizer: str
    optimizer_arguments: tuple[tuple[str, float], ...]
    epochs: int
    batch_size: int


def protocol(study, cell, variant):
    """Reads study.yaml; the cell's values go before those of the file."""
    tree = YAML(typ="safe").load(STUDIES / study / "study.yaml")
    network = tree["network"] | {key: cell[key] for key in cell.keys() & tree["network"].keys()}
    assert network["activation"] == "relu"
    assert network.get("skip", "none") == "none"
    assert tree["data"]["dataset"] == "mnist"
    norm = dict(tree["variants"][variant])
    norm.pop("label")
    # The implementation has gamma and beta, always.
    assert norm.pop("center", True)
    assert norm.pop("scale", True)
    training, optimizer = tree["training"], tree["training"]["optimizer"]
    batch_size = cell.get("batch_size", training["batch_size"])
    if study == "batch_size":
        optimizer["learning_rate"] = 0.1 * batch_size / 32
    if "learning_rate" in cell:
        optimizer["learning_rate"] = cell["learning_rate"]
    return Protocol(
        hidden=tuple(network.get("hidden_dims") or [network["width"]] * network["depth"]),
        kernel=network.get("initializer", "glorot_uniform"),
        norm=norm.pop("normalization"),
        norm_arguments=tuple(sorted(norm.items())),
        optimizer=optimizer.pop("name"),
        optimizer_arguments=tuple(sorted(optimizer.items())),
        epochs=training["epochs"],
        batch_size=batch_size,
    )


@cache
def examples():
    """Pixels from 0 to 1 in rows, and labels: to learn from, and to test on."""
    dataset = read_prepared()
    return [
        (np.float32(one.inputs.reshape(len(one), -1)) / np.float32(255), one.labels)
        for one in (dataset.train, dataset.test)
    ]


@cache
def run(done, seed):
    """The measures of one run."""
    (images, labels), (test_images, test_labels) = examples()
    rng = np.random.default_rng(seed)
    network = first_network(done, rng)
    optimizer = OPTIMIZERS[done.optimizer](**dict(done.optimizer_arguments))
    # What is lost to infinities shows in the accuracy.
    with threadpool_limits(1), np.errstate(all="ignore"):
        train(
            network, optimizer, images, labels,
            epochs=done.epochs, batch_size=done.batch_size, rng=rng,
        )  # fmt: skip
        right = network.logits(test_images).argmax(axis=1) == test_labels
        likely = probabilities(network.logits(images))[np.arange(len(labels)), labels]
        return {
            "test_accuracy": right.mean(),
            "train_loss": -np.log(likely).mean(dtype=np.float64),
            "dead_units": network.dead_units(test_images),
            "ablation_area": network.ablation_area(test_images, test_labels, rng, ORDERS),
        }


def at_the_start(study, done, seed):
    """The measure of a network that is not trained, over the first batches."""
    (images, labels), _ = examples()
    network = first_network(done, np.random.default_rng(seed))
    starts = range(0, BATCHES * done.batch_size, done.batch_size)
    batches = [slice(start, start + done.batch_size) for start in starts]
    with threadpool_limits(1):
        if study == "rank_collapse":
            return {"stable_rank": np.mean([network.stable_rank(images[at]) for at in batches])}
        growth = [network.gradient_growth(images[at], labels[at]) for at in batches]
        return {"gradient_growth": np.mean(growth)}


def first_network(done, rng):
    """A network as it starts: pixels in, ten classes out."""
    widths = (examples()[0][0].shape[1], *done.hidden, 10)
    return Network(widths, rng, done.norm, done.norm_arguments, kernel=done.kernel)


def measured(study, cell, variant):
    """The rows of results.csv that are of this cell."""
    path = STUDIES / study / "results.csv"
    for needed in (path, PREPARED_FILE):
        if not needed.exists():
            pytest.skip(f"{needed} is not there")
    table = pd.read_csv(path)
    table = table[table["variant"] == variant]
    for axis, value in cell.items():
        is_it = table[axis] == value if isinstance(value, str) else np.isclose(table[axis], value)
        table = table[is_it]
    assert len(table) > 1, f"{path} has no runs of {variant} at {cell}"
    return table


def name(cell, variant):
    return ", ".join([*(f"{axis} {value}" for axis, value in cell.items()), variant])


@pytest.mark.drill
@pytest.mark.parametrize(
    ("study", "cell", "variant", "seeds"),
    [pytest.param(*one, id=f"{one[0]}, {name(*one[1:3])}") for one in CELLS],
)
def test_the_project_and_plain_numpy_come_to_the_same(study, cell, variant, seeds, record_property):
    rows = measured(study, cell, variant)
    done = protocol(study, cell, variant)
    runs = pd.DataFrame(
        [
            at_the_start(study, done, seed) if study in UNTRAINED else run(done, seed)
            for seed in range(seeds)
        ]
    )
    told = [
        Comparison(study, name(cell, variant), one, Sample.of(rows[one]), Sample.of(runs[one]))
        for one in MEASURES[study]
    ]
    for one in told:
        record_property("told", asdict(one))
    assert all(one.agrees for one in told), "\n".join(map(str, told))
