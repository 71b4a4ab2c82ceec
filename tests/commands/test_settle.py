import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from dvc.repo import Repo

from pipeline.cli import pipeline
from pipeline.comparison.looks import looks_of
from pipeline.errors import ArgumentError, ParamsError, PipelineError
from pipeline.params_file import read_params
from tests.conftest import epochs_trained
from tests.forks import python
from tests.networks import PARAMS

CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

# A stage in place of all: it is settled from so many pairs on, and keeps count of its looks.
DVC_YAML = """\
stages:
  compare:
    cmd: python stage.py
    params: [training.seeds, comparison]
    outs: [reports]
"""
STAGE = """\
import json, pathlib
from ruamel.yaml import YAML

params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
pairs, comparison = params["training"]["seeds"], params["comparison"]
with open("looks.txt", "a") as looks:
    print(pairs, comparison["looks"], comparison["looked_at"], file=looks)
is_settled = pairs >= int(pathlib.Path("from.txt").read_text())
verdict = "candidate_better" if is_settled else "not_settled"
reports = pathlib.Path("reports")
reports.mkdir(exist_ok=True)
(reports / "comparison.json").write_text(json.dumps({"verdict": verdict}))
(reports / "report.md").write_text(f"# It is {verdict}\\n")
"""


@pytest.fixture
def stand_in(project):
    """A project whose stages are that one. Runs the command; returns its end and its looks."""
    assert project
    Repo.init(no_scm=True).close()
    Path("dvc.yaml").write_text(DVC_YAML)
    Path("stage.py").write_text(STAGE)

    def run(*arguments, settled_from, seeds=10):
        if not Path("params.yaml").exists():
            Path("params.yaml").write_text(PARAMS.replace("seeds: 10 ", f"seeds: {seeds} "))
        Path("from.txt").write_text(str(settled_from))
        ended = CliRunner().invoke(pipeline, ["settle", *arguments])
        looks = Path("looks.txt").read_text().splitlines() if Path("looks.txt").exists() else []
        return ended, looks

    return run


def test_pairs_are_added_in_blocks_until_it_is_settled(stand_in):
    ended, looks = stand_in("--at-most", "30", settled_from=18)

    assert ended.exception is None
    # The first look is by the rule that was declared; after it, the number is not fixed any more.
    assert looks == ["10 once 0", "14 repeated 10", "18 repeated 10"]
    assert "With 18 pairs, by the rule for repeated looks: It is candidate_better" in ended.output
    params = read_params()
    assert params.training.seeds == 18
    assert (looks_of(params.comparison).repeated, looks_of(params.comparison).before) == (True, 10)


def test_all_else_in_params_yaml_stays_as_it_was(stand_in):
    stand_in("--at-most", "14", settled_from=99)

    def lines(text):
        # The comment after a value keeps its column, if it can.
        return [line.split(" #")[0].rstrip() for line in text.splitlines()]

    before, after = lines(PARAMS), lines(Path("params.yaml").read_text(encoding="utf-8"))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        ("  seeds: 10", "  seeds: 14"),
        ("  looks: once", "  looks: repeated"),
        ("  looked_at: 0", "  looked_at: 10"),
    ]
    assert Path("params.yaml").read_text().count("#") == PARAMS.count("#")


def test_what_one_look_settles_is_left_as_it_is(stand_in):
    ended, looks = stand_in("--at-most", "30", settled_from=10)

    assert ended.exception is None
    assert looks == ["10 once 0"]
    assert Path("params.yaml").read_text() == PARAMS


def test_it_ends_with_the_most_pairs_settled_or_not(stand_in):
    ended, looks = stand_in("--at-most", "16", settled_from=99)

    assert ended.exception is None
    assert [look.split()[0] for look in looks] == ["10", "14", "16"]
    assert "With 16 pairs, by the rule for repeated looks: It is not_settled" in ended.output
    # Called again with more, it goes on, and still knows of the first look alone.
    _, looks = stand_in("--at-most", "20", settled_from=99)
    assert looks[3:] == ["20 repeated 10"]


def test_of_few_pairs_the_first_block_is_the_fewest_that_can_settle_it(stand_in):
    _, looks = stand_in("--at-most", "12", settled_from=99, seeds=2)
    assert looks == ["2 once 0", "8 repeated 2", "12 repeated 2"]


@pytest.mark.parametrize(
    ("at_most", "seeds", "told"),
    [
        (
            "9", 10,
            "is fewer than the 10 pairs that params.yaml asks for (training.seeds)",
        ),
        (
            "7", 2,
            "settles nothing: with repeated looks a verdict takes 8 pairs at 0.95 confidence",
        ),
    ],
)  # fmt: skip
def test_too_few_pairs_are_refused_before_anything_is_done(stand_in, at_most, seeds, told):
    ended, looks = stand_in("--at-most", at_most, settled_from=1, seeds=seeds)

    assert isinstance(ended.exception, ArgumentError)
    assert (str(ended.exception), looks) == (f"--at-most {at_most} {told}", [])
    assert "looks: once" in Path("params.yaml").read_text()


def test_without_a_comparison_there_is_nothing_to_settle(stand_in):
    Path("params.yaml").write_text(PARAMS.partition("comparison:")[0] + "tracking: {}\n")
    ended, looks = stand_in(settled_from=1)

    assert isinstance(ended.exception, ParamsError)
    assert "`comparison` is missing" in str(ended.exception)
    assert looks == []


def test_a_stage_that_fails_ends_it_and_no_pair_is_added(stand_in):
    Path("stage.py").write_text("import sys; sys.exit('no disk')")
    ended, _ = stand_in(settled_from=1)

    assert isinstance(ended.exception, PipelineError)
    assert str(ended.exception).startswith("settle stopped in `dvc repro`: see the error above")
    assert Path("params.yaml").read_text() == PARAMS


def test_killed_at_a_look_it_goes_on_with_that_look(stand_in):
    stand_in("--at-most", "10", settled_from=99)
    # The next look hangs, once.
    hang = "if pairs > 10 and not pathlib.Path('hung').exists():\n"
    hang += "    pathlib.Path('hung').touch()\n    time.sleep(600)\n"
    Path("stage.py").write_text(f"import time\n{STAGE}".replace("verdict =", f"{hang}verdict ="))
    checkout = {"PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "settle"], env=os.environ | checkout
    )
    until = time.monotonic() + 60
    while not Path("hung").exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM

    ended, looks = stand_in(settled_from=18)
    assert ended.exception is None
    first, second, third = "10 once 0", "14 repeated 10", "18 repeated 10"
    assert looks == [first, second, second, third]


@pytest.mark.slow
def test_the_real_stages_train_only_what_is_missing_and_the_report_tells_of_the_looks(make_clone):
    clone = make_clone(forks=True, training__epochs=1, training__seeds=1)
    # The `python` that starts at once, for DVC and its stages too.
    begin = "import sys; sys.executable = sys.argv.pop(1); from pipeline.cli import main; main()"
    ended = clone.run(
        *(python.at_once(), "-c", begin, python.at_once()), "settle", "--at-most", "8"
    )

    # Of which a run has one.
    assert epochs_trained(ended.stderr) == 2 * 8
    assert ended.stderr.count("1 of 8 runs are here already") == 2
    told = json.loads((clone.folder / "reports/comparison.json").read_text())
    assert (told["n"], told["looks"], told["confidence_over_all_looks"]) == (8, "repeated", 0.95)
    # At 8 pairs, all must be won: 2 / 2**8.
    assert told["confidence"] == pytest.approx(1 - 2 / 2**8, abs=1e-6)
    assert (told["verdict"] == "candidate_better") == (told["wins"] == 8)
    for page in ("report.md", "report.html"):
        report = (clone.folder / "reports" / page).read_text(encoding="utf-8")
        assert "Looks were repeated while pairs were added. So each is held" in report
        assert "of 8 pairs at least 8 must be won" in report
    compared = clone.run(python.at_once(), "-m", "pipeline", "compare", "batch_norm", "no_norm")
    assert "Looks were repeated while pairs were added." in " ".join(compared.stdout.split())
