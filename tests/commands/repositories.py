"""Repositories in git and DVC with made-up results of variants."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
from dvc.repo import Repo

from pipeline.comparison.measures import MEASURES
from pipeline.evaluation.results import Predictions, write_predictions, write_test_scores
from pipeline.files import sha256
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.runs.tables import RUNS

CHECKOUT = Path(__file__).parents[2]
DVC_YAML = """\
stages:
  train:
    foreach: ${variants}
    do:
      cmd: python -m pipeline train ${key}
      outs:
      - runs/${key}
  evaluate:
    cmd: python -m pipeline evaluate
    outs:
    - evaluation
"""
SEEDS = range(6)
IMAGES = 100
GITIGNORE = "/data/\n/runs/\n/evaluation/\n/comparisons/\n/mlflow.db\n"


def write_variant(name, accuracy, seeds=SEEDS, loss=None, **fields):
    """Writes the files that training and evaluation leave of a variant, in the current folder.

    Fields are other measures on the test set, one number per run, and parameters.
    """
    measures = {key: fields.pop(key) for key in MEASURES.keys() & fields.keys()}
    labels = np.load("data/prepared.npz")["test_labels"]
    manifest = Manifest(
        variant=name,
        parameters={"normalization": name, "network": {"hidden_dims": [32]}} | fields,
        seeds=tuple(seeds),
        data_sha256=sha256(Path("data/prepared.npz")),
        code_sha256="c0de" * 16,
    )
    write_manifest(manifest)
    history = pd.DataFrame({"seed": list(seeds), "epoch": 0, "split": "validation"})
    history = history.assign(loss=1 - accuracy, accuracy=accuracy)
    history.to_csv(RUNS / name / "history.csv", index=False)
    table = {"seed": list(seeds), "loss": 1 - accuracy if loss is None else loss}
    table |= {"accuracy": accuracy, "balanced_accuracy": accuracy, "macro_f1": accuracy}
    table |= {"roc_auc": accuracy, "expected_calibration_error": 0.01} | measures
    write_test_scores(name, pd.DataFrame(table).round(7))
    wrong = np.arange(IMAGES) >= (IMAGES * accuracy).round()[:, None]
    predicted = ((labels + wrong) % 10).astype(np.uint8)
    write_predictions(name, Predictions(predicted, np.ones_like(predicted, np.float32)))
    return manifest


def git(*arguments):
    """Runs git; returns its output."""
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(message):
    with Repo() as repo:
        repo.commit(force=True)
    git("add", ".")
    git("commit", "-m", message)


def start():
    """Makes a git repository of the current folder."""
    git("init", "-b", "main")
    git("config", "user.name", "A")
    git("config", "user.email", "a@example.org")
    Path(".gitignore").write_text(GITIGNORE)


def write_data():
    """Writes the labels of a test set, in the current folder."""
    Path("data").mkdir()
    np.savez("data/prepared.npz", test_labels=np.arange(IMAGES, dtype=np.uint8) % 10)


def save_experiment(name):
    """Makes a DVC experiment from the workspace."""
    with Repo() as repo:
        repo.commit(force=True)
        repo.experiments.save(name=name, force=True)


def error(ended):
    """Returns the exit code and message of a command that printed one line, on stderr."""
    code, out, err = ended
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    return code, line.removeprefix("error: ")
