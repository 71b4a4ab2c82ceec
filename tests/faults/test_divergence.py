"""Divergence

A learning rate of a million, on purpose: that a run diverged is a result, not a crash.
"""

import json
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pandas as pd
import pytest
import requests

from pipeline.evaluation.divergence import diverged_seeds
from tests.networks import dense

RATE = 1.0e6
SEEDS, EPOCHS = 3, 2
VARIANTS = ("batch_norm", "no_norm")
SCORES = [f"{split}/{score}" for split in ("train", "validation") for score in ("loss", "accuracy")]


@pytest.fixture(scope="module")
def trained():
    """Trains on a few of the digits, in this process; returns the history."""
    from sklearn.datasets import load_digits  # noqa: PLC0415

    from pipeline.examples.dataset import Dataset, Examples  # noqa: PLC0415
    from pipeline.params import Optimizer, Training, Variant  # noqa: PLC0415
    from pipeline.runs.tables import history_table  # noqa: PLC0415
    from pipeline.training.normalization import NORMALIZATIONS  # noqa: PLC0415
    from pipeline.training.trainer import Task, Trainer  # noqa: PLC0415

    digits = load_digits()
    examples = Examples(digits.images[:400].astype("uint8"), digits.target[:400].astype("uint8"))
    dataset = Dataset(examples, examples, examples, tuple("0123456789"))

    def train(optimizer, rate):
        variant = Variant(
            label="Without",
            network=dense(hidden_dims=[8], activation="relu"),
            training=Training(
                epochs=EPOCHS,
                batch_size=32,
                optimizer=Optimizer(name=optimizer, learning_rate=rate),
                seeds=SEEDS,
            ),
            normalization=NORMALIZATIONS["none"](),
        )
        trainer = Trainer(dataset)
        runs = [trainer(Task(variant, seed)) for seed in range(SEEDS)]
        return history_table(scores for run in runs for scores in run.history)

    return train


@pytest.mark.slow
@pytest.mark.promise("A run that diverges is trained to its end, and told from one that learns")
@pytest.mark.parametrize(
    ("optimizer", "rate", "diverged"),
    [("adam", RATE, (0, 1, 2)), ("sgd", RATE, (0, 1, 2)), ("adam", 0.01, ())],
)
def test_diverged_runs_keep_their_history(trained, optimizer, rate, diverged, count):
    history = trained(optimizer, rate)

    scores = pd.DataFrame({"seed": range(SEEDS)}).assign(**{f"recall_{c}": 0.1 for c in range(10)})
    assert diverged_seeds(history, scores) == diverged
    rows = [(s, e, w) for s in range(SEEDS) for e in range(EPOCHS) for w in ("train", "validation")]
    assert list(history[["seed", "epoch", "split"]].itertuples(index=False, name=None)) == rows
    assert history["accuracy"].between(0, 1).all()
    count(runs=SEEDS, diverged=len(diverged))


@pytest.fixture(scope="module")
def clone(make_clone):
    """A project of which every run diverges, reproduced.

    By SGD to losses that are not finite, by Adam to finite ones of up to 1e15.
    """
    clone = make_clone(
        training__epochs=EPOCHS,
        training__seeds=SEEDS,
        training__optimizer__learning_rate=RATE,
        variants__batch_norm__training={"optimizer": {"name": "sgd", "learning_rate": RATE}},
        tracking__experiment="diverged",
    )
    clone.told = clone.run("dvc", "repro")
    return clone


@pytest.mark.drill
@pytest.mark.promise("`dvc repro` with `learning_rate: 1.0e+6` ends well, and nothing is lost")
def test_the_pipeline_ends_well(clone, count):
    said = clone.told.stdout + clone.told.stderr
    assert "Warning" not in said
    assert "Traceback" not in said
    for variant in VARIANTS:
        history = pd.read_csv(clone.folder / "runs" / variant / "history.csv")
        assert len(history) == SEEDS * EPOCHS * 2
        assert history["accuracy"].notna().all()
        assert not (history.query("split == 'train' and epoch == 1")["loss"] <= 4.6).any()
    again = clone.run("dvc", "repro").stdout
    assert "Running stage" not in again
    count(runs_diverged=2 * SEEDS)


@pytest.mark.drill
@pytest.mark.promise("Diverged runs are counted in report, comparison and metrics")
def test_they_are_counted(clone):
    reports = clone.folder / "reports"

    def read(name):
        return json.loads((reports / name).read_text(), parse_constant=pytest.fail)

    assert read("comparison.json")["diverged"] == dict.fromkeys(VARIANTS, SEEDS)
    assert read("summary.json")["diverged"] == 2 * SEEDS
    assert [read(f"metrics/{name}.json")["diverged"] for name in VARIANTS] == [SEEDS, SEEDS]
    told = "Runs that diverged: 3 of 3 of With BN, 3 of 3 of Without BN."
    for page in ("report.md", "report.html"):
        assert told in (reports / page).read_text()


@pytest.mark.drill
@pytest.mark.promise("`compare A B` counts them as text and as JSON")
def test_a_comparison_of_any_two_counts_them(clone):
    compare = (sys.executable, "-m", "pipeline", "compare", *VARIANTS)
    told = "Runs that diverged: 3 of 3 of With BN, 3 of 3 of Without BN."
    ended = clone.run(*compare)
    assert told in " ".join(ended.stdout.split())
    assert ended.stderr == ""
    (one,) = json.loads(clone.run(*compare, "--json").stdout, parse_constant=pytest.fail)[
        "comparisons"
    ]
    assert [one[side]["diverged"] for side in "ab"] == [SEEDS, SEEDS]


@pytest.mark.drill
@pytest.mark.promise("Neither inf nor nan reaches MLflow; the tag `diverged` finds the runs")
def test_mlflow_gets_finite_numbers(clone, count):
    client, trained, every = clone.finished_runs()
    assert len(trained) == 2 * SEEDS
    found = client.search_runs([every[0].info.experiment_id], "tags.diverged = 'true'")
    assert {run.info.run_id for run in found} == {run.info.run_id for run in trained}
    with sqlite3.connect(clone.folder / "mlflow.db") as connection:
        rows = connection.execute("SELECT value, is_nan FROM metrics").fetchall()
    connection.close()
    # inf is kept as the largest number that there is.
    assert not [row for row in rows if row[1] or abs(row[0]) >= sys.float_info.max]
    history = pd.concat(
        pd.read_csv(clone.folder / "runs" / variant / "history.csv") for variant in VARIANTS
    )
    kept_away = int((~history[["loss", "accuracy"]].map(math.isfinite)).to_numpy().sum())
    shown = sum(
        len(client.get_metric_history(run.info.run_id, key)) for run in trained for key in SCORES
    )
    assert shown == 2 * len(history) - kept_away
    assert kept_away > 0
    count(points_shown=shown, points_kept_away=kept_away)


@pytest.fixture
def server(clone):
    """MLflow's server on the clone's store; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipeline", "ui", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=clone.folder, env=clone.environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def wait_for(address, process):
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            if requests.get(address, timeout=10).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    pytest.fail("the server did not come up")


@pytest.mark.drill
@pytest.mark.promise("MLflow's UI loads with them: every call that its pages make is answered")
def test_the_pages_of_mlflow_load(clone, server, count):
    assert clone.told
    api = f"{server}/ajax-api/2.0/mlflow"
    answers = []

    def answer(method, call, **arguments):
        got = requests.request(method, f"{api}/{call}", timeout=60, **arguments)
        assert got.status_code == 200, (call, got.text)
        answers.append(got)
        # As a browser reads it, to which NaN and Infinity are no JSON.
        return json.loads(got.text, parse_constant=pytest.fail)

    assert requests.get(server, timeout=60).status_code == 200
    (experiment,) = [
        one["experiment_id"]
        for one in answer("POST", "experiments/search", json={"max_results": 100})["experiments"]
        if one["name"] == "diverged"
    ]
    asked = {"experiment_ids": [experiment], "max_results": 100, "filter": "tags.kind = 'run'"}
    found = answer("POST", "runs/search", json=asked)["runs"]
    assert len(found) == 2 * SEEDS
    ids = [run["info"]["run_id"] for run in found]
    for run_id in ids:
        run = answer("GET", "runs/get", params={"run_id": run_id})["run"]
        assert {"key": "diverged", "value": "true"} in run["data"]["tags"]
        for metric in run["data"]["metrics"]:
            key = {"run_id": run_id, "metric_key": metric["key"]}
            assert answer("GET", "metrics/get-history", params=key)["metrics"]
    for key in SCORES:
        asked = {"run_ids": ids, "metric_key": key, "max_results": 320}
        answer("GET", "metrics/get-history-bulk-interval", params=asked)
    count(answers=len(answers))
