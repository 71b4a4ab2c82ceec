"""Reads and checks params.yaml; any broken rule becomes an error of one line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pipeline.comparison.looks import LookedAt
from pipeline.datasets.catalogue import DATASETS, OWN_FILE, RAW_FOLDER
from pipeline.errors import ParamsError, printable
from pipeline.params import (
    Data,
    Network,
    Normalization,
    Params,
    Section,
    Tracking,
    Training,
    Variant,
    merged,
)
from pipeline.training.network_file import network_class
from pipeline.training.normalization import NORMALIZATIONS

PARAMS_FILE = Path("params.yaml")
_LONGEST_SHOWN, _LONGEST_LINE = 60, 200
# Far more than anybody needs. YAML is slow to read, its aliases multiply their content, and Python
# refuses to print integers of thousands of digits.
_MOST_BYTES, _MOST_NODES, _MOST_DIGITS = 100_000, 5_000, 300
_SECTIONS = tuple(Params.model_fields)
_VARIANT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")

# What ruamel.yaml raises for text that is almost YAML, such as `!!bool maybe` or `!!int ""`.
_NOT_YAML = (YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError)

AnySection = TypeVar("AnySection", bound=Section)


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Returns the checked parameters.

    Raises:
        ParamsError: if the file cannot be read or a value breaks a rule; the message names the
            key, the rule and the value.
    """
    return params_of(load(path))


def params_of(tree: object) -> Params:
    """Returns the checked parameters of a tree that has the shape of params.yaml.

    Raises:
        ParamsError: as `read_params`.
    """
    tree = _mapping(tree, "")
    _expect_keys(tree, _SECTIONS, "")
    network = _network(tree["network"], "network")
    training = section(Training, tree["training"], "training")
    blocks = _mapping(tree["variants"], "variants")
    params = Params(
        data=section(Data, tree["data"], "data"),
        network=network,
        training=training,
        variants={
            name: _variant(name, block, network=tree["network"], training=tree["training"])
            for name, block in blocks.items()
        },
        comparison=section(LookedAt, tree["comparison"], "comparison"),
        tracking=section(Tracking, tree["tracking"], "tracking"),
    )
    _check_across_sections(params)
    return params


def load(path: Path) -> object:
    """Returns the content of a YAML file as plain values.

    Raises:
        ParamsError: if it cannot be read, is not YAML, or is unreasonably large.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ParamsError(f"{path} has more than {_MOST_BYTES} bytes")
        root = yaml.compose(content.decode("utf-8"))
        _expect_moderate(root, path)
        return yaml.constructor.construct_document(root) if root else None
    except FileNotFoundError:
        message = f"{path} is not here: run from the project's root"
    except UnicodeDecodeError as error:
        message = f"{path} is not text in UTF-8 ({error.reason}): save it in that encoding"
    except OSError as error:
        message = f"{path} cannot be read: {error}"
    except MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        message = f"{path}{where}: {_one_line(error.problem)}"
        if error.problem == "mapping values are not allowed here":
            message += "; a blank may be missing after the colon on this line or the one before"
    except _NOT_YAML as error:
        message = f"{path} is not YAML: {_one_line(error)}"
    raise ParamsError(message)


def _expect_moderate(root: Node | None, path: Path) -> None:
    for number, node in enumerate(_nodes(root)):
        if number == _MOST_NODES:
            raise ParamsError(f"{path} has more than {_MOST_NODES} values, aliases written out")
        if str(node.tag).endswith(":int") and len(node.value) > _MOST_DIGITS:
            raise ParamsError(f"{path} has an integer of more than {_MOST_DIGITS} digits")


def _nodes(root: Node | None) -> Iterator[Node]:
    """Yields all keys and values, with aliases written out; endless if one contains itself."""
    pending = [root] if root else []
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, MappingNode):
            pending += chain.from_iterable(node.value)
        elif isinstance(node, SequenceNode):
            pending += node.value


def _variant(name: str, block: object, *, network: object, training: object) -> Variant:
    where = f"variants.{name}"
    if not isinstance(name, str) or not _VARIANT_NAME.fullmatch(name):
        rule = "letters, digits, `_` and `-`, of which a letter is the first"
        raise _error("a variant's name", rule, name, "variants")
    block = dict(_mapping(block, where))
    own = {key: _mapping(block.pop(key, {}), f"{where}.{key}") for key in ("network", "training")}
    if "seeds" in own["training"]:
        message = "`seeds` cannot differ between variants, whose runs are paired by seed"
        raise ParamsError(f"{message} ({PARAMS_FILE}, {where}.training)")
    if "code" in own["network"]:
        message = "`code` cannot differ between variants: a file can hold both networks, and a key"
        raise ParamsError(f"{message} choose between them ({PARAMS_FILE}, {where}.network)")
    kind = _normalization_kind(block, where)
    keys = ("label", "normalization", *kind.model_fields)
    of_others = set().union(*(of.model_fields for of in NORMALIZATIONS.values()))
    if unused := [key for key in block if key in of_others and key not in keys]:
        takes = f"takes {', '.join(kind.model_fields)} only" if kind.model_fields else "takes none"
        message = f"remove `{unused[0]}`: `normalization: {block['normalization']}` {takes}"
        raise ParamsError(f"{message} ({PARAMS_FILE}, {where})")
    _expect_keys(block, keys, where, optional=("network", "training"))
    label = block.pop("label")
    del block["normalization"]
    return section(
        Variant,
        {
            "label": label,
            "normalization": section(kind, block, where),
            "network": _network(merged(network, own["network"]), f"{where}.network"),
            "training": section(Training, merged(training, own["training"]), f"{where}.training"),
        },
        where,
    )


def _network(block: object, where: str) -> Network:
    block = _mapping(block, where)
    if "code" not in block:
        raise ParamsError(f"`code` is missing ({PARAMS_FILE}, {where})")
    if not isinstance(block["code"], str) or not block["code"].endswith(".py"):
        raise _error("code", "a Python file", block["code"], where)
    return section(network_class(block["code"]), block, where)


def _normalization_kind(block: Mapping[str, Any], where: str) -> type[Normalization]:
    if "normalization" not in block:
        raise ParamsError(f"`normalization` is missing ({PARAMS_FILE}, {where})")
    kind = block["normalization"]
    if not isinstance(kind, str) or kind not in NORMALIZATIONS:
        raise _no_choice("normalization", NORMALIZATIONS, kind, where)
    return NORMALIZATIONS[kind]


def _check_across_sections(params: Params) -> None:
    if params.data.dataset == OWN_FILE:
        _check_own_file(params.data)
    else:
        _check_published(params)
    for role in ("baseline", "candidate"):
        name = getattr(params.comparison, role)
        if name not in params.variants:
            raise _no_choice(role, params.variants, name, "comparison")
    labels = [variant.label for variant in params.variants.values()]
    if repeated := {label for label in labels if labels.count(label) > 1}:
        raise _error("label", "unique among the variants", min(repeated), "variants")
    if params.comparison.baseline == params.comparison.candidate:
        rule = "another variant than `baseline`"
        raise _error("candidate", rule, params.comparison.candidate, "comparison")


def _check_own_file(data: Data) -> None:
    own, raw = Path(os.path.realpath(data.path)), RAW_FOLDER.resolve()
    # The stage `download` empties that folder.
    if own.is_relative_to(raw) or raw.is_relative_to(own):
        rule = f"your file or folder, outside {RAW_FOLDER}, which is for published datasets"
        raise _error("path", rule, data.path, "data")
    if data.split_seed is None:
        message = "`split_seed` is missing: it decides which of your examples are held out"
        raise ParamsError(f"{message} ({PARAMS_FILE}, data)")


def _check_published(params: Params) -> None:
    data = params.data
    if data.dataset not in DATASETS:
        raise _no_choice("dataset", (*DATASETS, OWN_FILE), data.dataset, "data")
    if Path(data.path) != RAW_FOLDER:
        raise _error("path", f"{RAW_FOLDER} for {data.dataset}", data.path, "data")
    for key in ("label", "test_size", "split_seed"):
        if getattr(data, key) is not None:
            message = f"remove `{key}`: it is for `dataset: {OWN_FILE}`"
            raise ParamsError(f"{message} ({PARAMS_FILE}, data)")
    available = DATASETS[data.dataset].training_examples
    if data.validation_size >= available:
        rule = f"less than the {available} training examples of {data.dataset}"
        raise _error("validation_size", rule, data.validation_size, "data")
    training_size = available - data.validation_size
    for name, variant in params.variants.items():
        if variant.training.batch_size > training_size:
            rule = f"at most the {training_size} examples trained on"
            own = variant.training.batch_size != params.training.batch_size
            where = f"variants.{name}.training" if own else "training"
            raise _error("batch_size", rule, variant.training.batch_size, where)


def section(cls: type[AnySection], value: object, where: str) -> AnySection:
    """Returns a block of params.yaml as an object of its type.

    Raises:
        ParamsError: for the first rule that it breaks.
    """
    if not isinstance(value, Section):
        value = dict(_mapping(value, where))
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        raise ParamsError(_message(error, cls, where)) from None


def _message(error: ValidationError, cls: type[Section], where: str) -> str:
    """Returns the first of the errors in one line: key, rule, value, place."""
    details = error.errors(include_url=False)
    # A misspelt key is unknown, and its right spelling is missing: the former helps more.
    first = next((one for one in details if one["type"] == "extra_forbidden"), details[0])
    path = list(first["loc"])
    index = f"[{path.pop()}]" if path and isinstance(path[-1], int) else ""
    key = f"{path.pop()}{index}" if path else ""
    where = ".".join([where, *map(str, path)]) if where else ".".join(map(str, path))
    place = f"({PARAMS_FILE}, {where or 'top level'})"
    if first["type"] == "missing":
        return f"`{key}` is missing {place}"
    if first["type"] == "extra_forbidden":
        return f"{_unknown(key, () if path else cls.model_fields)} {place}"
    if first["type"] == "value_error":
        block = key if isinstance(first["input"], Mapping) else ""
        blocks = ".".join(filter(None, (where, block))) or "top level"
        return f"{_one_line(first['ctx']['error'])} ({PARAMS_FILE}, {blocks})"
    rule = re.sub(r"^\w+ should (?=be|have|match)", "must ", first["msg"]).partition(" after ")[0]
    rule = rule.replace("a valid integer", "a whole number")
    rule = rule.replace("a valid boolean", "true or false").replace("a valid ", "a ")
    rule = rule.replace("a tuple", "a list")
    if first["type"] == "literal_error":
        # All of the choices are ours, and short.
        hint = _nearest(first["input"], re.findall(r"'(.+?)'", rule))
        return f"`{key}` {rule}, got {_shown(first['input'])}{hint} {place}"
    return f"`{key}` {_one_line(rule)}, got {_shown(first['input'])} {place}"


def _nearest(value: object, choices: Sequence[str]) -> str:
    """Returns a question, whether the choice was meant that is most like a value; '' if none is."""
    near = get_close_matches(str(value).lower(), choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _mapping(value: object, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping) or (not value and where in ("", "variants")):
        if not where:
            raise ParamsError(f"{PARAMS_FILE} must be a block of keys, got {_shown(value)}")
        raise _error(where, "a block of keys", value, "top level")
    return value


def _expect_keys(
    tree: Mapping[Any, Any], keys: tuple[str, ...], where: str, optional: tuple[str, ...] = ()
) -> None:
    place = f"({PARAMS_FILE}, {where or 'top level'})"
    for key in tree:
        if key not in (*keys, *optional):
            raise ParamsError(f"{_unknown(key, (*keys, *optional))} {place}")
    for key in keys:
        if key not in tree:
            raise ParamsError(f"`{key}` is missing {place}")


def _unknown(key: object, known: Iterable[str]) -> str:
    """Returns that a key is not known, and the one that it is most like, or all that are."""
    hint = _nearest(key, known := tuple(known))
    return f"`{_one_line(key)}` is not a known key" + (
        hint or (f"; known are {', '.join(known)}" if known else "")
    )


def _no_choice(key: str, choices: Iterable[str], value: object, where: str) -> ParamsError:
    names = tuple(choices)
    rule, got = f"one of {', '.join(names)}", f"{_shown(value)}{_nearest(value, names)}"
    return ParamsError(f"`{key}` must be {rule}, got {got} ({PARAMS_FILE}, {where})")


def _error(key: str, rule: str, value: object, where: str) -> ParamsError:
    return ParamsError(f"`{key}` must be {rule}, got {_shown(value)} ({PARAMS_FILE}, {where})")


def _shown(value: object) -> str:
    return "nothing" if value is None else _cut(repr(value), _LONGEST_SHOWN)


def _one_line(text: object) -> str:
    return _cut(printable(" ".join(str(text).split())), _LONGEST_LINE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
