"""Reads studies/<name>/study.yaml: a params.yaml with a claim, a grid and rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.adapters.params_file import PARAMS_FILE, load, params_of, section
from pipeline.core.probes import PROBES
from pipeline.core.studies import MEASURES, About, Point, Study, short
from pipeline.errors import ArgumentError, ParamsError

STUDIES = Path("studies")
_OWN = (*About.model_fields, "grid", "quick")


def names() -> list[str]:
    """Returns the studies that are here."""
    return sorted(path.parent.name for path in STUDIES.glob("*/study.yaml"))


def read_study(name: str, *, quick: bool) -> Study:
    """Returns a study by the name of its folder.

    Args:
        name: of the folder.
        quick: apply what the study's block `quick` changes.

    Raises:
        ArgumentError: if there is no such study.
        ParamsError: if a value breaks a rule; the message names key, rule, value and file.
    """
    path = STUDIES / name / "study.yaml"
    if name not in names():
        raise ArgumentError(f"{name!r} is no study; there are {', '.join(names()) or 'none'}")
    try:
        return _study(name, load(path), quick=quick)
    except ParamsError as error:
        # The same rules, in another file.
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
    points = tuple(_points(base, axes))
    study = Study(
        name=name,
        about=about,
        axes={axis: tuple(values) for axis, values in axes.items()},
        points=points,
        is_quick=quick,
    )
    _check(study)
    return study


def _points(base: Mapping[str, Any], axes: Mapping[str, list[Any]]) -> Iterator[Point]:
    for axis, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ParamsError(f"`{axis}` must be a list of values ({PARAMS_FILE}, grid)")
    for chosen in product(*axes.values()):
        tree, values = base, dict(zip(axes, chosen, strict=True))
        for axis, value in values.items():
            tree = _changed(tree, axis, value)
        yield Point(values, params_of(tree))


def _changed(tree: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Returns a copy in which `key`, dotted as DVC spells it, has the value."""
    copy = deepcopy(dict(tree))
    *blocks, last = key.split(".")
    block: Any = copy
    for name in blocks:
        block = block.get(name) if isinstance(block, dict) else None
    if not isinstance(block, dict):
        raise ParamsError(f"`{key}` is no parameter ({PARAMS_FILE})")
    block[last] = value
    return copy


def _check(study: Study) -> None:
    known = set(MEASURES)
    for probe in study.about.probes:
        if probe not in PROBES:
            rule = f"one of {', '.join(PROBES)}"
            raise ParamsError(f"`probes` must be {rule}, got {probe!r} ({PARAMS_FILE})")
        known |= {*PROBES[probe].measures}
    variants, axes = study.params.variants, {*study.axes, *map(short, study.axes)}
    for place, rule in enumerate(study.about.rules):
        for key, value, allowed in (
            ("measure", rule.measure, known),
            ("best_by", rule.best_by, known),
            ("largest", rule.largest, axes),
            ("baseline", rule.baseline, variants),
            ("candidate", rule.candidate, variants),
            *(("at", axis, axes) for axis in rule.at or ()),
        ):
            if value is not None and value not in allowed:
                listed = ", ".join(sorted(allowed))
                where = f"({PARAMS_FILE}, rules[{place}])"
                raise ParamsError(f"`{key}` must be one of {listed}, got {value!r} {where}")
