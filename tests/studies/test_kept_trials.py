import shutil
from itertools import product
from pathlib import Path

import pytest

import pipeline
from pipeline.params import Optimizer, Training, Variant
from pipeline.studies.kept_trials import KeptTrials
from pipeline.studies.measures.trials import Trial
from pipeline.training.normalization import NoNorm
from pipeline.training.trainer import Task
from tests.networks import dense

FOLDER = Path("trials")
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
        network=dense(hidden_dims=dims, activation="relu"),
        training=Training(
            epochs=epochs,
            batch_size=2,
            optimizer=Optimizer(name="sgd", learning_rate=rate),
            seeds=8,
        ),
    )


TASK = Task(variant(), seed=3)


@pytest.fixture
def package(tmp_path_factory, monkeypatch):
    """Makes a copy of the package, whose code is hashed instead."""
    copy = tmp_path_factory.mktemp("code") / "pipeline"
    own = Path(pipeline.__file__).parent
    shutil.copytree(own, copy, ignore=shutil.ignore_patterns("__pycache__", "templates"))
    monkeypatch.setattr("pipeline.runs.code._PACKAGE", copy)
    return copy


def edit(package, name):
    (package / name).write_text((package / name).read_text() + "\n# edited\n")


@pytest.fixture
def kept(project):
    """Makes a project in which one trial of a study is kept."""
    KeptTrials(FOLDER, **MEASURES).write(TASK, KEPT)
    return project


@pytest.mark.usefixtures("kept")
def test_a_kept_trial_is_read_again():
    assert KeptTrials(FOLDER, **MEASURES).read(TASK) == KEPT


@pytest.mark.usefixtures("kept")
def test_a_kept_trial_is_where_it_has_always_been():
    (path,) = FOLDER.rglob("*.json")
    assert path == FOLDER / path.stem[:2] / path.name
    assert len(path.stem) == 64


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("content", ["", "{", "{}", '{"measured": {}, "other": []}', "[]"])
def test_a_damaged_trial_is_as_good_as_none(content):
    (path,) = FOLDER.rglob("*.json")
    path.write_text(content)
    assert KeptTrials(FOLDER, **MEASURES).read(TASK) is None


@pytest.mark.usefixtures("kept")
def test_networks_as_they_start_have_trials_of_their_own():
    assert KeptTrials(FOLDER, **MEASURES, untrained=True).read(TASK) is None
    assert KeptTrials(FOLDER, **MEASURES, untrained=False).read(TASK) == KEPT


@pytest.mark.usefixtures("kept")
def test_the_order_of_probes_does_not_matter():
    assert KeptTrials(FOLDER, **MEASURES | {"probes": MEASURES["probes"][::-1]}).read(TASK) == KEPT


@pytest.mark.usefixtures("kept")
def test_trials_on_other_data_are_not_read():
    assert KeptTrials(FOLDER, **MEASURES | {"data_sha256": "da7b"}).read(TASK) is None


@pytest.mark.usefixtures("project")
def test_each_choice_of_probes_and_course_has_its_own_trial():
    one, two = ["dead_units"], ["dead_units", "percentiles"]
    chosen = list(product([[], one, two], [None, [], one, two]))

    for place, measures in enumerate(chosen):
        KeptTrials(FOLDER, "da7a", *measures).write(TASK, Trial({"test_loss": place}, []))

    measured = [
        KeptTrials(FOLDER, "da7a", *measures).read(TASK).measured["test_loss"]
        for measures in chosen
    ]
    assert measured == list(range(12))


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "name", ["training/solver.py", "studies/measures/trials.py", "studies/measures/probes.py"]
)
def test_trials_by_other_code_are_not_read(package, name):
    KeptTrials(FOLDER, **MEASURES).write(TASK, KEPT)

    edit(package, name)

    assert KeptTrials(FOLDER, **MEASURES).read(TASK) is None


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "task",
    [
        Task(variant(), seed=4),
        Task(variant(rate=1.0), seed=3),
        Task(variant(dims=(8,)), seed=3),
        Task(variant(epochs=2), seed=3),
    ],
    ids=["seed", "rate", "network", "epochs"],
)
def test_trials_of_other_runs_are_not_read(task):
    assert KeptTrials(FOLDER, **MEASURES).read(task) is None


@pytest.mark.usefixtures("kept")
def test_studies_share_trials_whatever_they_call_the_variant():
    assert KeptTrials(FOLDER, **MEASURES).read(Task(variant(label="B"), seed=3)) == KEPT
