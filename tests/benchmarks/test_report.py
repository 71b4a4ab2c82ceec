import re

from benchmarks import report
from benchmarks.__main__ import SECTIONS
from benchmarks.results import spread
from benchmarks.waiting import WHOLE

MACHINE = {
    "processor": "Abacus",
    "cores": 2,
    "memory": 8_000_000_000,
    "system": "Linux",
    "python": "3.11",
    "packages": {"tensorflow": "2.21"},
    "peers": {"torch": "2.15"},
}


def one(label, rate, slower):
    accuracies = {f"{variant} validation": spread([0.95]) for variant in ("batch_norm", "no_norm")}
    return {
        "label": label,
        "pair_epochs_per_second": spread([rate]),
        "times_slower": spread([slower]),
        "compile_seconds": 2.0,
        "peak_memory": 1_500_000_000,
        "accuracy": accuracies,
    }


CONTEST = {
    "rounds": 5,
    "contestants": {"bnlab": one("bnlab", 4.0, 1.0), "jax_scan": one("JAX, scan", 2.0, 2.0)},
}


def test_page_has_what_was_measured_and_nothing_else():
    page = report.page({"machines": {"contest": MACHINE}, "contest": CONTEST})
    assert "Abacus, 2 cores, 8 GB" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| JAX, scan")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["JAX, scan", "2 (2 to 2)", "2 (2 to 2)", "2.0", "1.50", "95.0 95.0"]
    assert "dvc repro" not in page


def test_sections_of_other_machines_are_told_apart():
    times = {"small": spread([1.0]), "large": spread([1.2]), "times": spread([1.2])}
    page = report.page(
        {
            "machines": {"contest": MACHINE, "stores": MACHINE | {"processor": "Slide rule"}},
            "contest": CONTEST,
            "stores": {"SQLite": {"doctor": times}},
        }
    )

    head, contest, stores = re.split(r"\n## .*\n", page)
    assert "each says on which" in head
    assert "Abacus" not in head
    assert contest.startswith("\nMeasured on: Abacus, 2 cores")
    assert stores.startswith("\nMeasured on: Slide rule, 2 cores")


def test_figure_has_the_ratio_of_each_peer_the_fastest_on_top():
    growth = [
        {"value": v, "seconds": v, "peak_memory": 1e9, "microseconds_per_example": 1.0}
        for v in (1, 4)
    ]
    names = ("seeds", "width", "batch", "depth")
    slow = {"torch": one("torch", 0.4, 9.0) | {"times_slower": spread([7.0, 9.0, 12.0])}}
    contest = {"contestants": CONTEST["contestants"] | slow}
    drawn = report.figure({"contest": contest, "growth": dict.fromkeys(names, growth)})
    (axis,) = drawn.subfigs[0].axes
    points, _, (spreads,) = axis.containers[0]
    # Not the ratio of the rates, 10.
    assert list(points.get_xdata()) == [9.0, 2.0]
    assert spreads.get_segments()[0][:, 0].tolist() == [7.0, 12.0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["torch", "JAX\nscan"]
    assert {text.get_text().split()[0] for text in axis.texts} == {"9", "2", "bnlab"}


def test_page_says_which_targets_are_missed():
    rates = {"keras_fit": 61.0, "tf1_session": 24.0, "torch_eager": 12.0, "jax_scan": 1.1}
    contestants = {name: one(name, 0.2, slower) for name, slower in rates.items()}
    sizes = [
        dict.fromkeys(("training", "products", "optimizer", "times_both"), spread([1.0]))
        | {"label": label, "times_products": spread([times])}
        for label, times in (("small", 1.9), ("large", 1.4))
    ]
    point = {"value": 1, "seeds": 1, "examples": 9, "first_seconds": 1.0, "seconds": 1.0}
    seeds = [
        point | {"microseconds_per_example": 1.0, "peak_memory": memory} for memory in (1e9, 1.1e9)
    ]
    pipeline = {
        "seconds": 49.0,  # the TF1 session takes 10 / 0.2 = 50
        "peak_memory": 1.3e9,
        "stages": {"track": 7.0},
        "train": {},
        "evaluate": {},
        "nothing_to_do": spread([1.4]),
        "track_from_nothing": {"seconds": 9.0},
    }

    stores = {
        "SQLite": {
            command: {
                "small": spread([2.0]),
                "large": spread([large]),
                "times": spread([large / 2]),
            }
            for command, large in (("track", 3.0), ("doctor", 3.2))
        }
    }

    waited = {
        command: {WHOLE: {"before": spread([60]), "now": spread([48]), "times": spread([0.8, 0.7])}}
        for command in ("dvc repro", "an ablation of one variant")
    }

    page = report.page(
        {
            "machines": dict.fromkeys((*SECTIONS, "waiting"), MACHINE),
            "waiting": {"before": "abc1234", "commands": waited},
            "contest": {"rounds": 5, "contestants": contestants},
            "convolutions": {"rounds": 5, "contestants": {"keras_fit": one("Keras", 0.1, 2.9)}},
            "floor": {"sizes": sizes},
            "growth": {"seeds": seeds},
            "pipeline": pipeline,
            "stores": stores,
        }
    )

    table = page.partition("## Targets")[2].partition("##")[0]
    met = [row.strip("|").split("|")[-1].strip() for row in table.strip().splitlines()[2:]]
    expected = "yes no yes no no yes no yes yes yes no yes no yes no yes no"
    assert met == expected.split()
