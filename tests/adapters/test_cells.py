import shutil
from itertools import product
from pathlib import Path

import pytest

import pipeline
from pipeline.adapters import provenance
from pipeline.adapters.cells import Cells
from pipeline.core.normalization import NoNorm
from pipeline.core.replicates import Cell
from pipeline.core.trials import Trial
from pipeline.params import Network, Optimizer, Training, Variant

KEPT = Trial({"test_loss": 0.25, "diverged": 0.0}, [{"step": 3, "test_loss": 0.5}])
MEASURES = {
    "data_sha256": "da7a",
    "probes": ["dead_units", "percentiles"],
    "course": ["percentiles"],
}


def variant(*, label="A", rate=0.1, dims=(4,), epochs=1):
    return Variant(
        label=label,
        normalization=NoNorm(),
        network=Network(hidden_dims=dims, activation="relu"),
        training=Training(
            epochs=epochs,
            batch_size=2,
            optimizer=Optimizer(name="sgd", learning_rate=rate),
            seeds=8,
        ),
    )


CELL = Cell(variant(), seed=3)


@pytest.fixture
def package(tmp_path_factory, monkeypatch):
    """A copy of the package whose code is hashed."""
    copy = tmp_path_factory.mktemp("code") / "pipeline"
    own = Path(pipeline.__file__).parent
    shutil.copytree(own, copy, ignore=shutil.ignore_patterns("__pycache__", "templates"))
    monkeypatch.setattr(provenance, "_PACKAGE", copy)
    return copy


def edit(package, name):
    (package / name).write_text((package / name).read_text() + "\n# edited\n")


@pytest.fixture
def kept(project):
    """A project in which one cell of a study is kept."""
    Cells(**MEASURES).write(CELL, KEPT)
    return project


@pytest.mark.usefixtures("kept")
def test_what_was_measured_is_found_again():
    assert Cells(**MEASURES).read(CELL) == KEPT


@pytest.mark.usefixtures("kept")
def test_the_order_in_which_probes_are_named_does_not_matter():
    assert Cells(**MEASURES | {"probes": MEASURES["probes"][::-1]}).read(CELL) == KEPT


@pytest.mark.usefixtures("kept")
def test_of_other_data_nothing_is_known():
    assert Cells(**MEASURES | {"data_sha256": "da7b"}).read(CELL) is None


@pytest.mark.usefixtures("project")
def test_each_choice_of_probes_and_of_what_is_followed_has_its_own():
    one, two = ["dead_units"], ["dead_units", "percentiles"]
    chosen = list(product([[], one, two], [None, [], one, two]))

    for place, measures in enumerate(chosen):
        Cells("da7a", *measures).write(CELL, Trial({"test_loss": place}, []))

    found = [Cells("da7a", *measures).read(CELL).measured["test_loss"] for measures in chosen]
    assert found == list(range(12))


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["core/solver.py", "core/trials.py", "core/probes.py"])
def test_of_other_code_nothing_is_known(package, name):
    Cells(**MEASURES).write(CELL, KEPT)

    edit(package, name)

    assert Cells(**MEASURES).read(CELL) is None


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("probes", "course"), [(["dead_units"], None), ([], ["dead_units"])])
def test_the_code_of_probes_matters_where_there_are_any(package, probes, course):
    for measures in (("da7a", probes, course), ("da7a", [], None)):
        Cells(*measures).write(CELL, KEPT)

    edit(package, "core/probes.py")

    assert Cells("da7a", probes, course).read(CELL) is None
    assert Cells("da7a", [], None).read(CELL) == KEPT


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "cell",
    [
        Cell(variant(), seed=4),
        Cell(variant(rate=1.0), seed=3),
        Cell(variant(dims=(8,)), seed=3),
        Cell(variant(epochs=2), seed=3),
    ],
    ids=["seed", "rate", "network", "epochs"],
)
def test_of_another_run_nothing_is_known(cell):
    assert Cells(**MEASURES).read(cell) is None


@pytest.mark.usefixtures("kept")
def test_studies_share_runs_whatever_they_call_the_variant():
    assert Cells(**MEASURES).read(Cell(variant(label="B"), seed=3)) == KEPT
