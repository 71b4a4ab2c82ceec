"""A study's results as verdict and page; all studies as a gallery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pipeline.comparison.statistics import summary
from pipeline.comparison.verdict import rule_in_words
from pipeline.comparison.words import ABSENT, level, number
from pipeline.reporting.pages import Heading, Paragraph, Picture, Table, markdown, text
from pipeline.studies.judgement import Judged, Outcome, overall
from pipeline.studies.study import Rule, Study, short
from pipeline.studies.words import EXPLAINED, headed, is_share, words

QUICK = "Made with `--quick`: fewer seeds, shorter training. No verdict of it is to be believed."
_SIGNS = {"greater": ">", "smaller": "<", "equal": "="}


def verdict(study: Study, judged: Sequence[Judged], course: pd.DataFrame) -> dict[str, Any]:
    """Returns what `verdict.json` holds; for the arguments see `study_figures.figure`."""
    distances = list(_distances(study, course))
    return {
        "study": study.name,
        "quick": study.is_quick,
        "claim": study.about.claim,
        "source": study.about.source,
        "published": study.about.published,
        "measured": " ".join(_measured(study, one) for one in judged),
        "verdict": overall(judged),
        **_coverage(study),
        "rules": [
            {
                "rule": _stated(study, one.rule),
                "measured": _measured(study, one),
                "candidate": one.candidate,
                "baseline": one.baseline,
                **(
                    {"points": [_outcome(one, outcome) for outcome in one.outcomes]}
                    if one.rule.everywhere
                    else _outcome(one, one.outcomes[0])
                ),
                "verdict": one.verdict,
            }
            for one in judged
        ],
        **({"distance_from_published": distances} if distances else {}),
    }


def _coverage(study: Study) -> dict[str, Any]:
    """Returns where the rules tested the claim, if that is a part of the grid, and where not."""
    tested = study.tested()
    missed = [point.at for point in study.points if point.at not in tested]
    if not missed:
        return {"where": None, "not_tested": []}
    return {"where": f"at {_places(tested)}", "not_tested": [_at(place) for place in missed]}


def _places(places: Sequence[Mapping[str, Any]]) -> str:
    """Returns points of a grid: along one axis `learning rate 0.1, 0.3 and 1`."""
    if len(places[0]) > 1:
        return " and at ".join(map(_at, places))
    ((axis, _),) = places[0].items()
    *others, last = (_value(value) for place in places for value in place.values())
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"{words(short(axis))} {listed}"


def _outcome(one: Judged, outcome: Outcome) -> dict[str, Any]:
    return {
        **({"at": dict(outcome.at)} if outcome.at else {}),
        "means": dict(zip((one.candidate, one.baseline), outcome.means, strict=True)),
        "chosen": {name: dict(point) for name, point in outcome.chosen.items()},
        **asdict(outcome.effect.paired),
        "p_holm": outcome.effect.p,
        "verdict": outcome.verdict,
    }


def _distances(study: Study, course: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yields how far our mean curves are from the published ones, at the steps of those."""
    for name, told in (study.about.published_values or {}).items():
        there = pd.DataFrame(told)
        if course.empty or "step" not in there:
            continue
        own, label = course[course["variant"] == name], study.params.variants[name].label
        there = there[there["step"].between(own["step"].min(), own["step"].max())]
        for measure in there.columns.drop("step") if len(there) else ():
            ours, steps = own.groupby("step")[measure].mean(), there["step"]
            apart = np.interp(steps, ours.index, ours) - there[measure].to_numpy()
            yield {
                "variant": name,
                "label": label,
                "measure": str(measure),
                "steps": [int(steps.min()), int(steps.max())],
                "points": len(steps),
                "mean_absolute": float(np.abs(apart).mean()),
                "mean": float(apart.mean()),
            }


def page(
    study: Study, table: pd.DataFrame, judged: Sequence[Judged], told: Mapping[str, Any]
) -> str:
    """Returns the study's page, in Markdown; its figure is `figure.png` beside it.

    Args:
        study: what was run.
        table: its results.
        judged: what they came to.
        told: its `verdict`.
    """
    about = study.about
    stage = "study" if about.course is None else "followed"
    blocks = [
        Paragraph(f"**{_answer(told)}.** {told['measured']}"),
        *(Paragraph(_distance_told(one)) for one in told.get("distance_from_published", ())),
        *([Paragraph(f"**{QUICK}**")] if study.is_quick else []),
        Picture(study.about.claim, "figure.png"),
        Paragraph(_caption(study, [str(name) for name in table.columns])),
        Heading("The claim"),
        Paragraph(f"{about.claim} ({about.source}). Published: {about.published}."),
        Heading("The rule, fixed beforehand"),
        *(Paragraph(f"{_stated(study, one.rule)}: {one.verdict}.") for one in judged),
        *([Paragraph(_not_tested(told))] if told["not_tested"] else []),
        Paragraph(_how(study, judged)),
        Heading("Measured"),
        _table(study, table, judged),
        Paragraph(
            f"{study.params.variants[judged[0].candidate].training.seeds} seeds a cell; a row a "
            "seed and cell in [results.csv](results.csv), all figures of the verdict in "
            "[verdict.json](verdict.json), the protocol in [study.yaml](study.yaml). "
            f"Made again by `dvc repro studies/dvc.yaml:{stage}@{study.name}`."
        ),
    ]
    return f"# {study.about.claim}\n\n{markdown(blocks)}"


def _caption(study: Study, measures: Sequence[str]) -> str:
    """Returns how the figure is read, and what its measures are."""
    interval = f"its {level(study.params.comparison.confidence)} interval"
    if study.axes:
        shown = f"A dot is a seed, the line their mean, the band {interval}."
    elif study.about.course is not None:
        shown = f"A line is the mean over the seeds, the band {interval}."
    else:
        shown = "A dot is a seed, and a line joins a pair."
    told = [text for names, text in EXPLAINED.items() if names.intersection(measures)]
    return " ".join([shown, *told])


def _answer(told: Mapping[str, Any]) -> str:
    """Returns the verdict, and where it holds if that is a part of the grid."""
    where = f" {told['where']}" if told["where"] else ""
    return f"{told['verdict'].capitalize()}{where}"


def _not_tested(told: Mapping[str, Any]) -> str:
    return (
        f"The rule tests the claim {told['where']} only. Not tested, though in the table and the "
        f"figure: {'; '.join(told['not_tested'])}."
    )


def _how(study: Study, judged: Sequence[Judged]) -> str:
    family = max(outcome.effect.family for one in judged for outcome in one.outcomes)
    rule = rule_in_words(study.params.comparison.confidence, family)
    return (
        "The unit is the seed: both variants of a pair share initial weights and batches. "
        f"{rule} Two are equal if the interval lies within the margin. The claim is supported if "
        "every rule is, and refuted if one is."
    )


def _distance_told(one: Mapping[str, Any]) -> str:
    first, last = one["steps"]
    scale, unit = (100, " points") if is_share(one["measure"]) else (1, "")
    return (
        f"{headed(one['measure'])} of {one['label']} lies {scale * one['mean_absolute']:.2f}{unit} "
        f"from the published curve on average ({scale * one['mean']:+z.2f}{unit} with its sign), "
        f"over {one['points']} points from step {first:,} to {last:,}."
    )


def in_words(told: Mapping[str, Any]) -> str:
    """Returns a study's `verdict` in a few lines, for the terminal."""
    said = [told["claim"], f"{_answer(told)}. {told['measured']}"]
    return text([*map(Paragraph, said), *([Paragraph(QUICK)] if told["quick"] else [])])


def gallery(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Returns the page of all studies, from what their `verdict.json` hold."""
    blocks = [
        Paragraph(
            "Claims on batch normalisation, most of them published, each with a rule that was "
            "fixed before the runs. `make studies` makes all of it again; "
            "`studies/<name>/study.yaml` is all there is to a study."
        ),
        Table(
            ["Claim", "Verdict", "Measured", "Published"],
            [
                [
                    f"[{one['claim']}]({one['study']}/README.md)",
                    f"**{_answer(one).lower()}**" + (" (quick)" if one["quick"] else ""),
                    _in_short(one["rules"]),
                    f"{one['published']} ({one['source']})",
                ]
                for one in verdicts
            ],
        ),
    ]
    for one in verdicts:
        blocks += [Heading(one["claim"]), Picture(one["claim"], f"{one['study']}/figure.png")]
    return f"# Claims on batch normalisation, put to the test\n\n{markdown(blocks)}"


def _in_short(rules: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the first rule came to, and how many more there are."""
    more = len(rules) - 1
    held = sum(one["verdict"] == "supported" for one in rules[1:])
    return rules[0]["measured"] + (f" {held} of {more} more rules hold." if more else "")


def _stated(study: Study, rule: Rule) -> str:
    settled, variants = study.params.comparison, study.params.variants
    candidate = variants[rule.candidate or settled.candidate].label
    baseline = variants[rule.baseline or settled.baseline].label
    what = words(rule.measure)
    if rule.largest is not None:
        what = f"largest {words(short(rule.largest))} with {what} ≥ {rule.reaching:g}"
    where = ", at every point of the grid" if rule.everywhere else ""
    if rule.at is not None:
        where = f", at {_at(rule.at)}"
        if rule.minus is not None:
            where += f" minus that at {_at(rule.minus)}"
    elif rule.best_by is not None:
        where = f", each at its best by {words(rule.best_by)} on {rule.chosen_on} other seeds"
    unit = " points" if _in_points(rule) else ""
    within = f" within {_difference(rule, rule.margin)}{unit}" if rule.margin is not None else ""
    return f"{what} of {candidate} {_SIGNS[rule.expected]} {baseline}{within}{where}"


def _measured(study: Study, one: Judged) -> str:
    rule, names = one.rule, (one.candidate, one.baseline)
    labels = [study.params.variants[name].label for name in names]
    what = f"Largest {words(short(rule.largest))}" if rule.largest else headed(rule.measure)
    if rule.minus is not None:
        what += f" at {_at(rule.at or {})} minus that at {_at(rule.minus)}"
    if rule.everywhere:
        counts = Counter(outcome.verdict for outcome in one.outcomes)
        held = ", ".join(f"{verdict} at {count}" for verdict, count in counts.items())
        against = max if rule.expected == "smaller" else min
        least = against(one.outcomes, key=lambda outcome: outcome.effect.paired.mean or 0.0)
        return (
            f"{what} of {labels[0]} and {labels[1]} at each of {len(one.outcomes)} points of the "
            f"grid: {held}. Where it is least in favour, at {_at(least.at)}: "
            f"{_difference_told(rule, least)}."
        )
    (outcome,) = one.outcomes
    means = [
        f"{_shown(rule, mean)} {label}" for mean, label in zip(outcome.means, labels, strict=True)
    ]
    at = [
        f"{label} at {_at(outcome.chosen[name])}"
        for label, name in zip(labels, names, strict=True)
        if name in outcome.chosen
    ]
    chosen = f" ({'; '.join(at)})" if at else ""
    return f"{what}: {' and '.join(means)}{chosen}, {_difference_told(rule, outcome)}."


def _difference_told(rule: Rule, outcome: Outcome) -> str:
    paired = outcome.effect.paired
    ends = [_difference(rule, end) for end in (paired.ci_low, paired.ci_high)]
    interval = "no interval" if paired.ci_low is None else " to ".join(ends)
    unit = " points" if _in_points(rule) else ""
    smaller = rule.expected == "smaller"
    pairs = paired.n - paired.wins - paired.ties if smaller else paired.wins
    return (
        f"difference {_difference(rule, paired.mean)}{unit} ({interval}), "
        f"{'smaller' if smaller else 'greater'} in {pairs} of {paired.n}"
    )


def _at(point: Mapping[str, Any]) -> str:
    return ", ".join(f"{words(short(axis))} {_value(value)}" for axis, value in point.items())


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _in_points(rule: Rule) -> bool:
    return rule.largest is None and is_share(rule.measure)


def _shown(rule: Rule, value: float | None) -> str:
    if value is None:
        return ABSENT
    if not _in_points(rule):
        return f"{value:z.4g}"
    return f"{100 * value:z.2f} {'%' if rule.minus is None else 'points'}"


def _difference(rule: Rule, value: float | None) -> str:
    """Returns a difference: of shares in percentage points, which the text around it names."""
    if value is None:
        return ABSENT
    return f"{100 * value:z.2f}" if _in_points(rule) else f"{value:z.4g}"


def _table(study: Study, table: pd.DataFrame, judged: Sequence[Judged]) -> Table:
    axes, related = [short(axis) for axis in study.axes], study.about.related
    measures = list(dict.fromkeys(["test_accuracy", *(one.rule.measure for one in judged)]))
    confidence = study.params.comparison.confidence
    rows = []
    for name, variant in study.params.variants.items():
        of_variant = table[table["variant"] == name]
        groups = of_variant.groupby(axes, sort=False) if axes else [((), of_variant)]
        for values, group in groups:
            cells = [_cell(group[measure].to_numpy(), measure, confidence) for measure in measures]
            if related:
                cells.append(_correlation(*(group[measure].to_numpy() for measure in related)))
            diverged = int(group["diverged"].sum())
            rows.append([variant.label, *map(_value, values), *cells, str(diverged)])
    header = ["", *map(words, axes)]
    header += [f"{words(one)}{', %' if is_share(one) else ''}" for one in measures]
    if related:
        header.append(f"Spearman's correlation of {' and '.join(map(words, related))}")
    return Table([*header, "diverged"], rows)


def _cell(values: NDArray[np.floating], measure: str, confidence: float) -> str:
    found = summary(values, confidence)
    if found.mean is None:
        return ABSENT
    half = None if found.ci_high is None else found.ci_high - found.mean
    told = [
        number(100 * one, 2) if is_share(measure) else f"{one:.2g}"
        for one in (found.mean, half or 0.0)
    ]
    return " ± ".join(told[: 1 if half is None else 2])


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> str:
    """Returns the rank correlation over the seeds with its p, where both vary."""
    finite = np.isfinite(a) & np.isfinite(b)
    if min(len(np.unique(a[finite])), len(np.unique(b[finite]))) < 2:
        return ABSENT
    found = stats.spearmanr(a[finite], b[finite])
    return f"{found.statistic:+z.2f} (p {found.pvalue:.2g})"
