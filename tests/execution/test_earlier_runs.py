import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from dvc.repo import Repo

from pipeline.execution.earlier_runs import earlier_runs
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest
from pipeline.runs.tables import read_history, write_table
from pipeline.training.train_variant import write_runs
from pipeline.training.trainer import TrainedRun

DVC_YAML = """\
stages:
  train:
    foreach: ${variants}
    do:
      cmd: train ${key}
      params: [seeds]
      outs: ["runs/${key}"]
"""
EPOCHS = 2
THERE = Manifest(
    "bn", {"normalization": "batch", "training": {"epochs": EPOCHS}}, (0, 1), "da", "c0"
)
WANTED = replace(THERE, seeds=(0, 1, 2))
CACHE = Path(".dvc/cache/files/md5")


def trained(seed, model):
    """A run that diverged in its second epoch, and had a loss of many digits in its first."""
    rng = np.random.default_rng(seed)
    history = (
        EpochScores(seed, 0, Scores(1 / 3, 0.1), Scores(2.302585, 1.0)),
        EpochScores(seed, 1, Scores(float("inf"), 0.0), Scores(float("nan"), 0.25)),
    )
    weights = tuple(rng.random(weight.shape, np.float32) for weight in model.get_weights())
    return TrainedRun(seed, history, model.to_json(), weights)


def commit():
    """Has DVC put what is in the workspace in dvc.lock and its cache."""
    with Repo() as repo:
        repo.commit(force=True)


@pytest.fixture(scope="module")
def runs(model):
    return [trained(seed, model) for seed in THERE.seeds]


@pytest.fixture(scope="module")
def committed(tmp_path_factory, runs):
    """A DVC repository in which two runs were made."""
    folder = tmp_path_factory.mktemp("dvc")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("dvc.yaml").write_text(DVC_YAML)
        Path("params.yaml").write_text("seeds: 2\nvariants: {bn: {}}\n")
        write_runs(THERE, runs)
        Repo.init(no_scm=True).close()
        commit()
    return folder


@pytest.fixture
def stage(committed, project, monkeypatch):
    """A copy of it, of which DVC runs the stage for another seed."""
    shutil.copytree(committed, project, dirs_exist_ok=True)
    Path("params.yaml").write_text("seeds: 3\nvariants: {bn: {}}\n")
    monkeypatch.setenv("DVC_STAGE", "train@bn")
    shutil.rmtree("runs")
    return project


def found(manifest=WANTED):
    """Returns the seeds of the runs that need no training."""
    return sorted(earlier_runs(manifest))


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def cached(name, committed):
    """Returns the file of the cache with the content of one of the runs' files."""
    content = (committed / "runs/bn" / name).read_bytes()
    (path,) = [
        path for path in CACHE.glob("*/*") if path.is_file() and path.read_bytes() == content
    ]
    return path


@pytest.mark.usefixtures("stage")
def test_runs_made_from_the_same_are_those_that_were_made(runs):
    earlier = earlier_runs(WANTED)

    assert earlier.keys() == {0, 1}
    for run in runs:
        same = earlier[run.seed]
        assert same.seed == run.seed
        # As text, for nan is not itself.
        assert str(same.history) == str(run.history)
        assert same.architecture == run.architecture
        for weight, expected in zip(same.weights, run.weights, strict=True):
            np.testing.assert_array_equal(weight, expected)


def test_written_again_they_have_the_bytes_they_had(stage, committed, runs, model):
    earlier, new = earlier_runs(WANTED), trained(2, model)
    write_runs(WANTED, [earlier[0], earlier[1], new])
    together = files(stage / "runs")
    write_runs(WANTED, [*runs, new])

    assert together == files(stage / "runs")
    before = files(committed / "runs")
    assert len(before) == 6
    of_models = {name: content for name, content in before.items() if "seed-" in name}
    assert of_models.items() <= together.items()


@pytest.mark.usefixtures("stage")
def test_of_fewer_seeds_there_are_fewer():
    assert found(replace(WANTED, seeds=(1,))) == [1]


@pytest.mark.parametrize(
    "change",
    [
        {"code_sha256": "other"},
        {"data_sha256": "other"},
        {"parameters": {"normalization": "none", "training": {"epochs": EPOCHS}}},
        {"parameters": {"normalization": "batch", "training": {"epochs": EPOCHS + 1}}},
        {"variant": "no_norm"},
    ],
    ids=["code", "data", "normalization", "epochs", "variant"],
)
@pytest.mark.usefixtures("stage")
def test_runs_made_from_anything_else_do_not_count(change):
    assert found(replace(WANTED, **change)) == []


@pytest.mark.usefixtures("stage")
def test_by_hand_there_are_none(monkeypatch):
    monkeypatch.delenv("DVC_STAGE")
    assert found() == []


@pytest.mark.parametrize("name", ["seed-01/model.weights.h5", "manifest.json", "history.csv"])
@pytest.mark.parametrize("damage", ["missing", "flipped"])
@pytest.mark.usefixtures("stage")
def test_what_is_not_whole_in_the_cache_does_not_count(committed, runs, name, damage):
    path = cached(name, committed)
    path.chmod(0o644)
    if damage == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        weights = content.find(runs[1].weights[0].tobytes())
        # In a weight, or in the last digit of the history: both can still be read.
        content[weights if weights > 0 else -2] ^= 1
        path.write_bytes(content)

    # The other two are of all runs.
    assert found() == ([0] if name.startswith("seed") else [])


@pytest.mark.usefixtures("stage")
def test_without_a_listing_in_the_cache_there_are_none():
    (listing,) = CACHE.glob("*/*.dir")
    listing.unlink()
    assert found() == []


@pytest.mark.usefixtures("stage")
def test_an_index_that_dvc_cannot_open_ends_no_training():
    with Repo() as repo:
        index = Path(repo.site_cache_dir, "index/data/db.db")
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_bytes(b"no database" * 100)
    assert found() == []


@pytest.mark.usefixtures("stage")
def test_what_is_missing_is_not_fetched_from_a_remote(committed, tmp_path_factory):
    remote = tmp_path_factory.mktemp("remote")
    shutil.copytree(CACHE, remote / "files/md5")
    Path(".dvc/config").write_text(
        f"[core]\n    no_scm = True\n    remote = r\n['remote \"r\"']\n    url = {remote}\n"
    )
    cached("seed-01/model.weights.h5", committed).unlink()
    assert found() == [0]


@pytest.mark.usefixtures("stage")
def test_a_run_without_all_its_epochs_does_not_count(runs):
    write_runs(THERE, runs)
    history = read_history("bn")
    last = (history["seed"] == 1) & (history["epoch"] == EPOCHS - 1)
    write_table(Path("runs/bn/history.csv"), history[~last])
    commit()
    shutil.rmtree("runs")
    assert found() == [0]


@pytest.mark.parametrize(("patience", "ended"), [(1, [0, 1]), (2, [1])])
@pytest.mark.usefixtures("stage")
def test_a_run_that_early_stopping_ended_is_whole(model, patience, ended):
    stopping = {"epochs": 9, "early_stopping": {"monitor": "loss", "patience": patience}}
    there = replace(THERE, parameters={"normalization": "batch", "training": stopping})
    # The loss on the validation set improves up to the second epoch, or to the first.
    runs = [
        replace(
            trained(seed, model),
            history=tuple(
                EpochScores(seed, epoch, Scores(1.0, 0.5), Scores(loss, 0.5))
                for epoch, loss in enumerate(losses)
            ),
        )
        for seed, losses in enumerate([(0.9, 0.5, 0.8), (0.5, 0.9, 0.8)])
    ]
    write_runs(there, runs)
    commit()
    shutil.rmtree("runs")
    assert found(replace(there, seeds=(0, 1, 2))) == ended


@pytest.mark.usefixtures("stage")
def test_before_the_first_training_there_are_none():
    Path("dvc.lock").unlink()
    assert found() == []


def test_without_a_repository_of_dvc_there_are_none(project, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "train@bn")
    assert found() == []
    assert not list(project.iterdir())


@pytest.mark.usefixtures("stage")
def test_weights_of_another_network_do_not_count(runs):
    other = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3)])
    write_runs(
        THERE,
        [
            runs[0],
            replace(runs[1], architecture=other.to_json(), weights=tuple(other.get_weights())),
        ],
    )
    shutil.copy("runs/bn/seed-00/model.weights.h5", "runs/bn/seed-01/model.weights.h5")
    commit()
    shutil.rmtree("runs")
    assert found() == [0]
