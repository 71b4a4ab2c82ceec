"""The whole pipeline by its own commands, in a clone, on the digits inside scikit-learn."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import requests

from notebooks import export
from pipeline.runs.manifest import Manifest
from tests.conftest import epochs_trained

pytestmark = pytest.mark.slow

SEEDS, EPOCHS = 4, 2


@pytest.fixture(scope="module")
def clone(make_clone):
    return make_clone(forks=True, training__epochs=EPOCHS, training__seeds=SEEDS)


@pytest.fixture(scope="module")
def reproduced(clone):
    """The demo, which is the whole pipeline in a folder of its own."""
    guarded = {name: f"{name} as it was" for name in ("dvc.lock", "mlflow.db", "runs", "data")}
    for name, content in guarded.items():
        (clone.folder / name).write_text(content)
    before = clone.hashes(".")
    clone.output = clone.run(sys.executable, "-m", "pipeline", "demo")
    demo = clone.within(".demo")
    demo.output, demo.before = clone.output, before
    after = clone.hashes(".")
    demo.after = {name: after[name] for name in after if not name.startswith(".demo/")}
    return demo


def test_the_demo_prints_the_answer_of_its_report(reproduced):
    title, _, answer = (reproduced.folder / "reports/report.md").read_text().splitlines()[:3]
    told = reproduced.output.stdout
    assert f"\n{title.removeprefix('# ')}\n{answer.replace('*', '')}\n\nIts runs: " in told


def test_the_demo_leaves_the_project_as_it_was(reproduced, clone):
    assert reproduced.after == reproduced.before
    assert clone.run("git", "status", "--porcelain", ".demo").stdout == ""
    told = reproduced.output.stdout.strip().splitlines()[-1]
    assert Path(told.removeprefix("The answer is in ")) == reproduced.folder / "reports/report.html"


def test_every_file_of_the_design_is_made(reproduced):
    for variant in ("batch_norm", "no_norm"):
        history = pd.read_csv(reproduced.folder / "runs" / variant / "history.csv")
        assert list(history.columns) == ["seed", "epoch", "split", "loss", "accuracy"]
        assert len(history) == SEEDS * EPOCHS * 2
        assert set(history["epoch"]) == set(range(EPOCHS))
        for seed in range(SEEDS):
            folder = reproduced.folder / "runs" / variant / f"seed-{seed:02d}"
            assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.weights.h5"]
        metrics = json.loads((reproduced.folder / f"reports/metrics/{variant}.json").read_text())
        test = pd.read_csv(reproduced.folder / "evaluation" / variant / "test.csv")
        assert metrics["test"]["accuracy"]["mean"] == pytest.approx(test["accuracy"].mean())
        assert metrics["test"]["accuracy"]["sd"] == pytest.approx(test["accuracy"].std(ddof=1))
    comparison = json.loads((reproduced.folder / "reports/comparison.json").read_text())
    assert comparison["n"] == SEEDS


def test_training_tells_a_line_a_quarter_where_there_is_no_terminal(reproduced):
    told = reproduced.output.stdout + reproduced.output.stderr
    assert epochs_trained(told) == 2 * SEEDS * EPOCHS
    assert told.count("validation accuracy") == 2 * min(4, SEEDS * EPOCHS)
    assert "Warning" not in told
    assert "Traceback" not in told


def test_mlflow_has_each_run_once_with_history_and_model(reproduced):
    client, trained, every = reproduced.finished_runs()
    assert len(trained) == 2 * SEEDS
    assert len(every) == 2 * SEEDS + 1
    history = pd.read_csv(reproduced.folder / "runs/no_norm/history.csv")
    expected = history.query("seed == 3 and split == 'validation'")["loss"].tolist()
    (run,) = [run for run in trained if run.info.run_name == "no_norm-seed-03"]
    points = sorted(
        client.get_metric_history(run.info.run_id, "validation/loss"), key=lambda p: p.step
    )
    assert [point.value for point in points] == expected
    models = client.search_logged_models([run.info.experiment_id])
    assert len(models) == 2 * SEEDS


def test_mlflow_shows_how_long_each_run_was_trained(reproduced):
    _, trained, _ = reproduced.finished_runs()
    for run in trained:
        journal = reproduced.folder / f".bnlab/lineage/{run.data.tags['bnlab.fingerprint']}.json"
        kept = json.loads(journal.read_text())
        assert run.info.start_time == int(kept["started"] * 1000)
        assert run.info.end_time == int(kept["ended"] * 1000)
        assert run.info.end_time > run.info.start_time


def test_mlflow_ties_test_scores_to_model_and_data(reproduced):
    client, trained, _ = reproduced.finished_runs()
    run = trained[0]
    used = {one.dataset.name: one.dataset.profile for one in run.inputs.dataset_inputs}
    assert used.keys() == {"digits-train", "digits-validation", "digits-test"}
    (output,) = run.outputs.model_outputs
    metrics = client.get_logged_model(output.model_id).metrics
    assert {metric.dataset_name for metric in metrics} == {"digits-test"}
    scores = {metric.key: metric.value for metric in metrics}
    assert scores["test/accuracy"] == run.data.metrics["test/accuracy"]


def test_dvc_plots_a_line_for_each_variant(reproduced):
    plots = json.loads(reproduced.run("dvc", "plots", "show", "--json").stdout)["data"]

    charts = [name for name, (plot, *_) in plots.items() if plot["type"] == "vega"]
    assert charts == ["Train loss", "Validation loss", "Train accuracy", "Validation accuracy"]
    for name in charts:
        # What the VS Code extension draws as well: every anchor of our template is filled.
        content = plots[name][0]["content"]
        assert "DVC_METRIC" not in json.dumps(content)
        split, score = name.lower().split()
        histories = [
            pd.read_csv(reproduced.folder / f"runs/{variant}/history.csv").set_index("split")
            for variant in ("batch_norm", "no_norm")
        ]
        mean = pd.concat(one.loc[split].groupby("epoch")[score].mean() for one in histories)
        drawn = [float(value[score]) for value in content["data"]["values"]]
        assert drawn == pytest.approx(mean.tolist(), abs=1e-6)
        assert content["encoding"]["y"]["field"] == score
    (picture,) = plots["reports/figures/paired_differences.png"]
    assert picture["type"] == "image"


def test_the_tutorial_tells_of_these_runs(reproduced, tmp_path, monkeypatch):
    for name in ("params.yaml", "networks", "data", "runs", "evaluation", "reports"):
        (tmp_path / name).symlink_to(reproduced.folder / name)
    (tmp_path / "studies").symlink_to(Path("studies").resolve())
    # From where the tests are, for here is no code.
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))

    notebook = nbformat.read(export.NOTEBOOK, as_version=4)
    for name, many, few in (
        ("convolutions", "epochs=15", "epochs=1"), ("own-data", '"epochs": 60', '"epochs": 1'),
    ):  # fmt: skip
        (cell,) = (cell for cell in notebook.cells if cell.id == name)
        assert many in cell.source
        cell.source = cell.source.replace(many, few)
    notebook = export.run(notebook, tmp_path)

    outputs = [(cell.id, out) for cell in notebook.cells for out in cell.get("outputs", [])]
    assert [out for _, out in outputs if out.output_type != "execute_result"] == []
    told = {name: out.data for name, out in outputs}

    def numbers(cell):
        return [float(number) for number in re.findall(r"-?\d+\.?\d*", told[cell]["text/markdown"])]

    test = {
        name: pd.read_csv(reproduced.folder / f"evaluation/{name}/test.csv")["accuracy"]
        for name in ("batch_norm", "no_norm")
    }
    assert "digits, 1,237 images" in told["networks"]["text/markdown"]
    gains = 100 * (test["batch_norm"] - test["no_norm"])
    assert numbers("one-pair") == pytest.approx([gains.min(), gains.max()], abs=0.005)
    # Here the first pair is trained again, on as many threads as there are.
    assert told["again"]["text/markdown"].count("Yes") == 2
    assert "largest" in told["by-hand"]["text/markdown"]
    *_, rounding = re.findall(r"\de-\d+", told["identity"]["text/markdown"])
    assert float(rounding) < 1e-5
    # Alone every image gets the same answer, which is right for some of them.
    counts = np.bincount(np.load(reproduced.folder / "data/prepared.npz")["test_labels"])
    _, alone, least, most, *_ = numbers("alone")
    assert 100 * counts.min() / counts.sum() == pytest.approx(least, abs=0.05)
    assert least - 0.05 <= alone <= most + 0.05
    assert "Yes" in told["same-but-for-momentum"]["text/markdown"]
    by_average = told["never-updated"]["text/markdown"].splitlines()[3]
    assert f"{test['batch_norm'].mean():.1%}" in by_average
    assert "[Without batch normalisation, ReLUs die](" in told["verdicts"]["text/markdown"]
    assert sum("image/png" in data for data in told.values()) == 8


def test_a_second_repro_does_nothing(reproduced):
    before = reproduced.hashes("reports", "runs", "dvc.lock")
    said = reproduced.run("dvc", "repro").stdout
    assert "Running stage" not in said
    assert "up to date" in said
    assert reproduced.hashes("reports", "runs", "dvc.lock") == before


def test_tracking_again_adds_nothing(reproduced):
    _, _, before = reproduced.finished_runs()
    reproduced.run("python", "-m", "pipeline", "track")
    _, _, again = reproduced.finished_runs()
    assert {run.info.run_id for run in again} == {run.info.run_id for run in before}


def test_a_lost_store_comes_back_though_all_else_is_up_to_date(reproduced):
    _, _, before = reproduced.finished_runs()
    # As in a fresh clone, which has neither.
    for name in ("mlflow.db", "mlflow.tracked"):
        (reproduced.folder / name).unlink()

    said = reproduced.run("dvc", "repro").stdout

    assert said.count("Running stage") == 1
    assert "Running stage 'track'" in said
    client, _, restored = reproduced.finished_runs()

    def shown(found):
        return {run.info.run_name: (run.data.params, run.data.metrics) for run in found}

    def lineage(found):
        """Returns where each run comes from: of training, not of the moment it is tracked."""
        return {
            run.info.run_name: {
                key: value
                for key, value in run.data.tags.items()
                if key.endswith((".version", ".sha256", "threads", "dirty", "commit"))
            }
            for run in found
            if run.data.tags["kind"] == "run"
        }

    assert shown(restored) == shown(before)
    assert lineage(restored) == lineage(before)
    for run in restored:
        for key in run.data.metrics:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, key)]
            assert (
                len(steps)
                == len(set(steps))
                == (1 if "/" in key and key.split("/")[0] in {"test", "difference"} else EPOCHS)
            )


def test_what_a_seed_gives_is_the_same_for_both_variants_but_for_the_normalisation(reproduced):
    manifests = {}
    for variant in ("batch_norm", "no_norm"):
        manifests[variant] = json.loads(
            (reproduced.folder / "runs" / variant / "manifest.json").read_text()
        )
    one, other = (manifests[name]["parameters"] for name in ("batch_norm", "no_norm"))
    assert one["training"] == other["training"]
    assert one["network"] == other["network"]
    fingerprints = {
        Manifest(**{**values, "seeds": tuple(values["seeds"])}).fingerprint(seed)
        for values in manifests.values()
        for seed in values["seeds"]
    }
    assert len(fingerprints) == 2 * SEEDS


def test_the_champion_is_served_and_answers_for_raw_images(reproduced):
    verdict = json.loads((reproduced.folder / "reports/comparison.json").read_text())["verdict"]
    promote = ("python", "-m", "pipeline", "promote")
    unforced = reproduced.run(*promote, check=False)
    assert unforced.returncode == (0 if verdict == "candidate_better" else 1)
    said = reproduced.run(*promote, "--force").stdout
    (seed,) = re.findall(r"batch_norm-seed-(\d\d) is champion", said)
    test = np.load(reproduced.folder / "data/prepared.npz")["test_inputs"][:50]
    expected = np.load(reproduced.folder / "evaluation/batch_norm/predictions.npz")["predicted"]

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["-m", "models:/digits-demo@champion", "--env-manager", "local"]
    server = subprocess.Popen(
        ["mlflow", "models", "serve", *arguments, "--host", "127.0.0.1", "--port", str(port)],
        cwd=reproduced.folder, start_new_session=True,
        env=reproduced.environment
        | {"MLFLOW_TRACKING_URI": f"sqlite:///{reproduced.folder}/mlflow.db"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        answer = ask(port, {"inputs": test.tolist()}, server)
        refused = requests.post(
            f"http://127.0.0.1:{port}/invocations", timeout=30,
            # One image, where a list of them is asked for.
            json={"inputs": test[0].tolist()},
        )  # fmt: skip
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=30)

    probabilities = np.array(answer["predictions"])
    assert probabilities.shape == (50, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), expected[int(seed)][:50])
    assert refused.status_code == 400
    told = refused.json()["message"]
    assert told.endswith("Shape of input (8, 8) does not match expected shape (-1, 8, 8).")
    # Without the image, whose 64 values would come twice.
    assert len(told) < 300


def ask(port, question, server):
    """Returns what the server answers, once it is up."""
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            answer = requests.post(
                f"http://127.0.0.1:{port}/invocations", json=question, timeout=30
            )
        except requests.ConnectionError:
            time.sleep(0.3)
        else:
            assert answer.status_code == 200, answer.text
            return answer.json()
    return pytest.fail("the server did not come up")
