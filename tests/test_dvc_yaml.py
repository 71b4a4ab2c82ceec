"""dvc.yaml against the code, and what DVC takes for changed."""

import os
import shutil
from pathlib import Path

import grimp
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.runs.code import TRAINING_CODE, code_sha256
from pipeline.studies.kept_trials import MEASURING_CODE

PACKAGE = Path("pipeline").resolve()
NETWORK = str(Path("networks/dense.py").resolve())
STAGES = {
    name: stage.get("do", stage)
    for path in ("dvc.yaml", "studies/dvc.yaml")
    for name, stage in YAML(typ="safe").load(Path(path))["stages"].items()
}
# What a stage is made of is what its module imports. Commands, and what else stands around a stage,
# only wire it.
MODULES = {
    "download": "datasets.download",
    "prepare": "datasets.prepare",
    "train": "training.train_variant",
    "evaluate": "evaluation.evaluate",
    "compare": "reporting.compare",
    "track": "tracking.track",
    "study": "studies.run",
    # Studies that follow their runs have another output, and the same code.
    "followed": "studies.run",
    "gallery": "studies.gallery",
}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("pipeline", exclude_type_checking_imports=True, cache_dir=None)


def place(module):
    """A module's folder, or its file where it lies in none."""
    _, room, *rest = module.split(".")
    return f"pipeline/{room}" if rest or (PACKAGE / room).is_dir() else f"pipeline/{room}.py"


# Each process begins with it, whatever it imports.
FIRST = "pipeline/portable.py"


def code_of(stage):
    return {one for one in STAGES[stage]["deps"] if one.startswith("pipeline/")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_folders_that_it_imports_from_and_on_no_other(stage, graph):
    module = f"pipeline.{MODULES[stage]}"
    imported = {module, *graph.find_upstream_modules(module)} - {"pipeline"}
    needed = {place(one) for one in imported} | {FIRST}
    missing, superfluous = needed - code_of(stage), code_of(stage) - needed
    assert (missing, superfluous) == (set(), set())


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_listed_in_order_and_once(stage):
    assert STAGES[stage]["deps"] == sorted(set(STAGES[stage]["deps"]))


def test_what_decides_a_run_is_what_train_depends_on():
    assert {f"pipeline/{one}" for one in TRAINING_CODE} == code_of("train")


def test_what_decides_a_trial_is_the_code_that_measures_it(graph):
    module = "pipeline.studies.measures.trials"
    imported = {module, *graph.find_upstream_modules(module)} - {"pipeline", "pipeline.studies"}
    needed = {place(one).replace("/studies", "/studies/measures") for one in imported}
    # Beside it, what a fingerprint of training is always made of.
    ground = {"pipeline/errors.py", "pipeline/files.py", FIRST}
    assert {f"pipeline/{one}" for one in MEASURING_CODE} == needed | ground


def test_training_has_no_output_outside_the_run_cache():
    # An output with `cache: false` switches off the run cache: old values would train again.
    assert STAGES["train"]["outs"] == ["runs/${key}"]


def test_tracking_is_never_restored_instead_of_run():
    # Without outputs it would be skipped in a fresh clone, whose dvc.lock is up to date; a cached
    # one would be restored.
    assert STAGES["track"]["outs"] == [{"mlflow.tracked": {"cache": False}}]
    assert "/mlflow.tracked" in Path(".gitignore").read_text().splitlines()


MADE = (
    "data/raw/images", "data/prepared.npz", "runs/batch_norm/manifest.json",
    "runs/no_norm/manifest.json", "evaluation/batch_norm/test.csv", "reports/data.json",
    "reports/metrics/batch_norm.json", "reports/comparison.json", "reports/summary.json",
    "reports/report.md", "reports/report.html", "reports/curves/train.csv",
    "reports/curves/validation.csv", "reports/figures/curves.png", "reports/figures/samples.png",
    "reports/figures/paired_differences.png", "reports/figures/confusion.png",
    "reports/figures/divided_examples.png", "mlflow.tracked",
)  # fmt: skip
TRAIN = {"train@batch_norm", "train@no_norm"}
ALL = {"download", "prepare", "evaluate", "compare", "track"} | TRAIN


@pytest.fixture(scope="module")
def project_folder(tmp_path_factory):
    """The project's stages and code, with made-up outputs that DVC takes for up to date."""
    folder = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree("pipeline", folder / "pipeline", ignore=ignored)
    shutil.copytree("networks", folder / "networks", ignore=ignored)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(name, folder)
    for name in MADE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with Repo.init(no_scm=True) as repo:
            repo.commit(force=True)
    return folder


@pytest.fixture
def changed(project_folder, monkeypatch):
    """Returns which stages DVC takes for changed, but those whose own outputs were edited."""
    monkeypatch.chdir(project_folder)
    before = {}

    def status(*names, edit=lambda text: f"{text}\n# edited\n"):
        for name in map(Path, names):
            before[name] = name.read_text()
            name.write_text(edit(before[name]))
        with Repo() as repo:
            told = repo.status()
        return {
            stage
            for stage, how in told.items()
            if any("changed deps" in one for one in how if isinstance(one, dict))
        }

    yield status
    for name, text in before.items():
        name.write_text(text)


def test_nothing_has_changed(changed):
    assert changed() == set()


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("dataset: mnist", "dataset: digits", {"download", "prepare", "compare"}),
        ("validation_size: 5000", "validation_size: 4000", {"prepare", "compare"}),
        ("activation: relu", "activation: tanh", TRAIN | {"compare"}),
        ("epochs: 10", "epochs: 9", TRAIN | {"compare"}),
        ("learning_rate: 0.01", "learning_rate: 0.02", TRAIN | {"compare"}),
        ("seeds: 10", "seeds: 11", TRAIN | {"evaluate", "compare"}),
        ("momentum: 0.99", "momentum: 0.9", {"train@batch_norm", "evaluate", "compare"}),
        ("label: Without BN", "label: No BN", {"train@no_norm", "evaluate", "compare"}),
        ("confidence: 0.95", "confidence: 0.9", {"compare"}),
        ("experiment: mnist-batch-norm", "experiment: other", {"track"}),
    ],
)
def test_a_parameter_runs_the_stages_that_read_it(changed, old, new, stages):
    def edit(text):
        assert text.count(old) == 1
        return text.replace(old, new)

    assert changed("params.yaml", edit=edit) == stages


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("data/raw/images", {"prepare"}),
        ("data/prepared.npz", TRAIN | {"evaluate", "compare", "track"}),
        ("runs/batch_norm/manifest.json", {"evaluate", "compare", "track"}),
        ("evaluation/batch_norm/test.csv", {"compare", "track"}),
        ("reports/comparison.json", {"track"}),
        ("reports/report.md", {"track"}),
        ("networks/dense.py", TRAIN),
        ("networks/conv.py", set()),
        ("pipeline/errors.py", ALL),
        ("pipeline/files.py", ALL),
        ("pipeline/params.py", ALL),
        ("pipeline/datasets/mirrors.py", {"download", "prepare"}),
        ("pipeline/examples/prepared.py", ALL - {"download"}),
        ("pipeline/training/batches.py", TRAIN | {"evaluate"}),
        ("pipeline/training/normalization.py", TRAIN | {"evaluate"}),
        ("pipeline/runs/models.py", TRAIN | {"evaluate", "compare", "track"}),
        ("pipeline/evaluation/scores.py", {"evaluate", "compare", "track"}),
        ("pipeline/comparison/statistics.py", {"compare"}),
        ("pipeline/reporting/templates/report.js", {"compare"}),
        ("pipeline/tracking/experiment_pages.py", {"track"}),
        ("pipeline/provenance/lineage.py", {"track"}),
        ("pipeline/cli.py", set()),
        ("pipeline/commands/train.py", set()),
        ("pipeline/studies/report.py", set()),
        ("pipeline/execution/checkpoints.py", set()),
    ],
)
def test_a_file_runs_the_stages_that_read_it(changed, name, stages):
    assert changed(name) == stages


OWN = """data:
  dataset: file
  path: {}
  validation_size: 60
  test_size: 100
  split_seed: 0
"""


def test_files_of_ones_own_are_prepared_again_when_they_change(project_folder, monkeypatch):
    monkeypatch.chdir(project_folder)
    shipped = Path("params.yaml").read_text()
    table = project_folder.parent / "own.csv"
    table.write_text("a,b")
    # Outside of the project, and at the place of a folder of pictures.
    Path("pictures/cat").mkdir(parents=True)
    Path("pictures/cat/a.png").write_text("a")
    for path, inside in ((table, table), (Path("pictures"), Path("pictures/cat/a.png"))):
        block = shipped[shipped.index("data:") : shipped.index("network:")]
        Path("params.yaml").write_text(shipped.replace(block, OWN.format(path)))
        with Repo() as repo:
            repo.commit("prepare", force=True)
            assert "prepare" not in repo.status()
        inside.write_text("changed")
        with Repo() as repo:
            assert repo.status()["prepare"] == [{"changed deps": {str(path): "modified"}}]
    Path("params.yaml").write_text(shipped)
    with Repo() as repo:
        repo.commit("prepare", force=True)


def test_bytecode_runs_nothing(changed):
    cache = Path("pipeline/training/__pycache__")
    cache.mkdir(exist_ok=True)
    (cache / "solver.cpython-311.pyc").write_bytes(os.urandom(8))
    assert changed() == set()


INSIDE = sorted(
    str(path.relative_to(PACKAGE))
    for one in TRAINING_CODE
    for path in [PACKAGE / one, *(PACKAGE / one).rglob("*.py")]
    if path.is_file()
)


def test_no_edit_outside_its_folders_trains_again(changed):
    outside = {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - {f"pipeline/{name}" for name in INSIDE}
    assert len(outside) > len(INSIDE)
    assert not changed(*outside) & TRAIN


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose code is hashed."""
    copy = tmp_path / "pipeline"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("pipeline.runs.code._PACKAGE", copy)
    return copy


@pytest.mark.parametrize("name", INSIDE)
def test_every_edit_inside_its_folders_changes_the_fingerprint(package, name):
    before = code_sha256(NETWORK)
    path = package / name
    path.write_text(f"{path.read_text()}\n# edited\n")
    assert code_sha256(NETWORK) != before


def test_the_file_of_the_network_is_part_of_the_fingerprint(tmp_path):
    copy = tmp_path / "copy.py"
    shutil.copy(NETWORK, copy)
    assert code_sha256(str(copy)) == code_sha256(NETWORK)
    copy.write_text(f"{copy.read_text()}\n# edited\n")
    assert code_sha256(str(copy)) != code_sha256(NETWORK)


def test_the_fingerprint_sees_a_file_that_is_new_or_has_another_name(package):
    hashes = [code_sha256(NETWORK)]
    (package / "training/new.py").touch()
    hashes.append(code_sha256(NETWORK))
    (package / "training/new.py").rename(package / "training/renamed.py")
    hashes.append(code_sha256(NETWORK))
    assert len(set(hashes)) == 3


def test_the_fingerprint_sees_neither_bytecode_nor_other_rooms(package):
    before = code_sha256(NETWORK)
    (package / "training/__pycache__").mkdir()
    (package / "training/__pycache__/solver.cpython-311.pyc").write_bytes(b"1")
    (package / "reporting/figures.py").write_text("")
    assert code_sha256(NETWORK) == before
