"""Shows results.json as a figure and as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from tabulate import tabulate

from benchmarks.waiting import ABLATION, REPRO, WHOLE

FIGURE, PAGE = "speed.png", "README.md"
# From Okabe & Ito's palette, which every kind of colour vision can tell apart.
_OURS, _THEIRS, _MEMORY = "#0072B2", "#999999", "#D55E00"
_GROWS = {
    "seeds": "Seeds (two cores)",
    "width": "Width of the hidden layers",
    "batch": "Batch size",
    "depth": "Hidden layers of 32",
}
_GIGA = 1e9
# The targets on two cores: against peers, and against BLAS at the two sizes of the floor.
_TIMES_AS_FAST = {"keras_fit": 60, "tf1_session": 25, "torch_eager": 12, "jax_scan": 1.3}
_TIMES_PRODUCTS = (2, 1.3)
_TIMES_AS_LONG = 1.5
_TIMES_BEFORE = {REPRO: 0.75, ABLATION: 0.6}
Results = Mapping[str, Any]


def figure(results: Results) -> Figure:
    """Shows the contest as ratios, and growth in small panels beside them."""
    drawn = Figure(figsize=(12, 5.6), layout="constrained")
    contest, panels = drawn.subfigures(1, 2, width_ratios=(1.1, 1))
    _draw_contest(contest.subplots(), results["contest"]["contestants"])
    for axis, (name, label) in zip(panels.subplots(2, 2).flat, _GROWS.items(), strict=True):
        _draw_growth(axis, name, label, results["growth"][name])
    return drawn


def page(results: Results) -> str:
    """Returns everything that was measured, as Markdown."""
    parts = {
        "contest": _contest,
        "convolutions": _convolutions,
        "floor": _floor,
        "pipeline": _pipeline,
        "waiting": _waiting,
        "growth": _growth,
        "stores": _stores,
    }
    machines = {name: _machine(results["machines"][name]) for name in parts if name in results}
    is_one = len(set(machines.values())) == 1
    measured = []
    for name, machine in machines.items():
        heading, *texts = parts[name](results)
        measured += [heading, *([] if is_one else [f"Measured on: {machine}"]), *texts]
    if parts.keys() - {"waiting"} <= results.keys():
        measured = [*_targets(results), *measured]
    head = [
        "# Speed",
        (
            "`make bench` wrote this page from [results.json](results.json). [NOTES.md](NOTES.md) "
            "says what was tried, and how to read it. Values are medians, with the least and the "
            "greatest in brackets."
        ),
        next(iter(machines.values()))
        if is_one
        else "Not all sections were measured on one machine: each says on which.",
    ]
    return "\n\n".join([*head, *measured]) + "\n"


def _draw_contest(axis: Axes, contestants: Results) -> None:
    """Draws how much longer each takes: the ratios that are quoted, as points on a log axis."""
    peers = [contestant for name, contestant in contestants.items() if name != "bnlab"]
    peers.sort(key=lambda peer: -peer["times_slower"]["median"])
    ratios = [peer["times_slower"] for peer in peers]
    medians = [ratio["median"] for ratio in ratios]
    spreads = [
        [ratio["median"] - ratio["min"] for ratio in ratios],
        [ratio["max"] - ratio["median"] for ratio in ratios],
    ]
    labels = [peer["label"].replace(", ", "\n") for peer in peers]
    axis.errorbar(medians, labels, xerr=spreads, fmt="o", color=_THEIRS, ecolor=_THEIRS)
    for label, ratio in zip(labels, ratios, strict=True):
        axis.annotate(
            f"{ratio['median']:.3g} ×", (ratio["max"], label), (6, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    axis.axvline(1, color=_OURS)
    axis.annotate(
        contestants["bnlab"]["label"], (1, 1), (4, -2), color=_OURS,
        xycoords=("data", "axes fraction"), textcoords="offset points", va="top",
    )  # fmt: skip
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlim(min(1, *(ratio["min"] for ratio in ratios)) / 1.3, max(medians) * 2.5)
    axis.set_ylim(-0.6, len(peers) - 0.2)
    axis.grid(axis="x", color="#e5e5e5")
    axis.set_axisbelow(True)
    axis.set_xlabel("Times as long as bnlab, for the same training and scoring")
    axis.set_title("The notebook's job", fontsize=11)
    _tidy(axis)


def _draw_growth(axis: Axes, name: str, label: str, points: Sequence[Results]) -> None:
    values = [point["value"] for point in points]
    if name == "seeds":
        axis.plot(values, [point["seconds"] for point in points], "o-", color=_OURS, ms=4)
        axis.set_ylabel("Seconds", color=_OURS)
        memory = axis.twinx()
        memory.plot(
            values, [point["peak_memory"] / _GIGA for point in points], "s--", color=_MEMORY, ms=4
        )
        memory.set_ylim(0, 2)
        memory.set_ylabel("Memory, GB", color=_MEMORY)
        memory.spines["top"].set_visible(False)
    else:
        microseconds = [point["microseconds_per_example"] for point in points]
        axis.plot(values, microseconds, "o-", color=_OURS, ms=4)
        axis.set_ylabel("µs an example")
    if name != "depth":
        axis.set_xscale("log")
        axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(values, map(str, values))
    if name in ("seeds", "width"):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
    else:
        axis.set_ylim(bottom=0)
    axis.set_xlabel(label, fontsize=9)
    _tidy(axis)


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def _machine(machine: Results) -> str:
    ours, theirs = (
        ", ".join(f"{name} {version}" for name, version in machine[side].items())
        for side in ("packages", "peers")
    )
    peers = f"; peers: {theirs}" if theirs else ""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory'] / _GIGA:.0f} GB, "
        f"{machine['system']}; Python {machine['python']}, {ours}{peers}."
    )


def _targets(results: Results) -> Iterator[str]:
    peers, pipeline = results["contest"]["contestants"], results["pipeline"]
    memory = [point["peak_memory"] / _GIGA for point in results["growth"]["seeds"]]
    at_least = {
        f"times as fast as {peers[name]['label']}": (peers[name]["times_slower"]["median"], target)
        for name, target in _TIMES_AS_FAST.items()
    }
    keras = results["convolutions"]["contestants"]["keras_fit"]
    name = f"times as fast as {keras['label']}, with convolutions"
    at_least[name] = (keras["times_slower"]["median"], 3)
    # A quick one has the first size only.
    sizes = results["floor"]["sizes"]
    at_most = (
        {
            f"times the BLAS products, {size['label']}": (size["times_products"]["median"], target)
            for size, target in zip(sizes, _TIMES_PRODUCTS[: len(sizes)], strict=True)
        }
        | {
            "`dvc repro` for ten pairs, s; target: the TF1 session for one": (
                pipeline["seconds"],
                _one_pair_seconds(results),
            ),
            "`dvc repro` with nothing to do, s": (pipeline["nothing_to_do"]["median"], 1.5),
            "`track` within `dvc repro`, s": (pipeline["stages"]["track"], 8),
            "memory of `dvc repro`, GB": (pipeline["peak_memory"] / _GIGA, 1.2),
            "memory of 100 seeds, GB": (memory[-1], 1.2),
            "memory of 100 seeds, times that of one": (memory[-1] / memory[0], 1.05),
        }
        | {
            f"{command} with 10,000 runs in {kind}, times as long as with 100": (
                seconds["times"]["median"],
                _TIMES_AS_LONG,
            )
            for kind, commands in results["stores"].items()
            for command, seconds in commands.items()
        }
        | {
            f"{command}, times as long as at commit {results['waiting']['before']}": (
                results["waiting"]["commands"][command][WHOLE]["times"]["median"],
                target,
            )
            for command, target in _TIMES_BEFORE.items()
            if "waiting" in results
        }
    )
    yield "## Targets"
    yield _table(
        ["", "target", "measured", "met"],
        [
            [what, f"{sign} {target:.3g}", f"{value:.3g}", "yes" if met else "no"]
            for sign, targets in (("≥", at_least), ("≤", at_most))
            for what, (value, target) in targets.items()
            for met in [value >= target if sign == "≥" else value <= target]
        ],
    )


def _one_pair_seconds(results: Results) -> float:
    """Returns how long the TF1 session takes for the notebook's ten epochs of one pair."""
    session = results["contest"]["contestants"]["tf1_session"]
    return 10 / session["pair_epochs_per_second"]["median"]


def _contest(results: Results) -> Iterator[str]:
    contest = results["contest"]
    yield "## Against peers"
    yield f"![How much longer each contestant takes than bnlab, and how time grows]({FIGURE})"
    yield (
        "The job: two networks, 784-32-32-10, with and without batch normalisation, on batches of "
        "32 in the same order for all; training and validation set are scored after every epoch. "
        f"The contestants took turns, {contest['rounds']} rounds after one in which they compiled; "
        "*compiling* is how much longer that one took. Fast contestants train more seeds and "
        "epochs in a round, so that a round takes seconds for all. *Times slower* is the median of "
        "the ratios of each round, not the ratio of two medians. The accuracies are on the "
        "validation set after the first epoch, with and without batch normalisation."
    )
    yield _contestants(contest)


def _convolutions(results: Results) -> Iterator[str]:
    contest = results["convolutions"]
    yield "## With convolutions"
    yield (
        "The same with `networks/conv.py`: convolutions of 16 and 32 filters of 3 by 3 pixels, and "
        "a dense layer of 64 units, on a tenth of the examples, in "
        f"{contest['rounds']} rounds. Here too the benchmark fails if a contestant's accuracies "
        "are not those that further seeds of bnlab would give."
    )
    yield _contestants(contest)


def _contestants(contest: Results) -> str:
    return _table(
        ["", "pair-epochs / s", "times slower", "compiling, s", "memory, GB", "accuracies, %"],
        [
            [
                contestant["label"],
                _spread(contestant["pair_epochs_per_second"]),
                "" if name == "bnlab" else _spread(contestant["times_slower"]),
                f"{contestant['compile_seconds']:.1f}",
                f"{contestant['peak_memory'] / _GIGA:.2f}",
                " ".join(
                    f"{100 * contestant['accuracy'][f'{variant} validation']['median']:.1f}"
                    for variant in ("batch_norm", "no_norm")
                ),
            ]
            for name, contestant in contest["contestants"].items()
        ],
    )


def _floor(results: Results) -> Iterator[str]:
    yield "## Against the floor"
    yield (
        "An epoch of training without scoring, on one core. The floor is the same matrix products "
        "by BLAS, plus the optimiser's reads and writes at the speed of the memory."
    )
    yield _table(
        ["", "training, s", "products, s", "optimiser, s", "times products", "times both"],
        [
            [
                size["label"],
                *(_spread(size[name]) for name in ("training", "products", "optimizer")),
                *(_spread(size[name]) for name in ("times_products", "times_both")),
            ]
            for size in results["floor"]["sizes"]
        ],
    )


def _pipeline(results: Results) -> Iterator[str]:
    measured = results["pipeline"]
    yield "## `dvc repro`"
    idle, track = measured["nothing_to_do"], measured["track_from_nothing"]["seconds"]
    yield (
        f"In a fresh clone with prepared data: {measured['seconds']:.1f} s, at most "
        f"{measured['peak_memory'] / _GIGA:.2f} GB. With nothing to do: {_spread(idle)} s. "
        f"`track` alone, into an empty store: {track:.1f} s."
    )
    if "contest" in results:
        seconds = _one_pair_seconds(results)
        yield f"The TF1 session would take {seconds:.1f} s for one pair of ten epochs."
    yield _table(["stage", "seconds"], [[k, f"{v:.1f}"] for k, v in measured["stages"].items()])
    parts = {**measured["train"], "evaluate": measured["evaluate"]}
    columns = ["import", "compile", "train", "rest"]
    yield _table(
        ["of which, s", *columns],
        [
            [name, *(f"{part[column]:.1f}" if column in part else "" for column in columns)]
            for name, part in parts.items()
        ],
    )


def _waiting(results: Results) -> Iterator[str]:
    measured = results["waiting"]
    yield "## Waiting"
    yield (
        f"Seconds in a fresh clone with prepared data, before (commit {measured['before']}) and "
        "now, in turn. *Times* is the median of the ratios of each round."
    )
    for command, stages in measured["commands"].items():
        yield _table(
            [command, "before, s", "now, s", "times"],
            [
                [stage, *(_spread(seconds[when]) for when in ("before", "now", "times"))]
                for stage, seconds in stages.items()
            ],
        )


def _growth(results: Results) -> Iterator[str]:
    yield "## Growth"
    yield (
        "One epoch with batch normalisation, trained and scored. One network on one core, except "
        "where seeds or cores grow; seeds train on two cores. Wide networks see fewer examples."
    )
    yield _table(
        ["", "", "networks", "examples", "first, s", "seconds", "µs an example", "memory, GB"],
        [
            [
                name,
                point["value"],
                point["seeds"],
                point["examples"],
                f"{point['first_seconds']:.1f}",
                f"{point['seconds']:.2f}",
                f"{point['microseconds_per_example']:.2f}",
                f"{point['peak_memory'] / _GIGA:.2f}",
            ]
            for name, points in results["growth"].items()
            for point in points
        ],
    )


def _stores(results: Results) -> Iterator[str]:
    yield "## Large stores"
    yield (
        "Commands with a store of MLflow that has 100 and 10,000 runs of the same names and other "
        "code, each with its model. Twenty are those of `demo`: `track` adds them, `compare` and "
        "`reproduce` find one or two by name. *Times* is the median of the ratios of each round."
    )
    yield _table(
        ["", "", "of 100 runs, s", "of 10,000 runs, s", "times"],
        [
            [
                kind,
                f"`{command}`",
                *(_spread(seconds[name]) for name in ("small", "large", "times")),
            ]
            for kind, commands in results["stores"].items()
            for command, seconds in commands.items()
        ],
    )


def _spread(values: Results) -> str:
    return f"{values['median']:.3g} ({values['min']:.3g} to {values['max']:.3g})"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    align = ["left"] + ["right"] * (len(head) - 1)
    return tabulate(rows, head, tablefmt="github", colalign=align, disable_numparse=True)
