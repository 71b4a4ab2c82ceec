import dataclasses
import importlib
import json
import os
import re
import secrets
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

from pipeline import cli
from pipeline.commands import lean_tensorflow, ui
from pipeline.datasets.catalogue import DATASETS
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.tracking.experiment_pages import of_runs
from pipeline.tracking.store import RunRecord, Store
from tests.faults.mirror import answer
from tests.faults.servers import free_port
from tests.networks import DENSE, PARAMS

CHECKOUT = Path(__file__).parents[1]
COMMANDS = [
    "compare", "demo", "doctor", "download", "evaluate", "gallery", "params", "predict",
    "prepare", "promote", "reproduce", "settle", "study", "track", "train", "ui",
]  # fmt: skip
SET_BY_THE_UI = (
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_BACKEND_STORE_URI",
    "PYTHONWARNINGS",
)  # fmt: skip
HEAVY = {
    "PIL", "keras", "matplotlib", "mlflow", "numpy", "pandas", "scipy", "sklearn", "tensorflow",
}  # fmt: skip


@pytest.fixture
def start(project):
    """Runs `python -m pipeline` in a project that has only params.yaml, stand-ins first."""
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")

    def run(*arguments, before=CHECKOUT, python=sys.executable, **variables):
        environment = os.environ | {"PYTHONPATH": f"{before}{os.pathsep}{CHECKOUT}"} | variables
        return subprocess.run(
            [python, "-m", "pipeline", *arguments],
            check=False, capture_output=True, text=True, env=environment, timeout=60,
        )  # fmt: skip

    return run


@pytest.fixture
def no_tensorflow(tmp_path_factory):
    """A folder whose `tensorflow` raises when it is imported."""
    folder = tmp_path_factory.mktemp("stand-ins")
    (folder / "tensorflow.py").write_text("raise RuntimeError('TensorFlow was imported')\n")
    return folder


def files(folder):
    return {path.name for path in folder.rglob("*")}


def one_line(ended):
    """Returns the only line on stderr, which is an error; stdout is empty."""
    (line,) = ended.stderr.splitlines()
    assert ended.stdout == ""
    assert line.startswith("error: ")
    return line


def test_help_lists_every_command():
    told = CliRunner().invoke(cli.pipeline, ["--help"]).output

    listed = told.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == COMMANDS
    assert all(len(line.split()) > 3 for line in listed)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example_on_a_line_of_its_own(command):
    told = CliRunner().invoke(cli.pipeline, [command, "-h"]).output

    assert re.search(
        rf"^ *Examples?:\n +(\w+=\S+ )?python -m pipeline {command}\b", told, re.MULTILINE
    )
    assert r"\b" not in told


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from pipeline.cli import pipeline\n"
        f"for command in [], *[[name] for name in {COMMANDS}]:\n"
        "    pipeline([*command, '--help'], standalone_mode=False)\n"
        f"print(sorted({HEAVY} & sys.modules.keys()))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )

    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("epochs: 10", "epochs: 0", "`epochs` must be greater than or equal to 1, got 0"),
        ("epochs: 10", "epochs: ten", "`epochs` must be"),
        ("learning_rate: 0.01", "learning_rate: -1", "`learning_rate` must be greater than 0"),
        ("activation: relu", "activation: rely", "got 'rely'"),
        ("epochs: 10", "epochs: 10\n  epoch: 10", "`epoch` is not a known key"),
        ("candidate: batch_norm", "candidate: bn", "`candidate` must be one of"),
        ("epochs: 10", "epochs: [10", "params.yaml, line"),
    ],
)
def test_bad_parameters_end_training_before_anything_starts(
    start, project, no_tensorflow, old, new, told
):
    (project / "params.yaml").write_text(PARAMS.replace(old, new), encoding="utf-8")

    ended = start("train", "batch_norm", before=no_tensorflow)

    assert ended.returncode == 2
    assert told in one_line(ended)
    assert files(project) == {"params.yaml"}


def test_good_parameters_do_load_tensorflow(start, no_tensorflow):
    ended = start("train", "batch_norm", before=no_tensorflow)

    assert "TensorFlow was imported" in ended.stderr


@pytest.mark.parametrize(
    "command",
    ["compare", "download", "evaluate", "params", "prepare", "promote", "track"],
)
def test_every_stage_reads_the_parameters_first(start, project, command):
    (project / "params.yaml").write_text("data: {}\n")

    ended = start(command)

    assert ended.returncode == 2
    assert "`network` is missing (params.yaml, top level)" in one_line(ended)
    assert files(project) == {"params.yaml"}


def test_predict_reads_the_parameters_first(start, project):
    (project / "params.yaml").write_text("data: {}\n")

    ended = start("predict", "digit.png")

    assert ended.returncode == 2
    assert "`network` is missing" in one_line(ended)


def test_outside_a_project_the_error_says_where_to_run(start, project):
    (project / "params.yaml").unlink()

    ended = start("params")

    assert ended.returncode == 2
    assert one_line(ended) == "error: params.yaml is not here: run from the project's root"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "bn"], "'bn' is not in params.yaml, which has batch_norm, no_norm"),
        (["train"], "Missing argument 'VARIANT'"),
        (["train", "batch_norm", "--workers", "0"], "'--workers': 0 is not in the range x>=1"),
        (["ui", "--port", "70000"], "'--port': 70000 is not in the range"),
        (["fit"], "No such command 'fit'"),
    ],
)
def test_wrong_usage_ends_in_an_error_without_traceback(start, no_tensorflow, arguments, told):
    ended = start(*arguments, before=no_tensorflow)

    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


def test_wrong_workers_in_the_environment_are_reported(start, no_tensorflow):
    ended = start("train", "batch_norm", before=no_tensorflow, BNLAB_WORKERS="many")

    assert ended.returncode == 2
    assert "'many' is not a valid integer" in ended.stderr


@pytest.mark.usefixtures("project")
def test_a_forgotten_environment_is_to_be_activated():
    assert "make setup" in cli._remedy()

    Path(".venv").mkdir()
    assert "source .venv/bin/activate" in cli._remedy()

    Path(".venv").rmdir()
    Path(".venv").symlink_to(sys.prefix)
    assert "make setup" in cli._remedy()


def test_params_prints_what_each_variant_trains_with(start):
    ended = start("params")

    assert ended.returncode == 0
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "batch_norm (With BN)",
        "  normalization: batch",
        "  momentum: 0.99",
        "  epsilon: 0.001",
        "  center: True",
        "  scale: True",
        f"  network.code: {DENSE}",
        "  network.hidden_dims: [32, 32]",
        "  network.activation: relu",
        "  training.epochs: 10",
        "  training.batch_size: 32",
        "  training.optimizer.name: adam",
        "  training.optimizer.learning_rate: 0.01",
        "  training.optimizer.epsilon: 1e-08",
        "  seeds: 10",
        "no_norm (Without BN)",
        "  normalization: none",
        f"  network.code: {DENSE}",
        "  network.hidden_dims: [32, 32]",
        "  network.activation: relu",
        "  training.epochs: 10",
        "  training.batch_size: 32",
        "  training.optimizer.name: adam",
        "  training.optimizer.learning_rate: 0.01",
        "  training.optimizer.epsilon: 1e-08",
        "  seeds: 10",
        "A verdict takes at least 6 seeds, 8 in a grid of 4 experiments and 10 in one of 16.",
    ]


def few_seeds(project, seeds):
    few = PARAMS.replace("seeds: 10", f"seeds: {seeds}")
    (project / "params.yaml").write_text(few, encoding="utf-8")


def test_params_says_that_seeds_are_too_few(start, project):
    few_seeds(project, 5)

    told = start("params").stdout.splitlines()[-2]
    assert told == "5 pairs cannot give a verdict, whatever they show: that takes 6 seeds."


# It ends where there is no data, and has said this before.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        (5, ["With BN: 5 pairs cannot give a verdict, whatever they show: that takes 6 seeds."]),
        (6, []),
    ],
)
def test_train_says_beforehand_that_seeds_are_too_few(start, project, seeds, told):
    few_seeds(project, seeds)

    *said, error = start("train", "batch_norm").stderr.splitlines()
    assert error.startswith("error: data/prepared.npz is not here")
    assert said == told


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["", "--quick"])
def test_study_says_beforehand_that_seeds_are_too_few_unless_it_is_quick(start, project, scale):
    folder = project / "studies/notebook"
    folder.mkdir(parents=True)
    text = (CHECKOUT / "studies/notebook/study.yaml").read_text(encoding="utf-8")
    text = text.replace("networks/dense.py", DENSE).replace("  seeds: 30", "  seeds: 5")
    (folder / "study.yaml").write_text(text.replace("training.seeds: 6", "training.seeds: 4"))

    *said, error = start("study", "notebook", *filter(None, [scale])).stderr.splitlines()
    assert error.startswith("error: data/prepared.npz is not here")
    told = "notebook: 5 pairs cannot give a verdict, whatever they show: that takes 6 seeds."
    assert said == ([] if scale else [told])


@pytest.mark.slow
def test_train_says_nothing_of_seeds_where_settle_adds_them(start, project):
    few_seeds(project, 5)
    repeated = (project / "params.yaml").read_text().replace("looks: once", "looks: repeated")
    (project / "params.yaml").write_text(repeated, encoding="utf-8")

    one_line(start("train", "batch_norm"))


@pytest.fixture
def here():
    """Address of a server on this machine that answers every request with 204."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize("hosts", [{}, {"NO_PROXY": "a.lan"}, {"no_proxy": "*"}])
def test_a_proxy_does_not_come_between_us_and_a_server_on_this_machine(
    monkeypatch, here, name, hosts
):
    for variable in (*cli._PROXIES, "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    # Nobody answers there.
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    if not hosts:
        with pytest.raises(requests.exceptions.ProxyError):
            requests.get(here, timeout=10)
    for variable, value in hosts.items():
        monkeypatch.setenv(variable, value)

    cli._go_past_proxies(os.environ)

    assert requests.get(here, timeout=10).status_code == 204
    assert os.environ["no_proxy"].startswith("".join(hosts.values()))
    if hosts != {"no_proxy": "*"}:
        with pytest.raises(requests.exceptions.ProxyError):
            requests.get("http://b.lan", timeout=10)


def test_without_a_proxy_nothing_is_set():
    environment = {}
    cli._go_past_proxies(environment)
    assert environment == {}


def test_on_a_safe_path_the_environment_finds_this_project_and_nothing_else(tmp_path):
    printed = subprocess.run(
        ["make", "-pn", "help"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    ).stdout
    (line,) = re.findall(r"^FIND_PIPELINE := (.*)$", printed, re.MULTILINE)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    for name in ("pipeline", "secrets", "tests"):
        (tmp_path / f"{name}.py").write_text("import secrets; print(__name__, secrets.__file__)")

    def run(module):
        # Python's own module comes first, though this folder has one of its name.
        ended = subprocess.run(
            [tmp_path / "venv/bin/python", "-m", module],
            cwd=tmp_path, env={"PYTHONSAFEPATH": "1"}, check=False, capture_output=True, text=True,
        )  # fmt: skip
        return ended.stdout.split() or ended.stderr.rpartition(": ")[2].strip()

    assert run("pipeline") == "No module named pipeline"
    (packages / "find_pipeline.pth").write_text(f"{line}\n")
    name, file = run("pipeline")
    assert (name, file) == ("__main__", secrets.__file__)
    assert run("tests") == "No module named tests"


def test_predict_loads_no_model_where_no_file_is_of_use(start, project, no_tensorflow):
    (project / "notes.txt").write_text("no picture")
    write_prepared(PREPARED_FILE, TINY)

    ended = start("predict", "notes.txt", before=no_tensorflow)

    assert ended.returncode == 65
    assert one_line(ended).startswith("error: notes.txt is neither a picture (PNG, ")


def test_predict_without_runs_says_which_command_makes_them(start, project, python_at_once):
    (project / "digit.pgm").write_bytes(b"P5 3 3 255\n" + bytes([0, 0, 0, 0, 255, 0, 0, 0, 0]))

    for missing in ("data/prepared.npz", "runs/batch_norm/manifest.json"):
        ended = start("predict", "digit.pgm", python=python_at_once)

        assert ended.returncode == 66
        assert one_line(ended) == f"error: {missing} is not here: `dvc repro` makes it"
        write_prepared(PREPARED_FILE, TINY)


def test_prepare_names_the_damaged_file(start, project):
    (project / "data" / "raw").mkdir(parents=True)
    (project / "data" / "raw" / "train-images-idx3-ubyte").write_text("<html>")

    ended = start("prepare")

    assert ended.returncode == 65
    assert "train-images-idx3-ubyte is damaged" in one_line(ended)
    assert files(project) == {"params.yaml", "data", "raw", "train-images-idx3-ubyte"}


def test_prepare_names_the_missing_file(start, project):
    ended = start("prepare")

    assert ended.returncode == 66
    assert one_line(ended) == (
        "error: data/raw/train-images-idx3-ubyte is not here: `dvc repro` makes it"
    )
    assert files(project) == {"params.yaml"}


_FEW = Examples(np.zeros((2, 3, 3), np.uint8), np.uint8([0, 1]))
TINY = Dataset(_FEW, _FEW, _FEW, ("a", "b"))
DIGITS = PARAMS.replace("dataset: mnist ", "dataset: digits ").replace(": 5000", ": 200")


def test_download_takes_the_digits_from_scikit_learn(start, project):
    (project / "params.yaml").write_text(DIGITS, encoding="utf-8")

    ended = start("download")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert files(project / "data") == {"raw", "digits.csv"}


def test_a_folder_that_cannot_be_made_is_reported(start, project):
    (project / "params.yaml").write_text(DIGITS, encoding="utf-8")
    (project / "data").write_text("I am a file")

    ended = start("download")

    assert ended.returncode == 73
    assert "data/raw/digits.csv cannot be written" in one_line(ended)


def run_main(monkeypatch, *arguments):
    """Runs `main` in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.fixture
def offline(project, monkeypatch):
    """A project whose only source is that of MNIST_MIRROR, an empty folder."""
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (project / "empty").mkdir()
    monkeypatch.setenv("MNIST_MIRROR", "empty")
    monkeypatch.setitem(
        DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], mirrors=lambda: (), packages=())
    )
    return project


def test_without_any_mirror_download_shows_both_ways_out(offline, monkeypatch, capsys):
    assert run_main(monkeypatch, "download") == 69

    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: train-images-idx3-ubyte from empty: No such file")
    assert "Set MNIST_MIRROR to a folder or URL that has it" in told
    assert "`make demo`" in told
    assert not list(offline.glob("data/raw/*"))


def test_download_says_that_a_file_of_ones_own_needs_none(project, monkeypatch, capsys):
    (project / "params.yaml").write_text(
        PARAMS.replace("dataset: mnist ", "dataset: file ")
        .replace("path: data/raw ", "path: my.csv ")
        .replace("  validation_size", "  split_seed: 0\n  validation_size"),
        encoding="utf-8",
    )

    assert run_main(monkeypatch, "download") == 0

    assert capsys.readouterr().out == "Nothing to download: the data is a file of yours\n"
    assert list((project / "data/raw").iterdir()) == []


@pytest.fixture
def serving(monkeypatch):
    """Has another function stand in for MLflow's server, which answers at once."""
    for name in SET_BY_THE_UI:
        monkeypatch.setenv(name, "to be put back")
    monkeypatch.setattr(ui, "_answers", lambda _: True)
    return lambda serve: monkeypatch.setattr(ui, "_serve", serve)


def test_nothing_is_announced_of_a_server_that_does_not_start(capsys):
    with pytest.raises(SystemExit), ui._announced([("Runs", "#/runs")], free_port()):
        sys.exit(1)

    assert capsys.readouterr().out == ""


def test_pages_are_announced_when_the_server_answers(serve, capsys):
    # Not while it starts.
    mirror = serve(answer(b"", 503), answer(b"OK"))
    port = mirror.server_port

    with ui._announced([("Runs", "#/runs")], port):
        until = time.monotonic() + 60
        while len(mirror.asked) < 2 and time.monotonic() < until:
            time.sleep(0.05)

    assert capsys.readouterr().out == f"Runs            http://127.0.0.1:{port}/#/runs\n"


def test_the_ui_is_served_to_this_machine_alone(project, monkeypatch, serving):
    called = []
    serving(called.extend)

    assert run_main(monkeypatch, "ui", "--port", "5001") == 0

    assert called[0] == "ui"
    options = dict(zip(called[1::2], called[2::2], strict=True))
    assert options == {
        "--workers": "1",
        "--host": "127.0.0.1",
        "--port": "5001",
        "--uvicorn-opts": "--no-access-log",
    }
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{project}/mlflow.db"
    assert os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_the_ui_says_where_to_look(tracked_project, monkeypatch, capsys, serving):
    serving(lambda _: None)
    (tracked_project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    assert run_main(monkeypatch, "ui") == 0
    assert capsys.readouterr().out == ""

    store = Store("mnist-batch-norm")
    number = store.open(RunRecord("f", "r")).info.experiment_id
    assert run_main(monkeypatch, "ui") == 0
    # As an earlier version left it, without views.
    assert capsys.readouterr().out == ""

    Store("mnist-batch-norm", of_runs)
    assert run_main(monkeypatch, "ui", "--port", "5001") == 0

    shown = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    runs = f"http://127.0.0.1:5001/#/experiments/{number}/runs?workflowType=machine_learning"
    assert shown == {
        "Runs": f"{runs}&viewStateShareKey=table",
        "Learning curves": f"{runs}&compareRunsMode=CHART&viewStateShareKey=curves",
    }
    MlflowClient(f"sqlite:///{tracked_project}/mlflow.db").delete_experiment(number)
    assert run_main(monkeypatch, "ui") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_ui_starts_with_a_database_that_is_whole(project, monkeypatch, empty_store, serving):
    made = []

    def look(*_):
        with closing(sqlite3.connect(project / "mlflow.db")) as connection:
            made.extend(connection.execute("SELECT * FROM alembic_version").fetchall())

    serving(look)

    assert run_main(monkeypatch, "ui") == 0

    with closing(sqlite3.connect(empty_store)) as connection:
        assert made == connection.execute("SELECT * FROM alembic_version").fetchall()


@pytest.mark.slow
def test_the_ui_says_what_to_do_about_a_database_that_is_half_made(
    start, leave_half_made, python_at_once
):
    leave_half_made("no revision")

    ended = start("ui", python=python_at_once)

    assert ended.returncode == 75
    assert ended.stdout == ""
    assert one_line(ended).endswith(": `python -m pipeline doctor --fix` sets it aside")


def test_a_password_of_the_store_is_not_among_the_arguments_of_the_ui(
    project, monkeypatch, serving
):
    uri = "postgresql://anna:hunter2@127.0.0.1/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr("pipeline.tracking.store._answering", lambda _: None)
    called = []
    serving(called.extend)

    assert run_main(monkeypatch, "ui") == 0

    with_driver = uri.replace("postgresql:", "postgresql+psycopg:")
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == with_driver
    assert not [argument for argument in called if "hunter2" in argument]
    assert not list(project.iterdir())


def test_the_ui_refuses_a_port_that_is_taken(start, python_at_once):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        ended = start("ui", "--port", port, python=python_at_once)

    assert ended.returncode == 75
    assert ended.stdout == ""
    told = (
        f"error: port {port} is not available: Address already in use; choose another with --port "
        "(make ui PORT=…)\n"
    )
    assert ended.stderr == told


def test_the_ui_reports_a_store_that_does_not_answer(start, project, python_at_once):
    (project / "mlflow.db").write_bytes(bytes(range(256)) * 40)

    ended = start("ui", python=python_at_once)

    assert ended.returncode == 75
    assert ended.stderr.startswith("error: MLflow does not answer: ")
    assert len(ended.stderr.splitlines()) == 1


def test_modules_hidden_from_tensorflow_can_be_imported_afterwards(monkeypatch):
    monkeypatch.setattr(
        lean_tensorflow, "_NOT_FOR_TRAINING", ("this_is_nowhere", "colorsys", "json")
    )
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with lean_tensorflow.lean_tensorflow():
        with pytest.raises(ImportError):
            importlib.import_module("colorsys")
        # A module that is already imported stays.
        assert importlib.import_module("json") is json
    assert importlib.import_module("colorsys")


@pytest.mark.slow
def test_a_study_is_looked_for_by_a_process_of_its_own(start):
    # Not by a fork: what a command hides from TensorFlow's import is imported there already.
    ended = start("study", "nowhere")

    assert ended.returncode == 2
    assert one_line(ended) == "error: 'nowhere' is not a study; there are none"
