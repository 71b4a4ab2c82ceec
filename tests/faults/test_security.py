"""Security

What is loaded is data, never code; what is served is served to this machine; and no password leaves
the address that it is part of. `SECURITY.md` says what is promised, and what is not.
"""

import ast
import dataclasses
import io
import os
import pickle
import pickletools
import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections import OrderedDict

import cloudpickle
import h5py
import mlflow
import numpy as np
import psutil
import pytest
import requests
from keras import layers, models

from pipeline import cli
from pipeline.datasets.catalogue import DATASETS
from pipeline.examples.prepared import read_prepared
from pipeline.params_file import read_params
from pipeline.provenance.lineage import present_lineage
from pipeline.runs.models import write_model
from pipeline.runs.tables import ARCHITECTURE, run_folder
from pipeline.tracking import live, track
from pipeline.tracking.live import LiveView
from tests.faults.servers import CHECKOUT, Server, answering
from tests.faults.written import EXPERIMENT, SEEDS, VARIANTS, manifest_of, scores, write_runs

SECRET = "hunter2"  # noqa: S105
LOGIN = f"anna:{SECRET}@"
# Of each format, modules that load it and run what it says.
RUN_WHAT_THEY_LOAD = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
BUILDS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "BUILD", "NEWOBJ", "NEWOBJ_EX"}


def pickles_in(content):
    """Returns what in a file's bytes would be run when it is unpickled."""
    found = []
    for start in [0, *(match.start() for match in re.finditer(rb"\x80[\x02-\x05]", content))]:
        operations = []
        try:
            for operation, _, _ in pickletools.genops(content[start:]):
                operations.append(operation.name)
        except (ValueError, UnicodeDecodeError, IndexError, OverflowError):
            continue
        found += BUILDS & set(operations)
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            for name in members.namelist():
                found += pickles_in(members.read(name))
    return found


class Thing:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    "content",
    [
        *(pickle.dumps(OrderedDict(a=1), protocol) for protocol in range(6)),
        *(pickle.dumps(Thing(), protocol) for protocol in range(6)),
        b"\x00" * 64 + pickle.dumps(Thing()),
        cloudpickle.dumps(lambda: None),
    ],
)
def test_a_pickle_is_seen_wherever_it_is(content):
    plain, zipped = io.BytesIO(), io.BytesIO()
    np.savez(plain, weights=np.random.default_rng(0).random(10_000))
    with zipfile.ZipFile(zipped, "w") as members:
        members.writestr("weights.bin", content)

    assert pickles_in(content)
    assert pickles_in(zipped.getvalue())
    assert not pickles_in(plain.getvalue())


@pytest.fixture
def tracked(tracked_project):
    """A project with real models, tracked."""
    write_runs()
    for variant in VARIANTS:
        for seed in SEEDS:
            network = models.Sequential([layers.Input((8, 8)), layers.Flatten()])
            network.add(layers.BatchNormalization())
            network.add(layers.Dense(3))
            folder = run_folder(variant, seed)
            write_model(folder, network.to_json(), network.get_weights())
    track.run(read_params())
    return tracked_project


@pytest.mark.promise(
    "All that a tracked experiment leaves, and each model in MLflow, loads with unpickling "
    "forbidden, and no file holds a pickle."
)
def test_nothing_that_is_kept_is_a_pickle(tracked, count):
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    uri = f"sqlite:///{tracked}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    images = read_prepared().test.inputs

    logged = client.search_logged_models([experiment.experiment_id])
    for model in logged:
        loaded = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
        np.testing.assert_allclose(loaded.predict(images).sum(axis=1), 1, rtol=1e-5)
    assert len(logged) == len(VARIANTS) * len(SEEDS)

    kept = [path for path in tracked.rglob("*") if path.is_file() and path.name != "mlflow.db"]
    kinds = {path.suffix for path in kept}
    assert {".h5", ".json", ".npz", ".csv", ".yaml"} <= kinds
    assert not kinds & {".pkl", ".pickle", ".joblib", ".keras", ".dill"}
    assert not {path: found for path in kept if (found := pickles_in(path.read_bytes()))}
    for path in kept:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays)
        if path.suffix == ".h5":
            with h5py.File(path) as weights:
                weights.visititems(lambda _, item: expect_numbers(item))
        # Keras keeps a function of one's own as its bytecode.
        if path.name == ARCHITECTURE:
            assert "Lambda" not in path.read_text()
    count(files=len(kept), models=len(logged))


def expect_numbers(item):
    assert not isinstance(item, h5py.Dataset) or item.dtype.kind in "fiu"


def run_what_they_load(source):
    """Returns where a program would run what it loads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if _root(name.name) in RUN_WHAT_THEY_LOAD]
        elif isinstance(node, ast.ImportFrom) and _root(node.module or "") in RUN_WHAT_THEY_LOAD:
            found.append(node.module)
        elif isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "safe_mode"}:
            expected = node.arg == "safe_mode"
            if not (isinstance(node.value, ast.Constant) and node.value.value is expected):
                found.append(node.arg)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += {node.func.id} & {"eval", "exec", "__import__"}
        elif isinstance(node, ast.Attribute) and node.attr in {"unsafe_load", "read_pickle"}:
            found.append(node.attr)
    return found


def _root(name):
    return name.partition(".")[0]


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "def f():\n    import joblib.hashing", "from cloudpickle import loads",
        "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=allow)", "eval(text)",
        "pd.read_pickle(path)", "load_model(path, safe_mode=False)",
    ],
)  # fmt: skip
def test_code_that_runs_what_it_loads_is_seen(source):
    assert run_what_they_load(source)
    assert not run_what_they_load("import json\nnp.load(path, allow_pickle=False)")


@pytest.mark.promise(
    "No module of the pipeline imports pickle or its like, has NumPy unpickle, or runs what it "
    "reads, but for the file of a network, which is code of the project, and for tasks that a "
    "driver hands to the workers of its Ray cluster."
)
def test_no_module_runs_what_it_loads(count):
    modules = sorted((CHECKOUT / "pipeline").rglob("*.py"))

    found = {path: run_what_they_load(path.read_text("utf-8")) for path in modules}

    # The file of a network is code, as the pipeline's own.
    assert found.pop(CHECKOUT / "pipeline/training/network_file.py") == ["exec"]
    # Ray runs what its driver sends, whatever we do.
    for name in ("ray_engine", "ray_worker"):
        assert found.pop(CHECKOUT / f"pipeline/execution/{name}.py") == ["pickle"]
    assert not any(found.values())
    count(modules=len(modules))


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_store):
    """`python -m pipeline ui`, where the environment asks MLflow to serve everybody."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    (folder / "private.txt").write_text(SECRET)
    one = Server(folder)
    one.start(MLFLOW_HOST="0.0.0.0")  # noqa: S104
    yield one
    one.kill()


@pytest.mark.drill
@pytest.mark.promise(
    "`python -m pipeline ui` listens on 127.0.0.1 alone, whatever the environment says, and "
    "answers a foreign `Host` or `Origin` with 403."
)
def test_the_ui_serves_this_machine_alone(server, count):
    family = [psutil.Process(server.process.pid)]
    family += family[0].children(recursive=True)
    listening = {
        connection.laddr
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", server.port)}

    page, api = server.uri(), f"{server.uri()}/api/2.0/mlflow/experiments/search"
    assert requests.get(page, timeout=20).status_code == 200
    assert requests.post(api, json={"max_results": 5}, timeout=20).status_code == 200
    evil = {"Host": "evil.test"}
    refused = [
        requests.get(page, headers=evil, timeout=20),
        requests.get(api, headers=evil, params={"max_results": 5}, timeout=20),
        requests.post(api, headers=evil, json={"max_results": 5}, timeout=20),
        requests.post(api, headers={"Origin": "http://evil.test"}, json={}, timeout=20),
    ]
    assert [answer.status_code for answer in refused] == [403] * 4
    count(refused=len(refused))


@pytest.mark.drill
@pytest.mark.promise(
    "An artifact path with `../`, plain or encoded, or an absolute one, is refused."
)
def test_no_artifact_path_leads_out_of_its_folder(server, count):
    client = mlflow.MlflowClient(server.uri())
    run_id = client.create_run(client.create_experiment("paths")).info.run_id
    client.log_text(run_id, "mine", "own.txt")
    get = f"{server.uri()}/get-artifact"
    assert asked(get, path="own.txt", run_uuid=run_id).content == b"mine"

    secret = server.folder / "private.txt"
    ways = ["../" * depth + "private.txt" for depth in range(1, 8)]
    ways += [way.replace("/", "%2f").replace(".", "%2e") for way in ways]
    ways += [str(secret), f"/{secret}", secret.as_uri(), f"own.txt/../../{'../' * 3}private.txt"]
    served = f"{server.uri()}/api/2.0/mlflow-artifacts/artifacts"
    answers = [asked(get, path=way, run_uuid=run_id) for way in ways]
    answers += [asked(f"{served}/{way}") for way in ways]
    answers += [asked(served, path=way) for way in ways]
    put = [requests.put(f"{served}/{way}", data=b"evil", timeout=20) for way in ways]

    for answer in answers + put:
        assert SECRET.encode() not in answer.content
        assert b"private.txt" not in answer.content
    assert {answer.status_code for answer in answers + put} <= {400, 404, 405, 500}
    assert secret.read_text() == SECRET
    count(paths=len(answers) + len(put))


def asked(address, **parameters):
    """Asks for an address as it is: a browser's or client's tidying would take the dots away."""
    with requests.Session() as session:
        request = session.prepare_request(requests.Request("GET", address, params=parameters))
        if not parameters:
            request.url = address
        return session.send(request, timeout=20)


@pytest.fixture(params=["nobody", "401", "500"])
def login_uri(request, monkeypatch):
    """The address, with name and password, of a server that is of no use."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    if request.param == "nobody":
        yield f"http://{LOGIN}127.0.0.1:9"
        return
    with answering(int(request.param), b"no") as uri:
        yield uri.replace("//", f"//{LOGIN}")


@pytest.mark.promise(
    "Whatever MLflow says of a server whose address holds a password, no command prints it."
)
def test_no_command_prints_a_password(login_uri, tracked_project, monkeypatch, capfd, caplog):
    write_runs()
    # `doctor` would ask the network for the data.
    nowhere = dataclasses.replace(DATASETS["mnist"], mirrors=lambda: (), packages=())
    monkeypatch.setitem(DATASETS, "mnist", nowhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", login_uri)
    commands = {
        ("track",): 75,
        ("compare", "one", "other"): 75,
        ("reproduce", "batch_norm-seed-00"): 75,
        ("promote", "--force"): 75,
        ("doctor",): 1,
        ("ui",): 2,
    }

    ended = {command: run_main(monkeypatch, *command) for command in commands}
    with LiveView(EXPERIMENT, manifest_of("no_norm"), present_lineage()) as view:
        view.tell(scores(0, 0))

    told = "".join([*capfd.readouterr(), caplog.text])
    assert ended == commands
    assert SECRET not in told
    assert told.count("MLflow does not") >= 4
    assert "no live view in MLflow" in told
    assert not (tracked_project / "mlflow.tracked").exists()


def run_main(monkeypatch, *arguments):
    """Runs the command line in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.drill
@pytest.mark.promise(
    "With a password in MLflow's address, in git's remote and in a mirror's, none of it is in a "
    "tag, a parameter, an artifact, or anything else that MLflow has, nor in what is printed."
)
def test_no_password_reaches_mlflow(server, project, monkeypatch, capfd, caplog, count):
    write_runs()
    remote = f"https://{LOGIN}example.test/bnlab.git"
    for command in (["init", "-q"], ["remote", "add", "origin", remote], ["add", "params.yaml"]):
        subprocess.run(["git", *command], check=True)
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, "commit", "-qm", "Params"], check=True)
    monkeypatch.setenv("MNIST_MIRROR", f"http://{LOGIN}127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri(LOGIN))
    monkeypatch.setattr(live, "_GATHER_SECONDS", 0.1)

    with LiveView(EXPERIMENT, manifest_of("no_norm"), present_lineage()) as view:
        view.tell(scores(0, 0))
    track.run(read_params())

    (server.folder / "copy.db").unlink(missing_ok=True)
    shutil.copy(server.folder / "mlflow.db", server.folder / "copy.db")
    with sqlite3.connect(server.folder / "copy.db") as connection:
        rows = list(connection.iterdump())
    connection.close()
    assert any("mlflow.source.git.commit" in row for row in rows)
    assert [row for row in rows if SECRET in row] == []
    artifacts = [path for path in (server.folder / "mlartifacts").rglob("*") if path.is_file()]
    assert {"manifest.json", "changes.patch", "report.md"} <= {path.name for path in artifacts}
    assert [path for path in artifacts if SECRET.encode() in path.read_bytes()] == []
    told = "".join([*capfd.readouterr(), caplog.text, (server.folder / "server.log").read_text()])
    assert SECRET not in told
    assert (project / "mlflow.tracked").exists()
    count(rows=len(rows), artifacts=len(artifacts))
