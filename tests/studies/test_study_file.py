from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.errors import ArgumentError, ParamsError
from pipeline.studies.study_file import names, read_study
from tests.networks import DENSE

CHECKOUT = Path(__file__).parents[2]
RATE = "training.optimizer.learning_rate"
STUDY = """
claim: Larger steps learn faster
source: everybody
published: none
data: {dataset: digits, path: data/raw, validation_size: 200}
network: {code: networks/dense.py, hidden_dims: [4], activation: relu}
training: {epochs: 3, batch_size: 32, optimizer: {name: sgd, learning_rate: 0.1}, seeds: 7}
variants:
  batch_norm:
    {label: With, normalization: batch, momentum: 0.9, epsilon: 0.001, center: true, scale: true}
  no_norm: {label: Without, normalization: none}
comparison: {baseline: no_norm, candidate: batch_norm, confidence: 0.95}
grid:
  training.optimizer.learning_rate: [0.1, 1.0]
  network.hidden_dims: [[4], [8, 8], [16]]
probes: [dead_units]
rules:
- {measure: test_accuracy, expected: greater, at: {learning_rate: 0.1, hidden_dims: [4]}}
quick:
  training.seeds: 2
  grid: {training.optimizer.learning_rate: [0.1]}
  rules: [{measure: dead_units, expected: smaller}]
""".replace("networks/dense.py", DENSE)


@pytest.fixture
def write(project):
    """Returns a function that writes studies/steps/study.yaml with some text replaced."""

    def write(old="", new="", text=STUDY):
        assert old in text
        path = project / "studies/steps/study.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(old, new) if old else text)

    return write


def test_every_combination_of_the_grid_is_a_point(write):
    write()

    study = read_study("steps", quick=False)

    dims, rates = [[4], [8, 8], [16]], [0.1, 1.0]
    trained = [
        (variant.training.optimizer.learning_rate, variant.network.hidden_dims)
        for point in study.points
        for variant in point.params.variants.values()
    ]
    assert trained == [(rate, widths) for rate in rates for widths in dims for _ in range(2)]
    assert len(list(study.trials())) == 2 * 3 * 2 * 7
    assert study.params.tracking.experiment == "study: steps"


def test_the_quick_scale_changes_what_it_says_and_nothing_else(write):
    write()

    full, quick = (read_study("steps", quick=quick) for quick in (False, True))

    assert quick.is_quick
    assert not full.is_quick
    assert len(list(quick.trials())) == 1 * 2 * 2
    assert quick.params.variants["no_norm"].network == full.params.variants["no_norm"].network
    assert [rule.measure for rule in quick.about.rules] == ["dead_units"]


BROKEN = {
    "claim": ("claim: Larger", "claims: Larger", "`claim"),
    "measure of all": (
        "candidate: batch_norm",
        "candidate: batch_norm, measure: loss",
        "remove `measure`",
    ),
    "early": ("seeds: 7", "seeds: 7, early_stopping: {monitor: loss, patience: 1}", "`early_st"),
    "epochs": ("epochs: 3", "epochs: 0", "`epochs` must be greater than or equal to 1, got 0"),
    "point": ("[0.1, 1.0]", "[0.1, -1.0]", "`learning_rate` must be greater than 0, got -1.0"),
    "axis": ("network.hidden_dims:", "net.hidden_dims:", "`net.hidden_dims` is not a parameter"),
    "unknown axis": ("network.hidden_dims:", "network.dims:", "`dims` is not a known key"),
    "no list": ("[0.1, 1.0]", "0.1", "must be a list of values"),
    "probe": ("[dead_units]", "[live_units]", "got 'live_units'"),
    "measure": ("measure: test_acc", "measure: tst_acc", "rules[0]"),
    "variant": ("greater, at", "greater, baseline: nobody, at", "got 'nobody'"),
    "two ways": ("greater, at", "greater, best_by: test_loss, chosen_on: 2, at", "give one of"),
    "half a way": ("greater, at: {", "greater, best_by: test_loss, ats: {", "`ats`"),
    "margin": ("greater, at", "equal, at", "give `margin` with `expected: equal` or `not_smaller`"),
    "at": ("at: {learning_rate", "at: {momentum", "`at` must be one of"),
    "minus": (
        "greater, at: {learning_rate: 0.1, hidden_dims: [4]}",
        "greater, minus: {learning_rate: 0.1}",
        "give `minus` with `at` only",
    ),
    "minus of nothing": (
        "greater, at",
        "greater, minus: {epochs: 1}, at",
        "`minus` must be one of",
    ),
    "several points": (", at: {learning_rate: 0.1, hidden_dims: [4]}", "", "the grid has 6 points"),
    "half a point": (
        ", hidden_dims: [4]}",
        "}",
        "`at` needs a value of hidden_dims, one of 4, 8-8",
    ),
    "off the grid": (
        "rate: 0.1, h",
        "rate: 0.2, h",
        "`at` must have one of 0.1, 1.0 for learning_rate, got 0.2",
    ),
    "minus off the grid": (
        "greater, at",
        "greater, minus: {learning_rate: 1.0, hidden_dims: [5]}, at",
        "`minus` must have one of 4, 8-8, 16 for hidden_dims, got '5'",
    ),
    "everywhere and at": ("greater, at", "greater, everywhere: true, at", "give one of"),
    "together": (
        "network.hidden_dims: [[4]",
        "network.hidden_dims, training.epochs: [[4]",
        "must be lists of 2 values, got [4]",
    ),
    "number and baseline": (
        "greater, at",
        "greater, number: 0.5, baseline: no_norm, at",
        "give `number` or `baseline`, not both (studies/steps/study.yaml, rules[0])",
    ),
    "course without training": (
        "rules:\n",
        "untrained: true\ncourse: []\nrules:\n",
        "without training there is none (studies/steps/study.yaml, top level)",
    ),
    "course": ("rules:\n", "course: [live_units]\nrules:\n", "`course` must be one of"),
    "not followed": (
        "measure: test_accuracy",
        "measure: dead_units_mean",
        "got 'dead_units_mean'",
    ),
    "related": ("rules:\n", "related: [dead_units, live_units]\nrules:\n", "got 'live_units'"),
    "published variant": (
        "rules:\n",
        "published_values: {nobody: {test_loss: [1.0]}}\nrules:\n",
        "`nobody` must be one of",
    ),
    "published measure": (
        "rules:\n",
        "published_values: {no_norm: {los: [1.0]}}\nrules:\n",
        "got 'los'",
    ),
    "published lengths": (
        "rules:\n",
        "published_values: {no_norm: {step: [1, 2], test_loss: [1.0]}}\nrules:\n",
        "lists of one length",
    ),
    "no rules": (STUDY[STUDY.index("rules:") : STUDY.index("quick:")], "rules: []\n", "`rules`"),
}


@pytest.mark.parametrize(("old", "new", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_fault_is_reported_in_one_line_with_the_file(write, old, new, fault):
    write(old, new)

    with pytest.raises(ParamsError) as error:
        read_study("steps", quick=False)

    (line,) = str(error.value).splitlines()
    assert fault in line
    assert "studies/steps/study.yaml" in line
    assert "params.yaml" not in line


def test_parameters_that_change_together_are_one_axis(write):
    text = STUDY.replace("hidden_dims: [4]}", "batch_size: 32}")
    write(
        text=text.replace(
            "network.hidden_dims: [[4], [8, 8], [16]]",
            "training.batch_size, training.epochs: [[2, 1], [32, 10]]",
        )
    )

    study = read_study(
        "steps",
        quick=False,
    )

    assert study.axes == {RATE: (0.1, 1.0), "training.batch_size": (2, 32)}
    trained = [
        (point.at["training.batch_size"], training.batch_size, training.epochs)
        for point in study.points
        for training in [point.params.variants["no_norm"].training]
    ]
    assert trained == [(2, 2, 1), (32, 32, 10)] * 2


def test_rules_can_use_mean_and_drift_of_a_followed_measure(write):
    write(
        "rules:\n",
        "course: [dead_units]\nrules:\n"
        "- {measure: dead_units_drift, expected: smaller, everywhere: true}\n",
    )

    study = read_study("steps", quick=False)

    assert study.about.course == ("dead_units",)
    assert study.about.rules[0].measure == "dead_units_drift"


def test_an_unknown_study_is_refused_with_a_list_of_all(write):
    write()

    with pytest.raises(ArgumentError, match="'stpes' is not a study; there are steps"):
        read_study("stpes", quick=False)


@pytest.mark.parametrize("quick", [False, True])
def test_every_study_can_be_read(monkeypatch, quick):
    monkeypatch.chdir(CHECKOUT)

    for name in names():
        assert read_study(name, quick=quick).points


def test_every_study_is_a_stage_and_in_the_gallery(monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    stages = YAML(typ="safe").load(Path("studies/dvc.yaml"))["stages"]

    followed = [name for name in names() if read_study(name, quick=False).about.course is not None]
    networks = {
        name: Path(read_study(name, quick=False).params.network.code).stem for name in names()
    }
    assert stages["followed"]["foreach"] == {name: networks[name] for name in followed}
    assert stages["study"]["foreach"] == {
        name: networks[name] for name in names() if name not in followed
    }
    verdicts = {path for path in stages["gallery"]["deps"] if path.endswith("verdict.json")}
    assert verdicts == {f"studies/{name}/verdict.json" for name in names()}
