"""A small experiment as the stages before `track` leave it, written by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluation.results import write_test_scores
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS, run_folder, write_history
from pipeline.tracking.comparison import REPORTS

CHECKOUT = Path(__file__).parents[2]
PARAMS = (CHECKOUT / "params.yaml").read_text(encoding="utf-8")
EXPERIMENT = "mnist-batch-norm"
VARIANTS, SEEDS, EPOCHS = ("batch_norm", "no_norm"), (0, 1), 10


def scores(seed, epoch):
    """Values of which no two are the same."""
    value = 1 / (1 + epoch + 100 * seed)
    return EpochScores(seed, epoch, Scores(value, value / 2), Scores(value / 3, value / 4))


def manifest_of(variant):
    return Manifest(variant, {"momentum": 0.9}, SEEDS, "da7a", "c0de")


def write_runs():
    """Writes into the current folder what the stages before `track` leave."""
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    shutil.copytree(CHECKOUT / "networks", "networks", dirs_exist_ok=True)
    examples = Examples(np.zeros((3, 8, 8), np.uint8), np.arange(3, dtype=np.uint8))
    write_prepared(PREPARED_FILE, Dataset(examples, examples, examples, tuple("0123456789")))
    for variant in VARIANTS:
        write_manifest(manifest_of(variant))
        epochs = [scores(seed, epoch) for seed in SEEDS for epoch in range(EPOCHS)]
        write_history(variant, epochs)
        told = {"loss": 0.5, "accuracy": 0.9, "expected_calibration_error": 0.1}
        write_test_scores(variant, pd.DataFrame([{"seed": seed} | told for seed in SEEDS]))
        for seed in SEEDS:
            folder = run_folder(variant, seed)
            folder.mkdir()
            for name in (ARCHITECTURE, WEIGHTS):
                (folder / name).write_text(f"{name} of {variant}, seed {seed}")
    REPORTS.mkdir()
    roles = {"candidate": "batch_norm", "baseline": "no_norm", "measure": "accuracy"}
    answer = {"verdict": "not_settled", "mean": 0, "ci_low": -1, "ci_high": 1, "wins": 0, "n": 2}
    (REPORTS / "comparison.json").write_text(json.dumps(roles | answer))
    (REPORTS / "report.md").write_text("# Unclear\n")
