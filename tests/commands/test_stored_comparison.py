"""`bnlab compare --runs`: its options, and what it can do without."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline.commands.stored_comparison import _stem
from pipeline.designs.asked import Asked

CHECKOUT = Path(__file__).parents[2]
IMPORTED_AS = {
    "scikit-learn": "sklearn", "vl-convert-python": "vl_convert", "ruamel.yaml": "ruamel",
    "ruamel.yaml.clib": "ruamel",
}  # fmt: skip
# In the extra, and brought by mlflow-skinny too; MLflow as a whole is known by what it brings.
BY_OTHERS = {"mlflow", "packaging", "pydantic", "requests", "urllib3"}
OF_MLFLOW = {"alembic", "docker", "flask", "graphene", "huey", "skops"}


def of_the_extra():
    """What is imported of packages that only the extra `pipeline` brings."""
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    names = [re.match(r"[\w.-]+", one)[0] for one in extras["optional-dependencies"]["pipeline"]]
    return {IMPORTED_AS.get(name, name) for name in names if name not in BY_OTHERS}


EXPERIMENT = {"artifact_location": "mlruns", "lifecycle_stage": "active"}
BLOCKED = sorted(of_the_extra() | OF_MLFLOW | {"git"})


@pytest.fixture
def light(tmp_path):
    """Runs the command in an empty folder where nothing of the extra can be imported."""

    def run(*arguments, blocked=()):
        program = (
            f"import sys; sys.modules.update(dict.fromkeys({[*BLOCKED, *blocked]}))\n"
            "from pipeline.cli import main; main()"
        )
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(CHECKOUT)}, check=False,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


@pytest.fixture
def store(tmp_path_factory):
    """A store of two settings with seven seeds each, of which the second is better."""
    top = tmp_path_factory.mktemp("store") / "mlruns"
    write(
        top / "1" / "meta.yaml", yaml.safe_dump(EXPERIMENT | {"experiment_id": "1", "name": "one"})
    )
    for number in range(14):
        seed, momentum = divmod(number, 2)
        run = top / "1" / f"{number:032x}"
        meta = {"run_id": run.name, "experiment_id": "1", "status": 3, "start_time": number}
        write(run / "meta.yaml", yaml.safe_dump(meta))
        write(run / "params" / "seed", str(seed))
        write(run / "params" / "momentum", f"0.{momentum}")
        write(run / "metrics" / "accuracy", f"1 {0.8 + 0.01 * momentum + 0.001 * seed**2} 0\n")
    return top


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("where", [[], ["--where", "params.momentum LIKE '0%'"]])
def test_it_needs_no_project_and_nothing_of_the_extra(light, store, tmp_path, where):
    blocked = ["pipeline.params", "pipeline.params_file"]
    ended = light("compare", "--runs", str(store), *where, blocked=blocked)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "momentum" in ended.stdout
    drawn = tmp_path / "comparisons" / f"{store.parent.name}-mlruns-accuracy.png"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [drawn]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "doctor", "params", "track"])
def test_a_command_of_the_pipeline_says_which_extra_it_lacks(light, name):
    ended = light(name)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "pip install '.[pipeline]'" in line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--where", "x"], "--where can be used with --runs only"),
        (["a", "b", "--by", "lr", "--at", "3"], "--at, --by can be used with --runs only"),
        (["--html", "a.html", "--log"], "--html, --log can be used with --runs only"),
        (["--larger-is-better"], "--smaller-is-better/--larger-is-better can be used with --runs"),
        (["--experiment", "1"], "--experiment can be used with --runs only"),
        (["--runs", "mlruns", "a"], "--runs excludes names, --since and --measure"),
        (["--runs", "mlruns", "--measure", "loss"], "--runs excludes names"),
        (["--runs", "mlruns", "--json", "--md"], "--json and --md exclude each other"),
        (["--runs", "mlruns", "--at", "first"], "'first' is neither last, best or mean, nor a"),
        (["--runs", "mlruns", "--confidence", "95"], "95.0 is not in the range 0<x<1"),
    ],
)
def test_options_that_do_not_go_together(command, arguments, told):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert told in err.splitlines()[-1]


def test_a_store_that_is_not_there_is_told_in_a_line(command):
    code, out, err = command("--runs", "mlrun")
    assert (code, out) == (66, "")
    assert err.startswith("error: there is no mlrun; a store is ")
    assert len(err.splitlines()) == 1


def test_json(command, store):
    code, out, err = command("--runs", str(store), "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert (record["answer"], record["page"], record["logged"]) == ("paired", None, None)
    assert Path(record["figure"]).read_bytes().startswith(b"\x89PNG")


def test_each_store_and_question_has_a_figure_of_its_own(command, store):
    out = command("--runs", str(store))[1]
    (name,) = re.findall(r"^Figure: comparisons/(\S+)\.png$", out, re.MULTILINE)
    assert name.startswith(f"{store.parent.name}-{store.stem}-")
    asked = command("--runs", str(store), "--by", "seed")[1]
    assert f"Figure: comparisons/{name}-seed.png" in asked


def test_figure_and_page_go_where_they_are_wanted(command, store, tmp_path):
    code, out, err = command(
        "--runs",
        str(store),
        "--figure",
        str(tmp_path / "a.png"),
        "--html",
        str(tmp_path / "a.html"),
    )
    assert (code, err) == (0, "")
    assert f"Figure: {tmp_path / 'a.png'}" in out
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    encoded = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    assert f"data:image/png;base64,{encoded}" in page
    headline = out.splitlines()[0]
    assert f"<h1>{headline}</h1>" in page


def test_what_is_logged_is_the_report_and_is_not_compared_in_turn(command, store, tmp_path):
    copied = shutil.copytree(store, tmp_path / "mlruns")
    code, out, err = command("--runs", str(copied), "--log")
    assert (code, err) == (0, "")
    (run,) = re.findall(r"Logged as run (\w+)", out)
    description = copied / "1" / run / "tags" / "mlflow.note.content"
    assert description.read_text(encoding="utf-8").startswith(f"## {out.splitlines()[0]}")
    assert yaml.safe_load((copied / "1" / run / "meta.yaml").read_text())["status"] == 3
    again = command("--runs", str(copied), "--experiment", "1")[1]
    assert again.splitlines()[0] == out.splitlines()[0]
    assert "Left out: 1 without accuracy." in again


def test_a_comparison_of_several_experiments_is_logged_in_none(command, store, tmp_path):
    copied = shutil.copytree(store, tmp_path / "mlruns")
    shutil.copytree(copied / "1", copied / "2")
    write(
        copied / "2" / "meta.yaml",
        yaml.safe_dump(EXPERIMENT | {"experiment_id": "2", "name": "two"}),
    )
    for path in list((copied / "2").glob("*/meta.yaml")):
        meta = yaml.safe_load(path.read_text())
        own = {"experiment_id": "2", "run_id": f"2{path.parent.name[1:]}"}
        path.write_text(yaml.safe_dump(meta | own))
        path.parent.rename(path.parent.with_name(own["run_id"]))
    code, out, err = command("--runs", str(copied), "--log")
    assert (code, out) == (2, "")
    assert err == (
        "error: --log needs one experiment, and there are runs of 2: choose with --experiment\n"
    )


def test_other_answers_about_the_same_runs_have_pictures_of_their_own():
    asked = [
        Asked(),
        Asked(by=("model",)),
        Asked(pair_by=("model",)),
        Asked(against="model"),
        Asked(at="best"),
    ]
    assert [_stem("here/mlruns", "f1", one) for one in asked] == [
        "here-mlruns-f1",
        "here-mlruns-f1-model",
        "here-mlruns-f1-by-model",
        "here-mlruns-f1-against-model",
        "here-mlruns-f1-best",
    ]
