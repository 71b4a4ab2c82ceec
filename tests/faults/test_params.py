"""Parameters

`params.yaml` as people, editors and attackers may leave it.
"""

import random
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from pipeline import cli
from tests.faults.command import CHECKOUT, NOTE_THE_PEAK, run

# Faults in a comment are none.
PARAMS = (CHECKOUT / "params.yaml").read_text(encoding="utf-8")
BARE = re.sub(r" *#.*", "", PARAMS)
LINES = BARE.splitlines(keepends=True)
# What takes the place of a value, or of anything else.
TOKENS = [
    "", " ", "~", "-1", "0", "1e999", ".nan", "-.inf", "9" * 400, "0x" + "f" * 5000, "true", "''",
    "[]", "{}", "[1, [2]]", "{a: 1}", "- ", "? ", ": ", "&a ", "*a", "!!str ", "!!int ", "!x ",
    "!!set {1}", "!!omap [a: 1]", "!!binary aGk=", "2024-13-45", "<<: *a", "<<: {a: 1}", "|\n", ">",
    "---\n", "...\n", "%YAML 1.1\n", "\t", "\0", "\x1b[2J", '"\\e"', '"\\uD800"', "\ufeff", "é",
    "#", "'", '"', "`", "@", ",", "x" * 1000, "name: sgd", "none", "batch", "mnist", "digits",
    "no_norm",
]  # fmt: skip


def mutated(chance):
    """Returns the shipped file with one to three faults in it."""
    content = BARE
    for _ in range(chance.randint(1, 3)):
        content = chance.choice(FAULTS)(content, chance)
    return content.encode("utf-8", errors="surrogatepass")


def _in_place_of_a_value(content, chance):
    return _in_place_of(r"(?<=: )[^\s]+", content, chance)


def _in_place_of_a_key(content, chance):
    return _in_place_of(r"\w+(?=:)", content, chance)


def _in_place_of_a_word(content, chance):
    return _in_place_of(r"\w+|\W", content, chance)


def _in_place_of(pattern, content, chance):
    places = list(re.finditer(pattern, content)) or [re.search("", content)]
    return _replaced(content, *chance.choice(places).span(), chance.choice(TOKENS))


def _moved_line(content, chance):
    place = chance.randrange(len(content) + 1)
    return _replaced(content, place, place, chance.choice(LINES))


def _without_some(content, chance):
    first = chance.randrange(len(content) + 1)
    return _replaced(content, first, first + chance.randint(1, 60), "")


def _with_a_bit_flipped(content, chance):
    place = chance.randrange(len(content) or 1)
    flipped = "".join(
        chr(ord(sign) ^ 1 << chance.randrange(7)) for sign in content[place : place + 1]
    )
    return _replaced(content, place, place + 1, flipped)


def _replaced(content, first, last, by):
    return content[:first] + by + content[last:]


FAULTS = [
    _in_place_of_a_value, _in_place_of_a_key, _in_place_of_a_word, _moved_line, _without_some,
    _with_a_bit_flipped,
]  # fmt: skip


@pytest.fixture
def check(project, monkeypatch, capsys):
    """Runs `python -m pipeline params` on these bytes, in this process; returns its exit code."""
    shutil.copytree(CHECKOUT / "networks", project / "networks")

    def examine(content):
        (project / "params.yaml").write_bytes(content)
        monkeypatch.setattr(sys, "argv", ["pipeline", "params"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        if ended.value.code == 0:
            assert told.err == ""
            assert told.out
        else:
            (line,) = told.err.splitlines()
            assert line.startswith("error: ")
            assert line.isprintable()
            assert len(line) < 500
            assert told.out == ""
        assert {path.name for path in project.iterdir()} == {"networks", "params.yaml"}
        assert (project / "params.yaml").read_bytes() == content
        return ended.value.code

    return examine


@pytest.mark.promise(
    "Any file is either valid or told in one line, with exit code 2; no file is touched"
)
@pytest.mark.parametrize(
    ("seed", "files"), [(2, 60), pytest.param(1, 600, marks=pytest.mark.drill)]
)
def test_mutated_files_are_valid_or_told(check, count, peak, seed, files):
    chance = random.Random(seed)  # noqa: S311
    codes, longest = [], 0.0
    for _ in range(files):
        start = time.monotonic()
        codes.append(check(mutated(chance)))
        longest = max(longest, time.monotonic() - start)

    assert set(codes) == {0, 2}
    count(files=files, of_these_valid=codes.count(0))
    peak(s_for_the_slowest=longest)


def repeated(first, rest, levels=9):
    """Returns lines that each hold the one before nine times, by its alias."""
    lines = [f"  b0: &b0 {first}\n"]
    for level in range(1, levels):
        nine = ", ".join([f"*b{level - 1}"] * 9)
        lines.append(f"  b{level}: &b{level} {rest.format(nine)}\n")
    return "bomb:\n" + "".join(lines)


def with_epochs(text):
    return PARAMS.replace("epochs: 10", f"epochs: {text}")


LARGE = {
    "100 MB": PARAMS + "#" * 10**8,
    "a label of 90 kB": PARAMS.replace("With BN", "x" * 90_000),
    "an alias bomb": repeated("[x, x]", "[{}]") + PARAMS,
    "an alias bomb in place of a value": with_epochs(
        "\n    " + repeated("[x, x]", "[{}]").replace("\n", "\n    ")
    ),
    "merges of merges": repeated("{a: 1}", "{{<<: [{}]}}") + PARAMS,
    "a list within itself": with_epochs("&a [*a, *a]"),
    "brackets": with_epochs("[" * 90_000),
    "an integer of 6000 digits": with_epochs("0x" + "f" * 5000),
}


@pytest.mark.drill
@pytest.mark.promise("What is huge, or unfolds to it, is refused within seconds and 200 MB")
@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE)
def test_what_is_huge_is_refused(project, peak, content):
    (project / "params.yaml").write_text(content, encoding="utf-8")
    start = time.monotonic()

    code, (line,) = run("params", before=NOTE_THE_PEAK)

    assert code == 2
    assert len(line) < 500
    megabytes = float((project / "peak").read_text()) / 1e3
    assert megabytes < 200
    peak(MB=megabytes, s=time.monotonic() - start)


@pytest.mark.promise("A tag that would run a command is inert")
@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch witness']",
        "!!python/object/new:os.system ['touch witness']",
        "!!python/object:pathlib.Path {}",
        "!!python/name:os.system",
    ],
)
def test_tags_are_inert(check, tag):
    assert check(with_epochs(tag).encode()) == 2
    assert not Path("witness").exists()
