import shutil
from pathlib import Path

import grimp
import pytest

import pipeline
from pipeline.adapters import provenance

PACKAGE = Path(pipeline.__file__).parent


def closure(*roots):
    """Returns the files of modules and of all that they import."""
    graph = grimp.build_graph("pipeline", exclude_type_checking_imports=True, cache_dir=None)
    modules = {*roots}.union(*(graph.find_upstream_modules(root) for root in roots))
    files = {f"{module.replace('.', '/')}.py".removeprefix("pipeline/") for module in modules}
    return {name for name in files if (PACKAGE / name).is_file()}


def test_training_modules_are_the_import_closure_of_training():
    roots = "pipeline.core.replicates", "pipeline.core.normalization"

    assert closure(*roots) == set(provenance.TRAINING_MODULES)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package whose code is hashed."""
    copy = tmp_path / "pipeline"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_PACKAGE", copy)
    return copy


@pytest.mark.parametrize("name", provenance.TRAINING_MODULES)
def test_the_code_hash_sees_each_training_module(package, name):
    before = provenance.training_code_sha256()

    (package / name).write_text((package / name).read_text() + "\n# edited\n")

    assert provenance.training_code_sha256() != before


def test_the_code_hash_sees_nothing_else(package):
    before = provenance.training_code_sha256()

    (package / "core" / "figures.py").write_text("")
    (package / "stages" / "train.py").write_text("")

    assert provenance.training_code_sha256() == before


def edited(package, name):
    """Returns the hash of the code that measures runs, without probes and with, once `name` is."""
    before = (package / name).read_text()
    (package / name).write_text(before + "\n# edited\n")
    hashes = [provenance.measuring_code_sha256(probed=probed) for probed in (False, True)]
    (package / name).write_text(before)
    return hashes


def test_the_hash_of_measuring_code_sees_all_that_a_studys_run_imports(package):
    plain, probed = (provenance.measuring_code_sha256(probed=one) for one in (False, True))
    probing = {"core/attacks.py", "core/gradients.py", "core/probes.py"}

    for name in closure("pipeline.core.trials", "pipeline.core.normalization"):
        without, with_probes = edited(package, name)
        assert with_probes != probed, name
        assert (without == plain) is (name in probing), name
    assert edited(package, "core/study_report.py") == [plain, probed]


def test_the_root_is_the_current_folder(project):
    assert provenance.project_root() == project


@pytest.mark.usefixtures("project")
def test_the_root_is_where_dvc_says(monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/elsewhere/checkout")

    assert provenance.project_root() == Path("/elsewhere/checkout")
    assert provenance.tracking_uri() == "sqlite:////elsewhere/checkout/mlflow.db"


def test_runs_are_tracked_in_the_root_unless_told_otherwise(project, monkeypatch):
    assert provenance.tracking_uri() == f"sqlite:///{project}/mlflow.db"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert provenance.tracking_uri() == f"sqlite:///{project}/mlflow.db"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert provenance.tracking_uri() == "http://127.0.0.1:5000"
