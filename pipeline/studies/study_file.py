"""Reads studies/<name>/study.yaml: a params.yaml with a claim, a grid and rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import product
from typing import Any

from pipeline.errors import ArgumentError, ParamsError
from pipeline.params_file import PARAMS_FILE, load, params_of, section
from pipeline.studies.measures.course import DRIFT, MEAN
from pipeline.studies.measures.probes import PROBES
from pipeline.studies.study import (
    MEASURES,
    SCORES,
    STUDIES,
    UNTRAINED,
    About,
    Point,
    Rule,
    Study,
    named,
    short,
)

_OWN = (*About.model_fields, "grid", "quick")


def names() -> list[str]:
    """Returns the names of all studies in the folder."""
    return sorted(path.parent.name for path in STUDIES.glob("*/study.yaml"))


def read_study(name: str, *, quick: bool) -> Study:
    """Returns a study by the name of its folder.

    Args:
        name: that of the folder.
        quick: whether to apply the study's block `quick`.

    Raises:
        ArgumentError: if there is no such study.
        ParamsError: if a value breaks a rule; the message names key, rule, value and file.
    """
    path = STUDIES / name / "study.yaml"
    if name not in names():
        raise ArgumentError(f"{name!r} is not a study; there are {', '.join(names()) or 'none'}")
    try:
        return _study(name, load(path), quick=quick)
    except ParamsError as error:
        # The rules are those of params.yaml, but the value is in the study's file.
        raise ParamsError(str(error).replace(str(PARAMS_FILE), str(path))) from None


def _study(name: str, tree: object, *, quick: bool) -> Study:
    if not isinstance(tree, Mapping):
        raise ParamsError(f"{PARAMS_FILE} must be a block of keys")
    own = {key: tree[key] for key in _OWN if key in tree}
    axes, changes = own.pop("grid", {}), dict(own.pop("quick", {}))
    base = {key: value for key, value in tree.items() if key not in _OWN}
    if quick:
        axes, own["rules"] = changes.pop("grid", axes), changes.pop("rules", own.get("rules"))
        for key, value in changes.items():
            base = _changed(base, key, value)
    about = section(About, own, "")
    base["tracking"] = {"experiment": f"study: {name}"}
    if isinstance(base.get("comparison"), Mapping):
        if "measure" in base["comparison"]:
            message = "remove `measure`: each rule of a study names its own"
            raise ParamsError(f"{message} ({PARAMS_FILE}, comparison)")
        for key in ("looks", "looked_at"):
            if key in base["comparison"]:
                message = f"remove `{key}`: a study has all its runs before it is looked at"
                raise ParamsError(f"{message} ({PARAMS_FILE}, comparison)")
        once = {"looks": "once", "looked_at": 0}
        base["comparison"] = {**base["comparison"], "measure": "accuracy", **once}
    steps = {axis: list(_steps(axis, values)) for axis, values in axes.items()}
    study = Study(
        name=name,
        about=about,
        axes={_first(axis): tuple(value for value, _ in along) for axis, along in steps.items()},
        points=tuple(_points(base, steps)),
        is_quick=quick,
    )
    _expect_whole_runs(study)
    _check(study)
    return study


def _expect_whole_runs(study: Study) -> None:
    if any(variant.training.early_stopping for variant in study.params.variants.values()):
        message = "remove `early_stopping`: a study measures every run after its last epoch"
        raise ParamsError(f"{message} ({PARAMS_FILE}, training)")


def _first(axis: str) -> str:
    """Returns the parameter that gives an axis its name: the first that it changes."""
    return axis.partition(",")[0].strip()


def _steps(axis: str, values: object) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yields each value along an axis, with the parameters that it sets.

    An axis is a parameter's name with a list of values, or several names separated by commas with
    a list of lists, as pytest spells it: `a, b: [[1, 2], [3, 4]]`.
    """
    keys = [key.strip() for key in axis.split(",")]
    if not isinstance(values, list) or not values:
        raise ParamsError(f"`{axis}` must be a list of values ({PARAMS_FILE}, grid)")
    for value in values:
        together = value if len(keys) > 1 else [value]
        if not isinstance(together, list) or len(together) != len(keys):
            rule = f"must be lists of {len(keys)} values"
            raise ParamsError(f"`{axis}` {rule}, got {value!r} ({PARAMS_FILE}, grid)")
        yield named(together[0]), dict(zip(keys, together, strict=True))


def _points(
    base: Mapping[str, Any], steps: Mapping[str, list[tuple[Any, dict[str, Any]]]]
) -> Iterator[Point]:
    for chosen in product(*steps.values()):
        tree = base
        for _, changes in chosen:
            for key, value in changes.items():
                tree = _changed(tree, key, value)
        at = dict(zip(map(_first, steps), (value for value, _ in chosen), strict=True))
        yield Point(at, params_of(tree))


def _changed(tree: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Returns a copy in which `key`, with dots as DVC spells it, has the value."""
    copy = deepcopy(dict(tree))
    *blocks, last = key.split(".")
    block: Any = copy
    for name in blocks:
        block = block.get(name) if isinstance(block, dict) else None
    if not isinstance(block, dict):
        raise ParamsError(f"`{key}` is not a parameter ({PARAMS_FILE})")
    block[last] = value
    return copy


def _check(study: Study) -> None:
    about = study.about
    for key, probes in (("probes", about.probes), ("course", about.course or ())):
        for probe in probes:
            if probe not in PROBES:
                rule = f"one of {', '.join(PROBES)}"
                raise ParamsError(f"`{key}` must be {rule}, got {probe!r} ({PARAMS_FILE})")
    measures = _measures(about)
    for measure in about.related or ():
        if measure not in measures:
            listed = ", ".join(sorted(measures))
            raise ParamsError(f"`related` must be among {listed}, got {measure!r} ({PARAMS_FILE})")
    for variant, values in (about.published_values or {}).items():
        _check_published(study, variant, values, measures)
    variants, axes = study.params.variants, {*study.axes, *map(short, study.axes)}
    for place, rule in enumerate(study.about.rules):
        where = f"({PARAMS_FILE}, rules[{place}])"
        for key, value, allowed in (
            ("measure", rule.measure, measures),
            ("best_by", rule.best_by, measures),
            ("largest", rule.largest, axes),
            ("baseline", rule.baseline, variants),
            ("candidate", rule.candidate, variants),
            *(("at", axis, axes) for axis in rule.at or ()),
            *(("minus", axis, axes) for axis in rule.minus or ()),
        ):
            if value is not None and value not in allowed:
                listed = ", ".join(sorted(allowed))
                raise ParamsError(f"`{key}` must be one of {listed}, got {value!r} {where}")
        _check_place(study, rule, where)


def _check_place(study: Study, rule: Rule, where: str) -> None:
    """Checks that a rule takes one number per seed: seeds of different points form no pairs."""
    chooses = rule.everywhere or rule.best_by or rule.largest
    if not chooses and rule.at is None and len(study.points) > 1:
        ways = "`at`, `everywhere: true`, `best_by` or `largest`"
        raise ParamsError(f"give {ways}: the grid has {len(study.points)} points {where}")
    for key, point in (("at", rule.at), ("minus", rule.minus)):
        if point is None:
            continue
        values = {short(axis): value for axis, value in point.items()}
        for axis, along in study.axes.items():
            name, listed = short(axis), ", ".join(map(str, along))
            if name not in values and len(along) > 1:
                raise ParamsError(f"`{key}` needs a value of {name}, one of {listed} {where}")
            if name in values and values[name] not in along:
                what = f"must have one of {listed} for {name}, got {values[name]!r}"
                raise ParamsError(f"`{key}` {what} {where}")


def _check_published(
    study: Study, variant: str, values: Mapping[str, tuple[float, ...]], measures: set[str]
) -> None:
    where = f"({PARAMS_FILE}, published_values)"
    if variant not in study.params.variants:
        listed = ", ".join(study.params.variants)
        raise ParamsError(f"`{variant}` must be one of {listed} {where}")
    for name in values:
        if name not in {"step", *measures}:
            listed = ", ".join(sorted({"step", *measures}))
            raise ParamsError(f"`{variant}` may only have {listed}, got {name!r} {where}")
    if len({*map(len, values.values())}) > 1:
        raise ParamsError(f"`{variant}` must have lists of one length {where}")


def _measures(about: About) -> set[str]:
    """Returns the columns of the study's results."""
    scores = UNTRAINED if about.untrained else MEASURES
    measures = {*scores, *(name for probe in about.probes for name in PROBES[probe].measures)}
    if about.course is not None:
        followed = {*SCORES, *(name for probe in about.course for name in PROBES[probe].measures)}
        measures |= followed | {name + end for name in followed for end in (MEAN, DRIFT)}
    return measures
