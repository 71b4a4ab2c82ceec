"""dvc.yaml against the code: what a stage imports is what it depends on."""

from pathlib import Path

import grimp
import pytest
from ruamel.yaml import YAML

STAGES = {
    name: stage
    for path in ("dvc.yaml", "studies/dvc.yaml")
    for name, stage in YAML(typ="safe").load(Path(path))["stages"].items()
}
# A variant reaches training as a value, its layer with it.
ALSO_NEEDED = {
    "train": {"pipeline/core/normalization.py"},
    "study": {"pipeline/core/normalization.py"},
    "followed": {"pipeline/core/normalization.py"},
    "compare": {"pipeline/core/templates"},
    "track": {"pipeline/adapters/served_model.py"},
}


# Studies that follow their runs have another output, and the same code.
MODULES = {"followed": "study"}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("pipeline", exclude_type_checking_imports=True, cache_dir=None)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_the_code_that_it_imports(stage, graph):
    module = f"pipeline.stages.{MODULES.get(stage, stage)}"
    imported = {module, *graph.find_upstream_modules(module)}
    definition = STAGES[stage].get("do", STAGES[stage])
    code = {dependency for dependency in definition["deps"] if dependency.startswith("pipeline/")}
    assert code == {f"{name.replace('.', '/')}.py" for name in imported} | ALSO_NEEDED.get(
        stage, set()
    )


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_listed_in_order_and_once(stage):
    definition = STAGES[stage].get("do", STAGES[stage])
    assert definition["deps"] == sorted(set(definition["deps"]))


def test_training_has_no_output_outside_the_run_cache():
    # An output with `cache: false` switches off the run cache: old values would train again.
    assert STAGES["train"]["do"]["outs"] == ["runs/${key}"]


def test_tracking_is_never_restored_instead_of_run():
    # Without outputs it would be skipped in a fresh clone, whose dvc.lock is up to date; a cached
    # one would be restored.
    assert STAGES["track"]["outs"] == [{"mlflow.tracked": {"cache": False}}]
    assert "/mlflow.tracked" in Path(".gitignore").read_text().splitlines()
