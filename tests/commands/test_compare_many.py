import re
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo

from pipeline.lookup import experiments
from tests.commands.repositories import (
    DVC_YAML,
    commit,
    error,
    git,
    save_experiment,
    start,
    write_data,
    write_variant,
)
from tests.networks import PARAMS

pytestmark = pytest.mark.slow

SEEDS = range(10)
WITHOUT = np.array([0.90, 0.91, 0.92, 0.90, 0.91, 0.90, 0.93, 0.89, 0.90, 0.91])
GAIN = np.array([3, 4, 5, 3, 4, 6, 2, 5, 4, 3]) / 100
# The gain of each cell of the grid.
GRID = {(0.1, 0.9): 1.0, (0.1, 0.99): 0.5, (0.01, 0.9): 0.0, (0.01, 0.99): -1.0}
NAMES = [f"rate-{rate}-momentum-{momentum}" for rate, momentum in GRID]


def write_cell(rate, momentum, gain, seeds=SEEDS):
    training = {"optimizer": {"learning_rate": rate}}
    without = WITHOUT[: len(seeds)] + rate / 100
    gained = (without + gain * GAIN[: len(seeds)]).round(4)
    write_variant("batch_norm", gained, seeds, momentum=momentum, training=training)
    write_variant("no_norm", without, seeds, training=training)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Three commits with four, one and no experiments; then one experiment that is queued.

    On the first two there is an experiment of the same name.
    """
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        start()
        git("add", ".")
        git("commit", "-m", "Nothing yet")
        Repo.init().close()
        Path("dvc.yaml").write_text(DVC_YAML)
        Path("params.yaml").write_text(PARAMS)
        write_data()
        write_cell(1.0, 0.99, 0)
        commit("First")
        git("branch", "first")
        for name, ((rate, momentum), gain) in zip(NAMES, GRID.items(), strict=True):
            write_cell(rate, momentum, gain)
            save_experiment(name)
        write_cell(1.0, 0.8, 1.0)
        save_experiment("twin")
        Path("second").touch()
        git("add", "second")
        write_cell(1.0, 0.99, 0)
        commit("Second")
        git("branch", "second")
        write_cell(1.0, 0.5, 1.0, seeds=range(6))
        save_experiment("later")
        write_cell(1.0, 0.8, 1.0)
        save_experiment("twin")
        write_cell(1.0, 0.99, 0)
        Path("third").touch()
        git("add", "third")
        commit("Third")
        with Repo() as repo:
            repo.experiments.run(queue=True, name="waiting", params=["training.epochs=3"])
    return folder


def rows(out):
    return [re.split(r"\s{2,}", line) for line in out.splitlines() if re.match(r"[01]\.\d", line)]


def test_experiments_are_one_table_of_cells(compare):
    code, out, err = compare(*NAMES)

    assert (code, err) == (0, "")
    assert out.startswith("learning_rate, momentum: 6 cells of 4 experiments\n")
    told = [(*row[:3], row[-2], row[-1]) for row in rows(out)]
    absent = "–"  # noqa: RUF001
    assert told == [
        ("0.01", absent, "Without BN", absent, f"{NAMES[2]} +1"),
        ("0.01", "0.9", "With BN", "the same", NAMES[2]),
        ("0.01", "0.99", "With BN", "worse", NAMES[3]),
        ("0.1", absent, "Without BN", absent, f"{NAMES[0]} +1"),
        ("0.1", "0.9", "With BN", "better", NAMES[0]),
        ("0.1", "0.99", "With BN", "better", NAMES[1]),
    ]


@pytest.mark.slow
def test_the_figure_is_a_png_at_the_path_printed(compare):
    _, out, _ = compare(*NAMES[:3])

    path = re.search(r"^Figure: (\S+)$", out, re.MULTILINE)[1]
    assert path.startswith("comparisons/rate-0.1-momentum-0.9-and-rate-0.1-")
    assert Path(path).read_bytes().startswith(b"\x89PNG")


def test_markdown_links_the_figure(compare):
    code, out, err = compare(*NAMES, "--md", "--figure", "comparisons/my own.png")

    assert (code, err) == (0, "")
    assert out.startswith("## learning_rate, momentum: 6 cells of 4 experiments\n")
    assert out.endswith("(comparisons/my%20own.png)\n")
    assert Path("comparisons/my own.png").is_file()


def test_the_record_names_experiments_and_cells(record):
    told = record(*NAMES)

    assert [one["name"] for one in told["experiments"]] == NAMES
    assert re.fullmatch(
        f"DVC experiment {NAMES[0]}, commit [0-9a-f]{{7}}", told["experiments"][0]["is"]
    )
    assert told["figure"].startswith("comparisons/")
    cell = told["cells"][4]
    assert cell["at"] == {"learning_rate": 0.1, "momentum": 0.9}
    assert cell["difference"]["accuracy"]["mean"] == pytest.approx(GAIN.mean())
    # All ten pairs won in each of three that differ: 3 * 2 / 2**10, or what ties make of it.
    assert cell["difference"]["p_holm"] < 0.05


@pytest.mark.slow
def test_all_experiments_since_a_commit(record, compare):
    told = record("--since", "first")
    names = [re.sub(r" \([0-9a-f]{7}\)", "", one["name"]) for one in told["experiments"]]
    assert names == ["later", *sorted(NAMES), "twin", "twin"]
    assert len({one["name"] for one in told["experiments"]}) == len(names)
    assert told["figure"] == "comparisons/since-first.png"

    told = record("--since", "second")
    assert [one["name"] for one in told["experiments"]] == ["later", "twin"]

    code, out, _ = compare("--since", "second")
    assert code == 0
    told = (
        "Left out, for they have no results: waiting is queued. Once they have, p is adjusted over"
    )
    assert f"{told} them too" in " ".join(out.split())


def test_names_are_added_to_those_since_a_commit(record):
    told = record("main", "later", "--since", "second")
    assert [one["name"] for one in told["experiments"]] == ["main", "later", "twin"]
    assert told["axes"] == ["seeds", "momentum"]


def test_no_experiment_since_a_commit_is_reported_with_the_queued_ones(compare):
    code, told = error(compare("--since"))
    assert code == 2
    expected = r"no experiment has results since HEAD \(commit \w{7}\): waiting is queued; .*"
    assert re.fullmatch(expected, told)


def test_without_experiments_since_a_commit_the_nearest_with_some_is_named(compare, record):
    _, told = error(compare("--since"))
    second = git("rev-parse", "second")[:7]
    assert told.endswith(f"the last commit before it with some is {second}: "
                         f"`python -m pipeline compare --since {second}`")  # fmt: skip
    there = record("--since", second)
    assert [one["name"] for one in there["experiments"]] == ["later", "twin"]


@pytest.mark.usefixtures("project")
def test_of_another_branch_the_nearest_commit_is_where_it_began():
    start()
    git("commit", "--allow-empty", "-m", "Shared")
    shared = git("rev-parse", "HEAD")
    git("commit", "--allow-empty", "-m", "Of the branch")
    baseline = git("rev-parse", "HEAD")
    git("checkout", "-b", "other", shared)
    git("commit", "--allow-empty", "-m", "Of the other")
    other = git("rev-parse", "HEAD")

    assert experiments._nearest(other, {baseline}) == shared
    assert experiments._nearest(other, {shared, baseline, "0" * 40}) == shared
    assert experiments._nearest(other, set()) is None


def test_an_unknown_commit_after_since_is_reported(compare):
    code, told = error(compare("--since", "nowhere"))
    assert (code, told) == (2, "no commit is called 'nowhere'")


@pytest.mark.parametrize("name", ["batch_norm", "HEAD:batch_norm", "x", ""])
def test_an_unknown_experiment_is_reported_with_the_known_ones(compare, name):
    code, told = error(compare("later", "main", name))
    assert code == 2
    assert told == (
        f"no experiment or commit is called {name!r}; DVC's experiments are later, "
        f"{', '.join(sorted(NAMES))}, twin"
    )


def test_a_name_of_more_than_one_experiment_is_reported_with_their_commits(compare):
    code, told = error(compare("main", "first", "twin"))
    assert code == 2
    start, _, commits = told.partition(" one of ")
    assert start == "'twin' is the name of several experiments: name a commit instead,"
    listed = git("for-each-ref", "--format=%(objectname:short=7)", "refs/exps/**/twin")
    assert sorted(commits.split(", ")) == sorted(listed.split())
    assert compare("main", *commits.split(", "))[0] == 0


def test_a_queued_experiment_is_reported(compare):
    code, told = error(compare("later", "main", "waiting"))
    assert code == 75
    assert told == "experiment waiting is queued: `dvc queue start` runs it"


def test_a_commit_without_the_baseline_is_reported(compare, repository):
    params = repository / "params.yaml"
    kept = params.read_text()
    params.write_text(
        kept.replace("baseline: no_norm", "baseline: other").replace(
            "  no_norm:", "  other:\n    label: Other\n    normalization: none\n  no_norm:"
        )
    )
    try:
        code, told = error(compare("main", "first", "later"))
    finally:
        params.write_text(kept)
    assert code == 2
    assert told.startswith("main has no variant 'other', which params.yaml names as the baseline")


def test_without_git_there_are_no_experiments(command, project):
    (project / "params.yaml").write_text(PARAMS)
    for arguments in (["a", "b", "c"], ["--since"]):
        code, told = error(command(*arguments))
        assert code == 2
        assert told.startswith("no experiments here: ")
