"""Every command that compares runs gives the same numbers and one verdict, by each measure."""

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
from pipeline.comparison.measures import MEASURES
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.params_file import read_params
from pipeline.reporting import compare as stage
from pipeline.studies.judgement import judge
from pipeline.studies.report import verdict as study_verdict
from pipeline.studies.study import Rule
from tests.commands.repositories import write_variant
from tests.networks import DENSE, PARAMS

pytestmark = pytest.mark.slow

SEEDS = range(10)
CASES = {
    # Wilcoxon's p is too large, though the interval and the share of pairs won are clear.
    "not_settled": [-.0019, .0006, .0014, .0008, .0009, .0001, .0007, .0038, .0001, .0016],
    "candidate_better": [.0019, .0006, .0014, .0008, .0009, .0001, .0007, .0038, .0001, .0016],
    "baseline_better": [-.0019, -.0006, -.0014, -.0008, -.0009, -.0001, 1e-4, -.0038, -.002, -.001],
}  # fmt: skip
# Where less is better, the same gains are losses avoided.
MEASURED = {"accuracy": 1, "macro_f1": 1, "loss": -1, "expected_calibration_error": -1}
NUMBERS = ("n", "mean", "ci_low", "ci_high", "wins", "probability_ci_low", "wilcoxon_p")


@pytest.fixture(
    params=[
        *(("accuracy", name) for name in CASES),
        # Each of the others in one case.
        pytest.param(("loss", "baseline_better"), marks=pytest.mark.slow),
        pytest.param(("macro_f1", "candidate_better"), marks=pytest.mark.slow),
        pytest.param(("expected_calibration_error", "not_settled"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def posed(request):
    """The measure that decides, and what it should say."""
    return request.param


@pytest.fixture
def measure(posed):
    """The name of the measure that decides."""
    return posed[0]


@pytest.fixture
def case(posed, measure, project):
    """Makes a project with the runs of two variants; returns the verdict they should get."""
    tree = YAML(typ="safe").load(PARAMS)
    tree["data"] = {"dataset": "digits", "path": "data/raw", "validation_size": 10}
    tree["network"]["code"] = DENSE
    tree["comparison"]["measure"] = measure
    YAML().dump(tree, project / "params.yaml")
    labels = np.arange(100, dtype=np.uint8) % 10
    images = np.zeros((100, 8, 8), np.uint8)
    write_prepared(PREPARED_FILE, Dataset(*[Examples(images, labels)] * 3, tuple("0123456789")))
    without = np.full(len(SEEDS), 0.97)
    better = MEASURED[measure] * np.array(CASES[posed[1]])
    # All other scores favour nobody.
    other = np.full(len(SEEDS), 0.5)
    for name, scores in (("batch_norm", (without + better).round(4)), ("no_norm", without)):
        write_variant(name, **{"accuracy": other, "loss": other, "seeds": SEEDS, measure: scores})
    return posed[1]


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


def by_two(monkeypatch, capsys, measure, *options):
    out = command(monkeypatch, capsys, "compare", "batch_norm", "no_norm", "--json", *options)
    test = json.loads(out)["comparisons"][0]["test"]
    assert test["measure"] == measure
    return test[measure], test[measure]["verdict"]


def by_flag(monkeypatch, capsys, measure):
    """Names the measure on the command line, where params.yaml names another."""
    params = Path("params.yaml")
    text = params.read_text()
    params.write_text(text.replace(f"measure: {measure}", "measure: roc_auc"))
    found = by_two(monkeypatch, capsys, measure, "--measure", measure)
    params.write_text(text)
    return found


def by_grid(measure):
    cells = {name: read_cell(name, name, "HEAD") for name in ("batch_norm", "no_norm")}
    recorded = grid_record(grid([Experiment("one", cells)], "no_norm", MEASURES[measure], 0.95))
    (difference,) = [row["difference"] for row in recorded["cells"] if row["difference"]]
    return difference[measure], difference["verdict"]


def by_study(study, measure):
    rows = [
        {"variant": name, "seed": seed, f"test_{measure}": score, "diverged": 0.0}
        for name, variant in (("a", "batch_norm"), ("b", "no_norm"))
        for seed, score in enumerate(read_cell(variant, name, "").scores[measure])
    ]
    rows = pd.DataFrame(rows).assign(test_accuracy=0.5) if measure != "accuracy" else rows
    expected = "greater" if MEASURED[measure] > 0 else "smaller"
    of = study(Rule(measure=f"test_{measure}", expected=expected), axes={})
    outcome = study_verdict(of, judge(of, pd.DataFrame(rows)), pd.DataFrame())
    words = {"supported": "candidate_better", "refuted": "baseline_better"}
    return outcome["rules"][0], words.get(outcome["verdict"], "not_settled")


def test_every_command_gives_the_same_numbers_and_verdict(
    case, measure, study, monkeypatch, capsys
):
    (expected, verdict), *others = (
        by_report(), by_two(monkeypatch, capsys, measure), by_flag(monkeypatch, capsys, measure),
        by_grid(measure),
    )  # fmt: skip
    numbers, of_study = by_study(study, measure)

    assert (verdict, of_study) == (case, case)
    for found, other_verdict in others:
        assert other_verdict == case
        assert {name: found[name] for name in NUMBERS} == {name: expected[name] for name in NUMBERS}
    # A study's rule says itself what it expects, and counts the pairs where that is more.
    of_both = set(NUMBERS) - ({"wins", "probability_ci_low"} if MEASURED[measure] < 0 else set())
    assert {name: numbers[name] for name in of_both} == {name: expected[name] for name in of_both}


@pytest.mark.usefixtures("project")
def test_the_verdict_names_who_has_the_smaller_loss():
    """By hand, so that no sign above could be turned round with all others."""
    labels = np.arange(100, dtype=np.uint8) % 10
    images = np.zeros((100, 8, 8), np.uint8)
    write_prepared(PREPARED_FILE, Dataset(*[Examples(images, labels)] * 3, tuple("0123456789")))
    spread = np.arange(10) / 1000
    write_variant("batch_norm", spread + 0.9, SEEDS, loss=0.1 + spread)
    write_variant("no_norm", spread + 0.9, SEEDS, loss=0.2 + 2 * spread)
    cells = {name: read_cell(name, name, "HEAD") for name in ("batch_norm", "no_norm")}

    compared = grid([Experiment("one", cells)], "no_norm", MEASURES["loss"], 0.95)

    ((_, contrast),) = compared.contrasts
    assert contrast.paired.mean == pytest.approx(-0.1045)
    assert (contrast.paired.wins, contrast.verdict) == (10, "candidate_better")
