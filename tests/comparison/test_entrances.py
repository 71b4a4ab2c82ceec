"""Every command that compares runs gives the same numbers and one verdict."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline import cli
from pipeline.comparison.cells import read_cell
from pipeline.comparison.grid import Experiment, grid
from pipeline.comparison.grid import record as grid_record
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.params_file import read_params
from pipeline.reporting import compare as stage
from pipeline.studies.judgement import judge
from pipeline.studies.report import verdict as study_verdict
from pipeline.studies.study import Rule
from tests.commands.repositories import PARAMS, write_variant

SEEDS = range(10)
CASES = {
    # Wilcoxon's p is too large, though the interval and the share of pairs won are clear.
    "not_settled": [-.0019, .0006, .0014, .0008, .0009, .0001, .0007, .0038, .0001, .0016],
    "candidate_better": [.0019, .0006, .0014, .0008, .0009, .0001, .0007, .0038, .0001, .0016],
    "baseline_better": [-.0019, -.0006, -.0014, -.0008, -.0009, -.0001, 1e-4, -.0038, -.002, -.001],
}  # fmt: skip
NUMBERS = ("n", "mean", "ci_low", "ci_high", "wins", "probability_ci_low", "wilcoxon_p")


@pytest.fixture(params=CASES)
def case(request, project):
    """Makes a project with the runs of two variants; returns the verdict they should get."""
    tree = YAML(typ="safe").load(PARAMS)
    tree["data"] = {"dataset": "digits", "validation_size": 10}
    YAML().dump(tree, project / "params.yaml")
    labels = np.arange(100, dtype=np.uint8) % 10
    images = np.zeros((100, 8, 8), np.uint8)
    write_prepared(PREPARED_FILE, Dataset(*[Examples(images, labels)] * 3, tuple("0123456789")))
    without = np.full(len(SEEDS), 0.97)
    write_variant("batch_norm", (without + CASES[request.param]).round(4), SEEDS)
    write_variant("no_norm", without, SEEDS)
    return request.param


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (None, 0), capsys.readouterr().err
    return capsys.readouterr().out


def by_report():
    stage.run(read_params())
    report = json.loads(Path("reports/comparison.json").read_text())
    assert json.loads(Path("reports/summary.json").read_text())["verdict"] == report["verdict"]
    return report, report["verdict"]


def by_two(monkeypatch, capsys):
    out = command(monkeypatch, capsys, "compare", "batch_norm", "no_norm", "--json")
    test = json.loads(out)["comparisons"][0]["test"]
    return test["accuracy"], test["accuracy"]["verdict"]


def by_grid():
    cells = {name: read_cell(name, name, "HEAD") for name in ("batch_norm", "no_norm")}
    recorded = grid_record(grid([Experiment("one", cells)], "no_norm", 0.95))
    (difference,) = [row["difference"] for row in recorded["cells"] if row["difference"]]
    return difference["accuracy"], difference["verdict"]


def by_study(study):
    rows = [
        {"variant": name, "seed": seed, "test_accuracy": accuracy, "diverged": 0.0}
        for name, variant in (("a", "batch_norm"), ("b", "no_norm"))
        for seed, accuracy in enumerate(read_cell(variant, name, "").scores["accuracy"])
    ]
    of = study(Rule(measure="test_accuracy", expected="greater"), axes={})
    outcome = study_verdict(of, judge(of, pd.DataFrame(rows)), pd.DataFrame())
    words = {"supported": "candidate_better", "refuted": "baseline_better"}
    return outcome["rules"][0], words.get(outcome["verdict"], "not_settled")


def test_every_command_gives_the_same_numbers_and_verdict(case, study, monkeypatch, capsys):
    (expected, verdict), *others = (
        by_report(), by_two(monkeypatch, capsys), by_grid(), by_study(study),
    )  # fmt: skip

    assert verdict == case
    for numbers, other_verdict in others:
        assert other_verdict == case
        assert {name: numbers[name] for name in NUMBERS} == {
            name: expected[name] for name in NUMBERS
        }
