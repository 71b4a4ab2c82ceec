import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo
from scipy import stats

from pipeline.evaluation.results import read_test_scores
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import write_manifest
from pipeline.runs.tables import read_history
from pipeline.tracking import records
from tests.commands.repositories import (
    CHECKOUT,
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

WITHOUT = np.array([0.90, 0.91, 0.92, 0.90, 0.91, 0.90])
WITHOUT_FIRST = WITHOUT - 0.03
FIRST = np.array([0.95, 0.94, 0.97, 0.95, 0.96, 0.97])
SECOND = FIRST + 0.01
WIDE = FIRST - 0.02


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Two commits and an experiment in git and DVC, with different results of batch_norm.

    Of no_norm the first commit alone has others. It is that of branch `first`, and has params.yaml
    in a format that cannot be read now.
    """
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        start()
        git("add", ".")
        git("commit", "-m", "Nothing yet")
        git("tag", "--annotate", "--message", "Before all runs", "empty")
        Repo.init().close()
        Path("dvc.yaml").write_text(DVC_YAML)
        write_data()
        Path("params.yaml").write_text(PARAMS.replace("tracking:", "former:"))
        write_variant("batch_norm", FIRST, momentum=0.99)
        write_variant("no_norm", WITHOUT_FIRST)
        commit("First")
        git("branch", "first")
        Path("params.yaml").write_text(PARAMS)
        write_variant("no_norm", WITHOUT)
        write_variant("batch_norm", SECOND, momentum=0.9)
        commit("Second")
        write_variant("batch_norm", WIDE, momentum=0.9, network={"hidden_dims": [64]})
        save_experiment("wide")
        write_variant("batch_norm", SECOND, momentum=0.9)
        git("checkout", "-f", "main")
    return folder


def mean(one):
    return one["test"]["accuracy"]["mean"]


def words(out):
    """Returns a page without its line ends."""
    return " ".join(out.split())


def test_two_variants_are_compared_by_seed(record):
    told = record("batch_norm", "no_norm")

    (one,) = told["comparisons"]
    differences = SECOND - WITHOUT
    assert mean(one) == pytest.approx(differences.mean())
    test = one["test"]["accuracy"]
    assert test["t_test_p"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert (test["n"], test["wins"], test["verdict"]) == (6, 6, "candidate_better")
    beyond = one["test"]["beyond_test_set"]
    assert beyond["ci_low"] < mean(one) < beyond["ci_high"]
    assert one["a"]["label"] == "With BN"
    assert one["b"]["test"]["accuracy"]["mean"] == pytest.approx(WITHOUT.mean())
    assert {difference["key"] for difference in one["parameters"]} == {"normalization", "momentum"}
    assert told["a"] == {"name": "batch_norm", "is": "variant in the workspace"}


def test_the_figure_is_a_png_where_the_output_says(compare):
    code, out, _ = compare("batch_norm", "no_norm")

    assert code == 0
    path = re.search(r"^Figure: (\S+)$", out, re.MULTILINE)[1]
    assert path == "comparisons/batch_norm-against-no_norm.png"
    drawn = Path(path).read_bytes()
    assert drawn.startswith(b"\x89PNG")

    assert (
        "comparisons/batch_norm-against-no_norm-by-loss.png"
        in compare("batch_norm", "no_norm", "--measure", "loss")[1]
    )
    assert Path(path).read_bytes() == drawn


def test_markdown_links_the_figure(compare):
    code, out, err = compare("batch_norm", "no_norm", "--md", "--figure", "comparisons/my own.png")

    assert (code, err) == (0, "")
    assert "## With BN is better than Without BN\n" in out
    assert out.endswith("(comparisons/my%20own.png)\n")
    assert Path("comparisons/my own.png").is_file()


def test_a_figure_that_cannot_be_written_is_reported(compare):
    code, told = error(compare("batch_norm", "no_norm", "--figure", "params.yaml/x.png"))
    assert code == 73
    assert "params.yaml/x.png cannot be written" in told


def test_a_variant_of_another_commit_has_its_own_parameters_and_results(record):
    told = record("HEAD~1:batch_norm", "HEAD:batch_norm")

    (one,) = told["comparisons"]
    assert mean(one) == pytest.approx(-0.01)
    assert one["parameters"] == [{"key": "momentum", "a": 0.99, "b": 0.9}]
    # The params.yaml of the first commit has no readable label.
    assert (one["a"]["label"], one["b"]["label"]) == ("batch_norm", "With BN")
    assert re.fullmatch("variant of commit [0-9a-f]{7}", told["a"]["is"])


def test_a_variant_meets_its_namesake_in_a_commit(record):
    (one,) = record("no_norm", "first")["comparisons"]
    assert one["b"]["variant"] == "no_norm"

    (one,) = record("first", "batch_norm")["comparisons"]
    assert mean(one) == pytest.approx(-0.01)


RUNS = {
    "first": {"batch_norm": FIRST, "no_norm": WITHOUT_FIRST},
    "main": {"batch_norm": SECOND, "no_norm": WITHOUT},
    "wide": {"batch_norm": WIDE, "no_norm": WITHOUT},
}


@pytest.mark.parametrize(("a", "b"), [("first", "wide"), ("main", "first"), ("first", "main")])
def test_of_two_commits_each_variant_has_the_runs_of_its_own_commit(record, a, b):
    told = record(a, b)

    assert [one["a"]["variant"] for one in told["comparisons"]] == ["batch_norm", "no_norm"]
    for one in told["comparisons"]:
        left, right = (RUNS[name][one["a"]["variant"]] for name in (a, b))
        assert one["b"]["variant"] == one["a"]["variant"]
        assert one["a"]["test"]["accuracy"]["mean"] == pytest.approx(left.mean())
        assert one["b"]["test"]["accuracy"]["mean"] == pytest.approx(right.mean())
        assert mean(one) == pytest.approx((left - right).mean())
    for side, name in (("a", a), ("b", b)):
        found = "refs/exps/**/wide" if name == "wide" else f"refs/heads/{name}"
        commit = git("for-each-ref", "--format=%(objectname:short=7)", found)
        assert told[side]["name"] == name
        assert told[side]["is"].endswith(f"commit {commit}")


def test_a_page_of_two_commits_has_a_verdict_for_each_variant(compare):
    code, out, err = compare("main", "wide")

    assert (code, err) == (0, "")
    assert "With BN (main) is better than With BN (wide)\n" in out
    assert "Without BN (main) and Without BN (wide): the same runs\n" in out
    assert "Figure: comparisons/main-against-wide.png\n" in out


@pytest.mark.parametrize("abbreviated", [False, True], ids=["name", "short hash"])
def test_a_dvc_experiment_is_found(record, abbreviated):
    with Repo() as repo:
        ((_, found),) = [item for group in repo.experiments.ls().values() for item in [group[0]]]
    name = found[:7] if abbreviated else "wide"

    told = record(name, "HEAD:batch_norm")

    assert told["a"]["is"] == f"DVC experiment wide, commit {found[:7]}"
    (one,) = told["comparisons"]
    assert mean(one) == pytest.approx(-0.03)
    assert one["parameters"] == [{"key": "network.hidden_dims", "a": [64], "b": [32]}]
    labels = [one[side]["label"] for side in "ab"]
    assert labels == [f"With BN ({name})", "With BN (HEAD)"]


def test_the_same_runs_are_reported_without_statistics_or_figure(compare, record):
    code, out, _ = compare("batch_norm", "HEAD:batch_norm")

    assert code == 0
    assert "With BN (workspace) and With BN (HEAD): the same runs\n" in out
    assert "Figure" not in out
    assert not Path("comparisons").exists()
    told = record("batch_norm", "batch_norm")
    assert told["figure"] is None
    assert told["comparisons"][0]["test"] is None


def test_files_that_the_cache_lacks_are_reported(compare, repository, tmp_path):
    cache = repository / ".dvc" / "cache"
    shutil.move(cache, tmp_path / "elsewhere")
    try:
        code, told = error(compare("first:batch_norm", "no_norm"))
    finally:
        shutil.move(tmp_path / "elsewhere", cache)
    assert code == 66
    commit = git("rev-parse", "--short=7", "first")
    assert told == (
        f"commit {commit}: runs/batch_norm/manifest.json is not in DVC's cache here: `dvc repro` "
        "at that commit makes its runs; commit the results, and compare with your commit"
    )


@pytest.mark.parametrize("name", ["runs/batch_norm/history.csv", "evaluation/no_norm/test.csv"])
def test_a_file_that_is_damaged_in_the_cache_is_reported(compare, repository, name):
    with Repo(rev="first") as repo:
        md5 = repo.dvcfs.info(name)["md5"]
    kept = repository / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    whole = kept.read_bytes()
    kept.chmod(0o644)
    # One digit of the last line changes: it is still a table of numbers.
    kept.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    kept.chmod(0o444)
    try:
        code, told = error(compare("first:batch_norm", "first:no_norm"))
    finally:
        kept.chmod(0o644)
        kept.write_bytes(whole)
    assert code == 65
    commit = git("rev-parse", "--short=7", "first")
    damaged = (
        f"commit {commit}: {name} is damaged in DVC's cache: `python -m pipeline doctor --fix`"
    )
    assert told.startswith(damaged)


def test_a_commit_before_all_runs_is_reported(compare):
    code, told = error(compare("empty", "no_norm"))
    assert code in {65, 66}
    assert re.match("commit [0-9a-f]{7} ", told)


@pytest.mark.parametrize(
    "name",
    [
        "bn",
        "",
        " ",
        "--help-me",
        "../x",
        "two words",
        "HEAD~99",
        "HEAD^{tree}",
        "HEAD:dvc.yaml",
        "a:b",
        ":",
        "\n",
    ],
)
def test_what_nothing_is_called_is_reported_in_a_line(compare, name):
    code, told = error(compare("--", name, "no_norm"))
    assert code == 2
    assert "batch_norm, no_norm" in told


def test_usage_is_reported(compare):
    for arguments in (
        ["batch_norm"],
        ["batch_norm", "no_norm", "--since", "HEAD", "--json", "--md"],
        ["batch_norm", "no_norm", "--json", "--md"],
        ["--json"],
        ["batch_norm", "no_norm", "--figure", "data"],
        ["batch_norm", "no_norm", "--figure", "figure.pdf"],
    ):
        code, out, err = compare(*arguments)
        assert (code, out) == (2, "")
        assert "Error: " in err


@pytest.fixture
def variants(project):
    """Writes variants into a project without git."""
    (project / "params.yaml").write_text(PARAMS)
    write_data()
    return write_variant


def test_diverged_runs_break_nothing(command, variants):
    variants("batch_norm", SECOND, loss=[np.nan, np.inf, 0.1, 0.1, 0.1, 0.1])
    variants("no_norm", WITHOUT, loss=[np.nan, np.inf, 0.2, 0.2, 0.2, 0.2])

    code, out, err = command("batch_norm", "no_norm", "--json")

    assert (code, err) == (0, "")
    (one,) = json.loads(out, parse_constant=pytest.fail)["comparisons"]
    assert one["test"]["loss"]["mean"] is None
    assert mean(one) == pytest.approx((SECOND - WITHOUT).mean())


def test_without_git_no_commit_is_known(command, variants):
    variants("no_norm", WITHOUT)
    code, told = error(command("HEAD", "no_norm"))
    assert code == 2
    assert "nor is it the name of a commit, a DVC experiment or an MLflow run" in told


def test_variants_without_a_seed_in_common_are_reported(command, variants):
    variants("batch_norm", SECOND)
    variants("no_norm", WITHOUT[:2], seeds=(7, 8))
    code, told = error(command("batch_norm", "no_norm"))
    assert code == 2
    assert "no run of the same seed" in told


def test_a_missing_variant_is_reported(command, variants):
    variants("no_norm", WITHOUT)
    code, told = error(command("batch_norm", "no_norm"))
    assert code == 66
    assert "runs/batch_norm/manifest.json is not here: `dvc repro` makes it" in told


def test_other_data_are_warned_of_and_no_images_spoken_for(command, variants):
    variants("batch_norm", SECOND)
    manifest = variants("no_norm", WITHOUT)
    write_manifest(replace(manifest, data_sha256="0" * 64))
    code, out, _ = command("batch_norm", "no_norm")
    assert code == 0
    assert "They were made from different data" in words(out)
    told = r"on other examples like these \(percentile [a-z ]{0,40}no interval"
    assert re.search(told, words(out))


@pytest.fixture
def recorded(command, variants, empty_store):
    """The command in a project whose two runs of each variant are in MLflow and in files."""
    from pipeline.tracking.store import Store  # noqa: PLC0415  MLflow takes seconds.

    shutil.copy(empty_store, "mlflow.db")
    store = Store("digits")
    for name, accuracy in (("batch_norm", SECOND), ("no_norm", WITHOUT)):
        manifest = variants(name, accuracy)
        scores, history = read_test_scores(name), read_history(name)
        for seed in (0, 1):
            run = store.open(records.run_record(manifest, seed, Lineage({}, b"")))
            store.log(run, records.history_points(history, seed))
            store.log(run, records.test_points(scores, seed))
            store.log_files(run, records.run_files(manifest, seed, Lineage({}, b"")))
            store.finish(run)
    return command


def test_runs_of_mlflow_are_one_pair_whatever_their_seeds(recorded):
    code, out, err = recorded("batch_norm-seed-00", "no_norm-seed-01", "--json")

    assert (code, err) == (0, "")
    told = json.loads(out)
    assert re.fullmatch("MLflow run batch_norm-seed-00, [0-9a-f]{32}", told["a"]["is"])
    (one,) = told["comparisons"]
    assert one["pairs"] == [{"a": 0, "b": 1}]
    assert mean(one) == pytest.approx(SECOND[0] - WITHOUT[1])
    assert one["a"]["parameters"]["network"] == {"hidden_dims": [32]}

    code, out, _ = recorded("batch_norm-seed-00", "no_norm-seed-01")
    assert "Their seeds differ, 0 and 1" in words(out)


def test_a_run_of_mlflow_meets_the_run_of_its_seed(recorded):
    code, out, _ = recorded("batch_norm-seed-01", "no_norm", "--json")

    assert code == 0
    (one,) = json.loads(out)["comparisons"]
    assert one["pairs"] == [{"a": 1, "b": 1}]
    assert one["left_out"] == {"a": [], "b": [0, 2, 3, 4, 5]}
    assert mean(one) == pytest.approx(SECOND[1] - WITHOUT[1])


def test_a_run_in_mlflow_and_in_the_files_is_the_same_run(recorded):
    code, out, _ = recorded("no_norm-seed-00", "no_norm")
    assert code == 0
    assert "the same runs" in out


def test_two_variants_need_neither_dvc_nor_mlflow(variants):
    variants("batch_norm", SECOND)
    variants("no_norm", WITHOUT)
    program = (
        "import sys; sys.argv = ['pipeline', 'compare', 'batch_norm', 'no_norm']\n"
        "from pipeline.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'dvc', 'mlflow', 'tensorflow', 'keras'} & sys.modules.keys()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        check=True, capture_output=True, text=True, env={"PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == "[]"
