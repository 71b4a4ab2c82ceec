"""A study's results as a verdict and a page, and all studies as a gallery."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pipeline.comparison.needed import needed_in_words
from pipeline.comparison.statistics import summary
from pipeline.comparison.verdict import rule_in_words
from pipeline.comparison.words import ABSENT, level, number
from pipeline.reporting.pages import Heading, Paragraph, Picture, Table, markdown, text
from pipeline.studies.judgement import Judged, Outcome, needed, overall
from pipeline.studies.measures.course import DRIFT
from pipeline.studies.study import Rule, Study, short
from pipeline.studies.words import EXPLAINED, headed, is_share, smaller_is_better, words

QUICK = "Made with `--quick`: fewer seeds, shorter training. Its verdict is not reliable."
# Smaller numbers are written with an exponent.
_MOST_DECIMALS = 8
_SIGNS = {"greater": ">", "smaller": "<", "equal": "=", "not_smaller": "≥"}
_BY_MARGIN = {
    "equal": "Two variants are equal if the interval lies within the margin.",
    "not_smaller": "One is not behind the other if the whole interval lies above minus the margin.",
}


def verdict(study: Study, judged: Sequence[Judged], course: pd.DataFrame) -> dict[str, Any]:
    """Returns what `verdict.json` holds; for the arguments see `figures.figure`."""
    distances = list(_distances(study, course))
    return {
        "study": study.name,
        "quick": study.is_quick,
        "claim": study.about.claim,
        "plainly": study.about.plainly,
        "source": study.about.source,
        "published": study.about.published,
        "measured": " ".join(_measured(study, judgement) for judgement in judged),
        "verdict": overall(judged),
        **_coverage(study),
        "rules": [
            {
                "rule": _stated(study, judgement.rule),
                "measured": _measured(study, judgement),
                "candidate": judgement.candidate,
                "baseline": judgement.baseline,
                **(
                    {"points": [_outcome(judgement, outcome) for outcome in judgement.outcomes]}
                    if judgement.rule.everywhere
                    else _outcome(judgement, judgement.outcomes[0])
                ),
                "verdict": judgement.verdict,
            }
            for judgement in judged
        ],
        **({"distance_from_published": distances} if distances else {}),
    }


def _coverage(study: Study) -> dict[str, Any]:
    """Returns where the rules test the claim and where not, if they test only part of the grid."""
    tested = study.tested()
    missed = [point.at for point in study.points if point.at not in tested]
    if not missed:
        return {"where": None, "not_tested": []}
    return {"where": f"at {_places(tested)}", "not_tested": [_at(place) for place in missed]}


def _places(places: Sequence[Mapping[str, Any]]) -> str:
    """Returns points of a grid in words; along one axis: `learning rate 0.1, 0.3 and 1`."""
    if len(places[0]) > 1:
        return " and at ".join(map(_at, places))
    ((axis, _),) = places[0].items()
    *others, last = (_value(value) for place in places for value in place.values())
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"{words(short(axis))} {listed}"


def _outcome(judgement: Judged, outcome: Outcome) -> dict[str, Any]:
    return {
        **({"at": dict(outcome.at)} if outcome.at else {}),
        "means": dict(
            zip((judgement.candidate, judgement.baseline or "number"), outcome.means, strict=True)
        ),
        "chosen": {name: dict(point) for name, point in outcome.chosen.items()},
        **asdict(outcome.effect.paired),
        "p_holm": outcome.effect.p,
        "verdict": outcome.verdict,
    }


def _distances(study: Study, course: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yields the distance of our mean curves from the published ones, at the published steps."""
    for name, values in (study.about.published_values or {}).items():
        published = pd.DataFrame(values)
        if course.empty or "step" not in published:
            continue
        runs, label = course[course["variant"] == name], study.params.variants[name].label
        published = published[published["step"].between(runs["step"].min(), runs["step"].max())]
        for measure in published.columns.drop("step") if len(published) else ():
            means, steps = runs.groupby("step")[measure].mean(), published["step"]
            distances = np.interp(steps, means.index, means) - published[measure].to_numpy()
            yield {
                "variant": name,
                "label": label,
                "measure": str(measure),
                "steps": [int(steps.min()), int(steps.max())],
                "points": len(steps),
                "mean_absolute": float(np.abs(distances).mean()),
                "mean": float(distances.mean()),
            }


def page(
    study: Study, table: pd.DataFrame, judged: Sequence[Judged], record: Mapping[str, Any]
) -> str:
    """Returns the study's page in Markdown; its figure is `figure.png` in the same folder.

    Args:
        study: what was run.
        table: its results.
        judged: its rules with their outcomes.
        record: what `verdict` returned.
    """
    about = study.about
    stage = "study" if about.course is None else "followed"
    again = f"dvc repro studies/dvc.yaml:{stage}@{study.name}"
    if study.is_quick:
        again = f"python -m pipeline study {study.name} --quick"
    blocks = [
        Paragraph(f"**{_answer(record)}.** {record['measured']}"),
        *(Paragraph(_distance_in_words(d)) for d in record.get("distance_from_published", ())),
        *([Paragraph(f"**{QUICK}**")] if study.is_quick else []),
        Picture(study.about.claim, "figure.png"),
        Paragraph(_caption(study, _measures(table, judged))),
        Heading("The claim"),
        Paragraph(f"{about.claim} ({about.source}). Published: {about.published}."),
        *([Paragraph(f"In plain words: {about.plainly}.")] if about.plainly else []),
        Heading("The rule, fixed beforehand"),
        *(
            Paragraph(
                " ".join(
                    [
                        f"{_stated(study, judgement.rule)}: {judgement.verdict}.",
                        *_how_many_more(study, judgement),
                    ]
                )
            )
            for judgement in judged
        ),
        *([Paragraph(_not_tested(record))] if record["not_tested"] else []),
        *([Paragraph(f"Limits: {about.limits}.")] if about.limits else []),
        Paragraph(_how(study, judged)),
        Heading("Measured"),
        _table(study, table, judged),
        Paragraph(
            f"{study.params.variants[judged[0].candidate].training.seeds} seeds per cell. "
            "[results.csv](results.csv) has a row per run, [verdict.json](verdict.json) all "
            "numbers of the verdict, [study.yaml](study.yaml) the protocol. "
            f"To run it again: `{again}`."
        ),
    ]
    return f"# {study.about.claim}\n\n{markdown(blocks)}"


def _how_many_more(study: Study, judgement: Judged) -> Iterator[str]:
    """Yields, for each outcome that is not settled, how many seeds would probably settle it."""
    if study.is_quick:
        # Its seeds are not those of study.yaml, and its runs are shorter.
        return
    rule, first = judgement.rule, judgement.rule.chosen_on or 0
    for outcome in judgement.outcomes:
        if more := needed(rule, outcome):
            ends = outcome.effect.paired.ci_low or 0.0, outcome.effect.paired.ci_high or 0.0
            unit = " points" if _in_points(rule) else ""
            within = f"{_difference(rule, max(map(abs, ends)))}{unit}"
            told = needed_in_words(more, within, lambda pairs: _with_more(study, first + pairs))
            yield f"At {_at(outcome.at)}, {told[0].lower()}{told[1:]}" if outcome.at else told


def _with_more(study: Study, seeds: int) -> str:
    return (
        f"With `seeds: {seeds}` in `studies/{study.name}/study.yaml` only those that are missing "
        "are trained."
    )


def _measures(table: pd.DataFrame, judged: Sequence[Judged]) -> list[str]:
    """Returns the measures that a page shows; drifts are among them if a rule has them."""
    columns = [str(name) for name in table.columns]
    return [
        *(name for name in columns if not name.endswith(DRIFT)),
        *(one.rule.measure for one in judged),
    ]


def _caption(study: Study, measures: Sequence[str]) -> str:
    """Returns how to read the figure, and what its measures are."""
    interval = f"its {level(study.params.comparison.confidence)} interval"
    if study.axes:
        how = f"Each dot is a seed, the line their mean, the band {interval}."
    elif study.about.course is not None:
        how = f"Each line is a mean over the seeds, the band {interval}."
    else:
        how = "Each dot is a run, and a line joins the runs of a pair."
    explained = [text for names, text in EXPLAINED.items() if names.intersection(measures)]
    return " ".join([how, *explained])


def _answer(record: Mapping[str, Any]) -> str:
    """Returns the verdict, and where it holds if that is only part of the grid."""
    where = f" {record['where']}" if record["where"] else ""
    return f"{record['verdict'].capitalize()}{where}"


def _not_tested(record: Mapping[str, Any]) -> str:
    return (
        f"The rule tests the claim {record['where']} only. Not tested, though in the table and the "
        f"figure: {'; '.join(record['not_tested'])}."
    )


def _how(study: Study, judged: Sequence[Judged]) -> str:
    family = max(outcome.effect.family for judgement in judged for outcome in judgement.outcomes)
    rule = rule_in_words(study.params.comparison.confidence, family)
    expected = {judgement.rule.expected for judgement in judged}
    by_margin = [text for asked, text in _BY_MARGIN.items() if asked in expected]
    return (
        "The unit is the seed: the runs of a pair share their initial weights and batches. "
        f"{' '.join([rule, *by_margin])} The claim is supported if every rule is, and refuted if "
        "any rule is."
    )


def _distance_in_words(distance: Mapping[str, Any]) -> str:
    measure, (first, last) = distance["measure"], distance["steps"]
    scale, unit = (100, " points") if is_share(measure) else (1, "")
    return (
        f"{headed(measure)} of {distance['label']} lies "
        f"{scale * distance['mean_absolute']:.2f}{unit} from the published curve on average "
        f"({scale * distance['mean']:+z.2f}{unit} with its sign), over {distance['points']} points "
        f"from step {first:,} to {last:,}."
    )


def in_words(record: Mapping[str, Any]) -> str:
    """Returns what `verdict` returned in a few lines, for the terminal."""
    paragraphs = [record["claim"], f"{_answer(record)}. {record['measured']}"]
    return text([*map(Paragraph, paragraphs), *([Paragraph(QUICK)] if record["quick"] else [])])


def gallery(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Returns the page of all studies, from the contents of their `verdict.json` files."""
    order = ("supported", "refuted", "not settled")
    verdicts = sorted(verdicts, key=lambda record: order.index(record["verdict"]))
    blocks = [
        Paragraph(
            "Claims about batch normalisation, most of them published, each with a rule that was "
            "fixed before the runs. `make studies` runs them all again. Everything that defines a "
            "study is in `studies/<name>/study.yaml`; where that was changed after its first runs, "
            "the study's page says why, and what had come out. Supported claims come first, then "
            "those that are refuted, then those that are not settled."
        ),
        Table(
            ["Claim", "Verdict", "Measured", "Published"],
            [
                [
                    f"[{record['claim']}]({record['study']}/README.md)",
                    f"**{_answer(record).lower()}**" + (" (quick)" if record["quick"] else ""),
                    _in_short(record["rules"]),
                    f"{record['published']} ({record['source']})",
                ]
                for record in verdicts
            ],
        ),
    ]
    for record in verdicts:
        claim, path = record["claim"], f"{record['study']}/figure.png"
        # Verdicts of earlier versions do not have it.
        plainly = [Paragraph(f"{record['plainly']}.")] if record.get("plainly") else []
        blocks += [Heading(claim), *plainly, Picture(claim, path)]
    return f"# Claims about batch normalisation, put to the test\n\n{markdown(blocks)}"


def _in_short(rules: Sequence[Mapping[str, Any]]) -> str:
    """Returns what was measured for the first rule, and how many of the others hold."""
    more = len(rules) - 1
    held = sum(rule["verdict"] == "supported" for rule in rules[1:])
    return rules[0]["measured"] + (f" {held} of {more} more rules hold." if more else "")


def _stated(study: Study, rule: Rule) -> str:
    defaults, variants = study.params.comparison, study.params.variants
    candidate = variants[rule.candidate or defaults.candidate].label
    baseline = (
        variants[rule.baseline or defaults.baseline].label
        if rule.number is None
        else _shown(rule, rule.number)
    )
    what = words(rule.measure)
    if rule.largest is not None:
        sign = "≤" if smaller_is_better(rule.measure) else "≥"
        what = f"largest {words(short(rule.largest))} with {what} {sign} {rule.reaching:g}"
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


def _measured(study: Study, judgement: Judged) -> str:
    rule = judgement.rule
    names = [name for name in (judgement.candidate, judgement.baseline) if name is not None]
    labels = [study.params.variants[name].label for name in names]
    what = f"Largest {words(short(rule.largest))}" if rule.largest else headed(rule.measure)
    if rule.minus is not None:
        what += f" at {_at(rule.at or {})} minus that at {_at(rule.minus)}"
    if rule.everywhere:
        counts = Counter(outcome.verdict for outcome in judgement.outcomes)
        held = ", ".join(f"{verdict} at {count}" for verdict, count in counts.items())
        against = max if rule.expected == "smaller" else min
        least = against(judgement.outcomes, key=lambda outcome: outcome.effect.paired.mean or 0.0)
        return (
            f"{what} of {' and '.join(labels)}{_against(rule)} at each of "
            f"{len(judgement.outcomes)} points of the grid: {held}. "
            f"Least in favour, at {_at(least.at)}: {_difference_in_words(rule, least)}."
        )
    (outcome,) = judgement.outcomes
    means = [
        f"{_shown(rule, mean)} {label}" for mean, label in zip(outcome.means, labels, strict=False)
    ]
    at = [
        f"{label} at {_at(outcome.chosen[name])}"
        for label, name in zip(labels, names, strict=True)
        if name in outcome.chosen
    ]
    chosen = f" ({'; '.join(at)})" if at else ""
    sides = f"{' and '.join(means)}{_against(rule)}{chosen}"
    return f"{what}: {sides}, {_difference_in_words(rule, outcome)}."


def _against(rule: Rule) -> str:
    """Returns the number that a rule compares with, if it does."""
    return "" if rule.number is None else f" against {_shown(rule, rule.number)}"


def _difference_in_words(rule: Rule, outcome: Outcome) -> str:
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
    """Returns a difference without its unit; that of shares is in percentage points."""
    if value is None:
        return ABSENT
    return f"{100 * value:z.2f}" if _in_points(rule) else f"{value:z.4g}"


def _table(study: Study, table: pd.DataFrame, judged: Sequence[Judged]) -> Table:
    axes, related = [short(axis) for axis in study.axes], study.about.related
    # Before training both say nothing.
    accuracy, diverged = ([], []) if study.about.untrained else (["test_accuracy"], ["diverged"])
    measures = list(dict.fromkeys([*accuracy, *(judgement.rule.measure for judgement in judged)]))
    confidence = study.params.comparison.confidence
    rows = []
    for name, variant in study.params.variants.items():
        of_variant = table[table["variant"] == name]
        groups = of_variant.groupby(axes, sort=False) if axes else [((), of_variant)]
        for values, group in groups:
            cells = [_cell(group[measure].to_numpy(), measure, confidence) for measure in measures]
            if related:
                cells.append(_correlation(*(group[measure].to_numpy() for measure in related)))
            cells += [str(int(group[name].sum())) for name in diverged]
            rows.append([variant.label, *map(_value, values), *cells])
    header = ["", *map(words, axes)]
    header += [f"{words(name)}{', %' if is_share(name) else ''}" for name in measures]
    if related:
        header.append(f"Spearman's correlation of {' and '.join(map(words, related))}")
    return Table([*header, *diverged], rows)


def _cell(values: NDArray[np.floating], measure: str, confidence: float) -> str:
    over_seeds = summary(values, confidence)
    if over_seeds.mean is None:
        return ABSENT
    mean, high = over_seeds.mean, over_seeds.ci_high
    numbers = [mean] if high is None else [mean, high - mean]
    if is_share(measure):
        return " ± ".join(number(100 * value, 2) for value in numbers)
    form = ".3g"
    if high is not None and high > mean:
        # Two digits of the interval, and as many decimals of the mean.
        decimals = max(0, 1 - math.floor(math.log10(high - mean)))
        form = f".{decimals}f" if decimals <= _MOST_DECIMALS else ".2g"
    return " ± ".join(f"{value:{form}}" for value in numbers)


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> str:
    """Returns the rank correlation over seeds with its p; a dash unless both measures vary."""
    finite = np.isfinite(a) & np.isfinite(b)
    if min(len(np.unique(a[finite])), len(np.unique(b[finite]))) < 2:
        return ABSENT
    correlation = stats.spearmanr(a[finite], b[finite])
    return f"{correlation.statistic:+z.2f} (p {correlation.pvalue:.2g})"
