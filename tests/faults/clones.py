"""Clones of a project that bring one store up to date at the same time."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mlflow

from pipeline.provenance.lineage import Lineage, write_journal
from pipeline.runs.manifest import write_manifest
from pipeline.tracking.comparison import COMPARED
from pipeline.tracking.store import FINGERPRINT
from tests.faults.servers import CHECKOUT
from tests.faults.written import EXPERIMENT, SEEDS, VARIANTS, manifest_of, write_runs

# A process for each clone and round. They are forked, so that none waits for its imports, and begin
# when the pipe from which they read is closed.
_AT_ONCE = """
import os, sys, traceback
from pathlib import Path
from pipeline.params_file import read_params
from pipeline.tracking import track

def work(folder, gate):
    os.chdir(folder)
    os.read(gate, 1)
    # A temporary folder of its own, as on a machine of its own: MLflow has a lock file there.
    os.environ["TMPDIR"] = str(Path(folder, "tmp"))
    try:
        track.run(read_params())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

failed = 0
for clones in sys.argv[1].split(";"):
    here, there = os.pipe()
    started = []
    for folder in clones.split(","):
        pid = os.fork()
        if pid == 0:
            os.close(there)
            work(folder, here)
        started.append(pid)
    os.close(here)
    os.close(there)
    failed += sum(os.waitpid(pid, 0)[1] != 0 for pid in started)
sys.exit(failed != 0)
"""


def manifests_of(number):
    """The manifests of a round: of other code, so that its runs are others."""
    return [replace(manifest_of(name), code_sha256=f"round {number}") for name in VARIANTS]


def write_clones(top, clones, rounds):
    """Writes the projects, whose runs are to be tracked; returns their folders, by round."""
    here = Path.cwd()
    made = top / "made"
    made.mkdir()
    os.chdir(made)
    write_runs()
    os.chdir(here)
    folders = []
    for number in range(rounds):
        folders.append([])
        for clone in range(clones):
            folder = shutil.copytree(made, top / f"round-{number}" / f"clone-{clone}")
            (folder / "tmp").mkdir()
            os.chdir(folder)
            for manifest in manifests_of(number):
                write_manifest(manifest)
                # Each was trained by itself: whose runs come first in order is not who is first.
                for fingerprint in manifest.fingerprints() if clone % 2 else ():
                    write_journal(fingerprint, Lineage({}, b"", 1.7e9 - clone, 1.7e9))
            os.chdir(here)
            folders[-1].append(folder)
    return folders


def start_tracking(folders, uri):
    """Starts to track the clones of each round at once, a round after the other."""
    return subprocess.Popen(
        [sys.executable, "-c", _AT_ONCE, ";".join(",".join(map(str, one)) for one in folders)],
        env={k: v for k, v in os.environ.items() if k != "DVC_ROOT"}
        | {"PYTHONPATH": str(CHECKOUT), "MLFLOW_TRACKING_URI": uri},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def expect_none_failed(tracking):
    """Waits until all have ended, and makes sure that none failed."""
    _, told = tracking.communicate()
    # psycopg tells of pipelines that a conflict ended, which are many.
    lines = [line for line in told.splitlines() if not line.startswith("error ignored")]
    assert tracking.returncode == 0, "\n".join(lines)[-10_000:]


def finished_runs(uri):
    """Returns how many runs are finished, those that are there twice for a moment too."""
    client = mlflow.MlflowClient(uri)
    known = client.get_experiment_by_name(EXPERIMENT)
    finished = "attributes.status = 'FINISHED'"
    return len(client.search_runs([known.experiment_id], finished)) if known else 0


def expect_each_once(uri, rounds):
    """Makes sure that MLflow has each run of each round, and its model, once; returns how many."""
    client = mlflow.MlflowClient(uri)
    known = client.get_experiment_by_name(EXPERIMENT).experiment_id
    found = client.search_runs([known], max_results=50_000)
    assert {run.info.status for run in found} == {"FINISHED"}
    expected = {
        fingerprint: (manifest.variant, seed)
        for number in range(rounds)
        for manifest in manifests_of(number)
        for fingerprint, seed in manifest.fingerprints().items()
    }
    trained = [run for run in found if run.data.tags["kind"] == "run"]
    assert Counter(run.data.tags[FINGERPRINT] for run in trained) == Counter(list(expected))
    compared = [run for run in found if run.data.tags["kind"] == "comparison"]
    assert len(compared) == rounds
    models = client.search_logged_models([known], max_results=1000)
    assert Counter(model.source_run_id for model in models) == Counter(
        run.info.run_id for run in trained
    )
    assert {str(model.status) for model in models} == {"READY"}
    for run in trained:
        (output,) = run.outputs.model_outputs
        assert output.model_id in {model.model_id for model in models}
        for key in ("train/loss", "validation/accuracy", "test/accuracy"):
            history = client.get_metric_history(run.info.run_id, key)
            steps = [point.step for point in history]
            assert len(steps) == len(set(steps)), (key, history)
        assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 10
    for run in compared:
        path = client.download_artifacts(run.info.run_id, COMPARED)
        ids = json.loads(Path(path).read_text())
        assert len(set(ids)) == len(VARIANTS) * len(SEEDS)
        # A run that was there twice for a moment may be named by the one that was deleted.
        assert {client.get_run(one).data.tags[FINGERPRINT] for one in ids} <= set(expected)
    return len(found)
