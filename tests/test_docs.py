"""What the documents say, held against the code: values, files, links, commands, sources."""

import json
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path
from signal import SIGINT, SIGTERM
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin
from urllib.parse import unquote

import click
import pandas as pd
import pytest
from dvc.cli import DvcParserError, parse_args
from markdown_it import MarkdownIt
from pydantic import Field

from pipeline import errors
from pipeline.cli import pipeline
from pipeline.commands.settle import BLOCK
from pipeline.comparison.looks import LookedAt
from pipeline.comparison.verdict import MEANINGFUL, Verdict, fewest_pairs, fewest_wins
from pipeline.datasets.catalogue import DATASETS, OWN_FILE
from pipeline.evaluation.results import Predictions
from pipeline.examples.prepared import SPLITS
from pipeline.params import (
    OPTIMIZER_ARGUMENTS,
    Augmentation,
    Data,
    EarlyStopping,
    Optimizer,
    Params,
    Section,
    Tracking,
    Training,
    Variant,
)
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest
from pipeline.runs.tables import history_table
from pipeline.studies.study import MEASURES, About, Rule
from pipeline.training.network_file import network_class
from pipeline.training.normalization import NORMALIZATIONS

# docs/RELIABILITY.md and docs/tutorial.md are written by programs, which have tests of their own.
GENERATED = {"RELIABILITY.md", "tutorial.md"}
GUIDES = [path for path in sorted(Path("docs").glob("*.md")) if path.name not in GENERATED]
EXAMPLES = sorted(Path("examples").glob("*/README.md"))
WRITTEN = [
    *map(Path, ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *GUIDES, *EXAMPLES,
]  # fmt: skip
LINKED = [*WRITTEN, Path("SECURITY.md"), *(Path("docs") / name for name in sorted(GENERATED))]
PACKAGE = Path("pipeline")
MARKDOWN = MarkdownIt("commonmark").enable("table")


def tokens(path):
    return MARKDOWN.parse(path.read_text(encoding="utf-8"))


def tables(path, heading=None):
    """The rows of each table below a heading, or of all; cells in Markdown, the header first."""
    found, under, row = [], None, []
    for place, token in enumerate(parsed := tokens(path)):
        if token.type == "heading_open":
            under = parsed[place + 1].content.strip("`")
        elif heading in {None, under}:
            match token.type:
                case "table_open":
                    found.append([])
                case "tr_open":
                    row = []
                case "inline" if token.level >= 4:
                    row.append(token.content)
                case "tr_close":
                    found[-1].append(tuple(row))
    return found


def named(cell):
    """What stands in a cell as code."""
    return re.findall(r"`([^`]+)`", cell)


# Values.

PAGE = Path("docs/params.md")
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
# What is checked where the whole file is known.
BEYOND_TYPES = {
    "dataset": ", ".join(f"`{name}`" for name in (*DATASETS, OWN_FILE)),
    "baseline": "name of a variant",
    "code": "path of a Python file",
    "candidate": "name of a variant",
    "normalization": ", ".join(f"`{kind}`" for kind in NORMALIZATIONS),
}


def allowed(annotation, constraints=()):
    """A type as docs/params.md puts it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        (one,) = (argument for argument in arguments if argument is not NoneType)
        return allowed(one, constraints)
    if origin is Annotated:
        inner = [each for one in arguments[1:] for each in getattr(one, "metadata", [one])]
        return allowed(arguments[0], [*inner, *constraints])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return "list of " + re.sub("number|block", r"\g<0>s", allowed(arguments[0]))
    if issubclass(annotation, Section):
        return "block"
    word = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}[annotation]
    bounds = [
        f"{sign} {getattr(one, name)}"
        for name, sign in BOUNDS.items()
        for one in constraints
        if hasattr(one, name)
    ]
    return " ".join([word, ", ".join(bounds)]).strip()


def rows(section, without=()):
    """Key and allowed values of each field, as docs/params.md has them."""
    return [
        (
            f"`{name}`" + ("" if field.is_required() else " (optional)"),
            BEYOND_TYPES.get(name) or allowed(field.annotation, field.metadata),
        )
        for name, field in section.model_fields.items()
        if name not in without
    ]


def documented(heading, place=0):
    header, *told = tables(PAGE, heading)[place]
    assert header == ("key", "allowed", "meaning")
    return [row[:2] for row in told]


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("data", Data),
        ("training", Training),
        ("training.optimizer", Optimizer),
        ("training.early_stopping", EarlyStopping),
        ("comparison", LookedAt),
        ("tracking", Tracking),
    ],
)
def test_every_key_is_told_with_all_that_it_may_be_and_no_other(heading, section):
    assert documented(heading) == rows(section)


@pytest.mark.parametrize(("place", "name"), [*enumerate(["dense", "conv", "deep", "dropout"])])
def test_every_key_of_a_network_of_the_projects_is_told(place, name):
    assert documented("network", place) == rows(network_class(f"networks/{name}.py"))


def test_every_network_of_the_projects_is_told():
    assert len(tables(PAGE, "network")) == len([*Path("networks").glob("*.py")])


def test_keys_of_an_augmentation_beside_its_layers_own_are_told():
    assert documented("training.augmentation") == rows(Augmentation)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[int, Field(ge=1)], "whole number ≥ 1"),
        (Annotated[float, Field(ge=0, lt=1)] | None, "number ≥ 0, < 1"),
        (Annotated[list[Annotated[int, Field(gt=2)]], 1], "list of whole numbers > 2"),
        (Literal["a", "b"] | None, "`a`, `b`"),
        (bool, "`true`, `false`"),
    ],
)
def test_a_type_in_words(annotation, words):
    assert allowed(annotation) == words


def test_a_variant_is_told_with_its_overrides():
    told = documented("variants")
    expected = dict(rows(Variant))
    assert dict(told) == {
        "`label`": expected["`label`"],
        "`normalization`": expected["`normalization`"],
        "`network` (optional)": "block",
        "`training` (optional)": "block",
    }


def test_every_normalisation_is_told_with_its_keys_and_their_values():
    _, (header, *kinds), _ = tables(PAGE, "variants")
    assert header == ("normalization", "keys", "from")
    assert {named(kind)[0]: named(keys) for kind, keys, _ in kinds} == {
        kind: list(cls.model_fields) for kind, cls in NORMALIZATIONS.items()
    }
    assert dict(documented("variants", 2)) == dict(
        row for cls in NORMALIZATIONS.values() for row in rows(cls)
    )


def test_every_optimizer_is_told_with_its_keys():
    _, (_, *told) = tables(PAGE, "training.optimizer")
    assert {named(name)[0]: set(named(keys)) for name, keys in told} == OPTIMIZER_ARGUMENTS


def test_every_key_of_a_study_is_told():
    keys = [
        {name.partition(":")[0] for row in table for name in named(row[0])}
        for table in tables(Path("docs/studies.md"))[:3]
    ]
    of_params = set(Params.model_fields) - {"tracking"}
    assert keys[0] == {*About.model_fields, *of_params, "grid", "quick"}
    assert keys[1] | keys[2] == set(Rule.model_fields)


def test_every_probe_is_told_with_its_measures():
    from pipeline.studies.measures.probes import PROBES  # noqa: PLC0415  TensorFlow takes seconds.

    (header, *told), *_ = tables(Path("docs/studies.md"), "Probes")
    assert header[:2] == ("probe", "measures")
    assert {named(name)[0]: tuple(named(measures)) for name, measures, _ in told} == {
        name: probe.measures for name, probe in PROBES.items()
    }
    assert set(MEASURES) <= set(code(Path("docs/studies.md")))


def test_every_exit_code_is_told():
    _, *told = tables(Path("docs/faults.md"), "Exit codes")[0]
    kinds = {errors.PipelineError, *errors.PipelineError.__subclasses__()}
    # Done, and ended by a signal: shells tell so.
    expected = {kind.exit_code for kind in kinds} | {0, 128 + SIGINT, 128 + SIGTERM}
    assert {int(code) for row in told for code in row[0].split(", ")} == expected


def test_the_rule_of_the_verdict_is_told_with_its_limits():
    text = " ".join(Path("docs/verdict.md").read_text(encoding="utf-8").split())
    assert f"at least {100 * MEANINGFUL:.0f} % of the pairs" in text
    assert f"At 95 % confidence there is no verdict from fewer than {fewest_pairs(0.95)}" in text
    verdicts, *_ = tables(Path("docs/verdict.md"), "The rule")
    assert tuple(named(row[0])[0] for row in verdicts[1:]) == get_args(Verdict)


def test_repeated_looks_are_told_with_their_numbers():
    text = " ".join(Path("docs/verdict.md").read_text(encoding="utf-8").split())
    first = next(pairs for pairs in range(1, 20) if fewest_wins(pairs, 0.95))
    boundary = "; ".join(f"{fewest_wins(pairs, 0.95)} of {pairs}" for pairs in (12, 20))
    assert f"at least {first} pairs, all won; {boundary}." in text
    assert f"raises `training.seeds` by {BLOCK} " in text


@pytest.mark.parametrize(
    ("page", "heading"),
    [("docs/faults.md", "What you may see"), ("docs/your-data.md", "When it is refused")],
)
def test_every_message_that_is_quoted_is_one_of_ours(page, heading):
    source = "".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
    # A long text stands in the code in parts.
    source = re.sub(r'"\s*f?"', "", source)
    (_, *told), *_ = tables(Path(page), heading)
    quoted = [
        re.split(r"^error:|^WARNING:|…|https://|\(params.yaml", message)
        for row in told
        for message in named(row[0])
        if re.match(r"error:|WARNING:", message)
    ]
    assert len(quoted) > 5
    for parts in quoted:
        longest = max((part.strip() for part in parts), key=len)
        assert longest in source, parts


# Files.


def inside():
    """By file what docs/params.md says is in it."""
    header, *told = tables(PAGE, "Files that come out")[1]
    assert header == ("file", "columns, keys or arrays")
    return {named(file)[0]: named(columns) for file, columns in told}


@pytest.mark.parametrize("path", [path for path in inside() if path.startswith("reports/")])
def test_what_is_committed_has_the_columns_and_keys_that_are_told(path):
    found = sorted(Path().glob(path.replace("<variant>", "*")))
    assert found
    for file in found:
        if file.suffix == ".csv":
            assert list(pd.read_csv(file)) == inside()[path]
        else:
            assert list(json.loads(file.read_text(encoding="utf-8"))) == inside()[path]


def test_what_is_not_committed_has_what_is_told():
    history = history_table([EpochScores(0, 0, Scores(0.1, 0.9), Scores(0.2, 0.8))])
    told = inside()
    assert told["runs/<variant>/history.csv"] == list(history)
    assert told["runs/<variant>/manifest.json"] == [field.name for field in fields(Manifest)]
    assert told["evaluation/<variant>/predictions.npz"] == [
        field.name for field in fields(Predictions)
    ]
    assert told["data/prepared.npz"] == [
        *(f"{split}_{part}" for split in SPLITS for part in ("inputs", "labels")),
        "classes",
        "features",
    ]


# The map.


def blocks(path):
    return [token.content for token in tokens(path) if token.type == "fence"]


def test_the_map_has_every_room_and_no_file_that_is_not_there():
    (tree,) = (block for block in blocks(Path("ARCHITECTURE.md")) if "pipeline/\n" in block)
    rooms, folder = set(), PACKAGE
    for line in re.search(r"^pipeline/\n((?:  .*\n)+)", tree, re.MULTILINE)[1].splitlines():
        if room := re.match(r"  (\w+)/", line):
            rooms.add(room[1])
            folder = PACKAGE / room[1]
        elif re.match(r"  \w", line):
            folder = PACKAGE
        for name in re.findall(r"[\w/]+\.py\b", line):
            assert (folder / name).is_file(), line
    assert rooms == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_the_arrows_are_those_that_are_held():
    (contract, *_) = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    layers = [layer.replace("pipeline.", "") for layer in contract["layers"]]
    assert "\n".join(layers) + "\n" in blocks(Path("ARCHITECTURE.md"))


@pytest.mark.parametrize("page", WRITTEN, ids=str)
def test_every_path_that_is_named_is_there(page):
    # Those who promote have the one, and those who have run the pipeline the other.
    by_command = {"reports/champion.json", "reports/report.html"}
    own = r"(pipeline|docs|examples|studies|benchmarks|notebooks|tests|reports)(/\w[\w.-]*)+/?"
    for path in code(page):
        assert path in by_command or not re.fullmatch(own, path) or Path(path).exists(), path


# Links.


def anchor(heading):
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(path):
    """All anchors of a page; a heading that comes again is numbered."""
    found = []
    for place, token in enumerate(parsed := tokens(path)):
        if token.type == "heading_open":
            found.append(anchor(parsed[place + 1].content))
    return {
        f"{one}-{before}" if (before := found[:place].count(one)) else one
        for place, one in enumerate(found)
    }


def links(path):
    for token in tokens(path):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if target and not re.match(r"[a-z]+:", str(target)):
                yield unquote(str(target))


@pytest.mark.parametrize("page", LINKED, ids=str)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if fragment:
            assert fragment in anchors(target), link


def test_every_guide_is_linked_from_the_readme():
    assert {str(path) for path in GUIDES} <= set(links(Path("README.md")))


# Commands.


def code(path):
    """Each line of code that a page has, without prompts: in blocks and within text."""
    for token in tokens(path):
        if token.type == "fence":
            yield from (line.removeprefix("$ ") for line in token.content.splitlines())
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content


def commands(path):
    """What a shell would be given, word by word, variables before it left out."""
    for line in code(path):
        for part in re.split(r" && ", line):
            command = re.sub(r"^([A-Z_]+=\S+ )+", "", part)
            if re.match(r"(python -m pipeline|bnlab|make|dvc|mlflow)\b(?!:)", command):
                yield shlex.split(command, comments=True)


def check(words):
    """Raises where a command, a target or an option is none."""
    match words:
        case ["python", "-m", "pipeline", *arguments] | ["bnlab", *arguments]:
            check_command(arguments)
        case ["make", *targets]:
            makefile = Path("Makefile").read_text(encoding="utf-8")
            names = r"^([a-z-]+):|^([A-Z]+) \?=|\$\(if \$\(([A-Z]+)\)"
            known = re.findall(names, makefile, re.MULTILINE)
            for target in targets:
                name = target.partition("=")[0]
                assert name in {one for pair in known for one in pair}, target
        case ["dvc", _, *_]:
            parse_args(words[1:])


def check_command(arguments):
    # With the group's settings: click keeps the help option that it makes for a command, and
    # `-h` would be unknown in later tests.
    context = click.Context(pipeline, **pipeline.context_settings)
    if not arguments or arguments[0].startswith("-"):
        pipeline.make_parser(context).parse_args(list(arguments))
        return
    name, *rest = arguments
    command = pipeline.get_command(context, name)
    assert command is not None, name
    command.make_parser(click.Context(command, parent=context)).parse_args(rest)


@pytest.mark.parametrize("page", WRITTEN, ids=str)
def test_every_command_is_one_with_its_options(page):
    for words in commands(page):
        try:
            check(words)
        except (click.UsageError, DvcParserError) as error:
            pytest.fail(f"{' '.join(words)}: {error}")


@pytest.mark.parametrize("page", WRITTEN, ids=str)
def test_a_command_that_is_told_by_its_name_has_its_options(page):
    for line in code(page):
        name, *arguments = line.split() or [""]
        command = pipeline.get_command(click.Context(pipeline), name)
        if command is not None:
            known = {option for one in command.params for option in one.opts}
            assert {one for one in arguments if one.startswith("--")} <= known, line


@pytest.mark.parametrize(
    "line",
    [
        "python -m pipeline nothing",
        "python -m pipeline train batch_norm --nothing",
        "make nothing",
        "make ui NOTHING=1",
        "dvc exp run --nothing",
    ],
)
def test_what_is_no_command_is_noticed(line, capsys):
    with pytest.raises((AssertionError, click.UsageError, DvcParserError)):
        check(shlex.split(line))
    capsys.readouterr()


# Sources of what was measured.


@pytest.mark.parametrize("page", [Path("README.md"), *GUIDES], ids=str)
def test_what_a_command_printed_names_its_source(page):
    for before, token in zip((parsed := tokens(page)), parsed[1:], strict=False):
        if token.type == "fence" and "$ " in token.content and re.search(r"\d", token.content):
            assert before.type == "html_block", token.content
            assert "<!-- from " in before.content, token.content


@pytest.mark.parametrize("page", [Path("README.md"), *GUIDES], ids=str)
def test_every_source_is_a_file_or_a_command(page):
    for told in re.findall(r"<!-- from (.*?) -->", page.read_text(encoding="utf-8")):
        for source in told.split("; "):
            if re.match(r"(python|bnlab|make|dvc|du) ", source):
                check(shlex.split(source))
            else:
                assert Path(source).exists(), source
