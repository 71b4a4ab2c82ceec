from benchmarks import report
from benchmarks.results import spread

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
    page = report.page({"machine": MACHINE, "contest": CONTEST})
    assert "Abacus, 2 cores, 8 GB" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| JAX, scan")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["JAX, scan", "2 (2 to 2)", "2 (2 to 2)", "2.0", "1.50", "95.0 95.0"]
    assert "dvc repro" not in page


def test_figure_has_a_bar_for_each_contestant_the_fastest_on_top():
    growth = [
        {"value": v, "seconds": v, "peak_memory": 1e9, "microseconds_per_example": 1.0}
        for v in (1, 4)
    ]
    names = ("seeds", "width", "batch", "depth")
    drawn = report.figure({"contest": CONTEST, "growth": dict.fromkeys(names, growth)})
    bars = drawn.subfigs[0].axes[0]
    assert [bar.get_width() for bar in bars.patches] == [2.0, 4.0]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["JAX\nscan", "bnlab"]
