"""A study's results as figure, verdict and page; all studies as a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter

from pipeline.core.figures import COLORS
from pipeline.core.judgement import Judged, overall
from pipeline.core.pages import Heading, Paragraph, Picture, Table, markdown
from pipeline.core.report import ABSENT, number
from pipeline.core.statistics import summary
from pipeline.core.studies import Rule, Study, short

QUICK = "Made with `--quick`: fewer seeds, shorter training. No verdict of it is to be believed."
# Shown, and drawn, in per cent.
_SHARES = ("accuracy", "dead_units", "diverged")
# What is no word of everyday language, as people write it.
_NAMES = {"fgsm": "FGSM", "pgd": "PGD"}
_LABEL_WIDTH = 10
_SIGNS = {"greater": ">", "smaller": "<", "equal": "="}


def figure(study: Study, table: pd.DataFrame, judged: Sequence[Judged]) -> Figure:
    """Shows each measure that a rule is about: over the grid's axis, or seed by seed."""
    measures = list(dict.fromkeys(one.rule.measure for one in judged))
    drawn = Figure(figsize=(5.2 * max(len(measures), 1.4), 4.4), layout="constrained")
    for axis, measure in zip(
        drawn.subplots(1, len(measures), squeeze=False)[0], measures, strict=True
    ):
        if study.axes:
            _draw_grid(axis, study, table, measure)
        else:
            _draw_seeds(axis, study, table, measure)
        axis.set_title(_headed(measure), fontsize=11)
        if measure.endswith(_SHARES):
            axis.yaxis.set_major_formatter(PercentFormatter(1))
        axis.spines[["top", "right"]].set_visible(False)
    if study.axes:
        handles, labels = drawn.axes[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    if study.is_quick:
        drawn.suptitle("quick: not to be believed", fontsize=9, color="#D55E00")
    return drawn


def _draw_grid(axis: Axes, study: Study, table: pd.DataFrame, measure: str) -> None:
    along, *others = study.axes
    if others:
        raise NotImplementedError("a grid of more than one axis has no figure yet")
    places = np.array(study.axes[along], dtype=float)
    for (name, variant), color in zip(study.params.variants.items(), COLORS, strict=False):
        rows = table[table["variant"] == name]
        groups = [rows[rows[short(along)] == value][measure].to_numpy() for value in places]
        found = [summary(group, study.params.comparison.confidence) for group in groups]
        means = [np.nan if one.mean is None else one.mean for one in found]
        for place, group in zip(places, groups, strict=True):
            axis.plot(np.full(len(group), place), group, ".", color=color, alpha=0.25, ms=4)
        axis.plot(places, means, "o-", color=color, ms=4.5, label=variant.label)
        ends = [[one.ci_low, one.ci_high] for one in found]
        low, high = np.array(ends, dtype=float).T
        axis.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
    if places.min() > 0 and places.max() / places.min() >= 10:
        axis.set_xscale("log")
        axis.set_xticks(places, [f"{place:g}" for place in places], fontsize=8)
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(_headed(short(along)))


def _draw_seeds(axis: Axes, study: Study, table: pd.DataFrame, measure: str) -> None:
    names = list(study.params.variants)
    columns = [table[table["variant"] == name].sort_values("seed")[measure] for name in names]
    values = np.array([column.to_numpy(dtype=float) for column in columns])
    axis.plot(range(len(names)), values, color="#666666", linewidth=0.6, alpha=0.5, zorder=1)
    for place, color in zip(range(len(names)), COLORS, strict=False):
        axis.scatter(np.full(values.shape[1], place), values[place], color=color, s=22, zorder=2)
    labels = [fill(one.label, _LABEL_WIDTH) for one in study.params.variants.values()]
    axis.set_xticks(range(len(names)), labels)
    axis.set_xlim(-0.4, len(names) - 0.6)


def verdict(study: Study, judged: Sequence[Judged]) -> dict[str, Any]:
    """Returns what `verdict.json` holds."""
    return {
        "study": study.name,
        "quick": study.is_quick,
        "claim": study.about.claim,
        "source": study.about.source,
        "published": study.about.published,
        "measured": " ".join(_measured(study, one) for one in judged),
        "verdict": overall(judged),
        "rules": [
            {
                "rule": _stated(study, one.rule),
                "candidate": one.candidate,
                "baseline": one.baseline,
                "means": dict(zip((one.candidate, one.baseline), one.numbers, strict=True)),
                "chosen": one.points,
                "verdict": one.verdict,
                "p_holm": one.p,
                **asdict(one.comparison),
            }
            for one in judged
        ],
    }


def page(study: Study, table: pd.DataFrame, judged: Sequence[Judged]) -> str:
    """Returns the study's page, in Markdown; its figure is `figure.png` beside it."""
    told, about = verdict(study, judged), study.about
    blocks = [
        Paragraph(f"**{told['verdict'].capitalize()}.** {told['measured']}"),
        *([Paragraph(f"**{QUICK}**")] if study.is_quick else []),
        Picture(study.about.claim, "figure.png"),
        Heading("The claim"),
        Paragraph(f"{about.claim} ({about.source}). Published: {about.published}."),
        Heading("The rule, fixed beforehand"),
        *(Paragraph(f"{_stated(study, one.rule)}: {one.verdict}.") for one in judged),
        Paragraph(_HOW),
        Heading("Measured"),
        _table(study, table, judged),
        Paragraph(
            f"{study.params.variants[judged[0].candidate].training.seeds} seeds a cell; a row a "
            "seed and cell in [results.csv](results.csv), all figures of the verdict in "
            "[verdict.json](verdict.json), the protocol in [study.yaml](study.yaml). "
            f"Made again by `dvc repro studies/dvc.yaml:{study.name}`."
        ),
    ]
    return f"# {study.about.claim}\n\n{markdown(blocks)}"


_HOW = (
    "The unit is the seed: both variants of a pair share initial weights and batches. A "
    "difference counts if the BCa interval of its mean leaves out 0, the share of pairs won can be "
    "told from a half and reaches 0.75, and Wilcoxon's p, Holm-adjusted over the rules, is below "
    "the level."
)


def gallery(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Returns the page of all studies, from what their `verdict.json` hold."""
    blocks = [
        Paragraph(
            "Well-known claims on batch normalisation, each with a rule that was fixed before the "
            "runs. `make studies` makes all of it again; `studies/<name>/study.yaml` is all there "
            "is to a study."
        ),
        Table(
            ["Claim", "Verdict", "Measured", "Published"],
            [
                [
                    f"[{one['claim']}]({one['study']}/README.md)",
                    f"**{one['verdict']}**" + (" (quick)" if one["quick"] else ""),
                    one["measured"],
                    f"{one['published']} ({one['source']})",
                ]
                for one in verdicts
            ],
        ),
    ]
    for one in verdicts:
        blocks += [Heading(one["claim"]), Picture(one["claim"], f"{one['study']}/figure.png")]
    return f"# Published claims, put to the test\n\n{markdown(blocks)}"


def _stated(study: Study, rule: Rule) -> str:
    settled, variants = study.params.comparison, study.params.variants
    candidate = variants[rule.candidate or settled.candidate].label
    baseline = variants[rule.baseline or settled.baseline].label
    what = _words(rule.measure)
    if rule.largest is not None:
        what = f"largest {_words(short(rule.largest))} with {what} ≥ {rule.reaching:g}"
    where = ""
    if rule.at is not None:
        where = ", at " + ", ".join(f"{_words(short(a))} {v:g}" for a, v in rule.at.items())
    elif rule.best_by is not None:
        where = f", each at its best by {_words(rule.best_by)} on {rule.chosen_on} other seeds"
    unit = " points" if _is_share(rule) else ""
    within = f" within {_difference(rule, rule.margin)}{unit}" if rule.margin is not None else ""
    return f"{what} of {candidate} {_SIGNS[rule.expected]} {baseline}{within}{where}"


def _measured(study: Study, one: Judged) -> str:
    result, rule = one.comparison, one.rule
    labels = [study.params.variants[name].label for name in (one.candidate, one.baseline)]
    means = [
        f"{_shown(rule, mean)} {label}" for mean, label in zip(one.numbers, labels, strict=True)
    ]
    at = [
        f"{label} at {', '.join(f'{_words(axis)} {value:g}' for axis, value in point.items())}"
        for label, name in zip(labels, (one.candidate, one.baseline), strict=True)
        if (point := one.points.get(name))
    ]
    what = f"Largest {_words(short(rule.largest))}" if rule.largest else _headed(rule.measure)
    ends = [_difference(rule, end) for end in (result.ci_low, result.ci_high)]
    interval = "no interval" if result.ci_low is None else " to ".join(ends)
    chosen = f" ({'; '.join(at)})" if at else ""
    unit = " points" if _is_share(rule) else ""
    return (
        f"{what}: {' and '.join(means)}{chosen}, difference {_difference(rule, result.mean)}{unit} "
        f"({interval}), ahead in {result.wins} of {result.n}."
    )


def _is_share(rule: Rule) -> bool:
    return rule.largest is None and rule.measure.endswith(_SHARES)


def _shown(rule: Rule, value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{100 * value:z.2f} %" if _is_share(rule) else f"{value:z.4g}"


def _difference(rule: Rule, value: float | None) -> str:
    """Returns a difference: of shares in percentage points, which the text around it names."""
    if value is None:
        return ABSENT
    return f"{100 * value:z.2f}" if _is_share(rule) else f"{value:z.4g}"


def _table(study: Study, table: pd.DataFrame, judged: Sequence[Judged]) -> Table:
    axes = [short(axis) for axis in study.axes]
    measures = list(dict.fromkeys(["test_accuracy", *(one.rule.measure for one in judged)]))
    confidence = study.params.comparison.confidence
    rows = []
    for name, variant in study.params.variants.items():
        of_variant = table[table["variant"] == name]
        groups = of_variant.groupby(axes) if axes else [((), of_variant)]
        for values, group in groups:
            cells = [_cell(group[measure].to_numpy(), measure, confidence) for measure in measures]
            diverged = int(group["diverged"].sum())
            rows.append([variant.label, *(f"{v:g}" for v in values), *cells, str(diverged)])
    units = [f"{_words(one)}{', %' if one.endswith(_SHARES) else ''}" for one in measures]
    header = ["", *map(_words, axes), *units, "diverged"]
    return Table(header, rows)


def _cell(values: np.ndarray[Any, Any], measure: str, confidence: float) -> str:
    found = summary(values, confidence)
    if found.mean is None:
        return ABSENT
    is_share = measure.endswith(_SHARES)
    half = None if found.ci_high is None else found.ci_high - found.mean
    told = [number(100 * one, 2) if is_share else f"{one:.2g}" for one in (found.mean, half or 0.0)]
    return " ± ".join(told[: 1 if half is None else 2])


def _words(name: str) -> str:
    return " ".join(_NAMES.get(word, word) for word in name.split("_"))


def _headed(name: str) -> str:
    """Returns the words as a sentence begins."""
    words = _words(name)
    return words[0].upper() + words[1:]
