"""The workflow for pull requests: its scripts run as they are, in a clone as GitHub makes it."""

import json
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.remotes import EPOCHS, SEEDS, join, publish

FILE = Path(".github/workflows/pull-request.yml")
WORKFLOW = YAML(typ="safe").load(FILE)
JOBS = WORKFLOW["jobs"]
# Of what the expressions of the workflow stand for, what a test does not choose.
VALUES = {
    "github.base_ref": "main",
    "github.token": "t0ken",
    "github.repository": "somebody/bnlab",
    "github.event.pull_request.number": "7",
    "needs.compare.outputs.figure": "https://example.org/figure",
}
SECRETS = ("secrets.AWS_ACCESS_KEY_ID", "secrets.AWS_SECRET_ACCESS_KEY")
# Says on stderr what it is asked, and has a comment as soon as one was made.
GH = """#!/bin/sh
echo "gh $*" >&2
case "$*" in
*--jq*) cat made 2> /dev/null || true ;;
*) echo 42 > made ;;
esac
"""


def test_it_fits_the_published_schema():
    # In a process of its own, as it changes how ruamel.yaml reads dates.
    check = [sys.executable, "-m", "check_jsonschema"]
    check += ["--builtin-schema", "vendor.github-workflows", str(FILE)]
    told = subprocess.run(check, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def steps(job):
    return [step for step in JOBS[job]["steps"] if "run" in step]


@pytest.mark.parametrize("job", JOBS)
def test_no_text_of_others_becomes_part_of_a_script(job):
    assert steps(job)
    assert not [step for step in steps(job) if "${{" in step["run"]]


def test_the_job_that_runs_proposed_code_may_write_nothing():
    assert WORKFLOW["permissions"] == {}
    assert JOBS["compare"]["permissions"] == {"contents": "read"}
    assert JOBS["comment"]["permissions"] == {"pull-requests": "write"}
    assert not [step for step in JOBS["comment"]["steps"] if "checkout" in step.get("uses", "")]


def test_secrets_are_seen_by_one_step_that_runs_no_code_of_the_project():
    seen = [step for job in JOBS for step in steps(job) if "secrets." in str(step)]
    assert len(seen) == 1
    assert str(JOBS).count("secrets.") == len(SECRETS)
    assert not re.search(r"python|repro|make", seen[0]["run"].replace("--python .venv", ""))


@pytest.mark.parametrize("job", JOBS)
def test_every_job_ends_and_every_action_is_pinned(job):
    assert JOBS[job]["timeout-minutes"] <= 90
    used = [step["uses"] for step in JOBS[job]["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)
    assert "pull_request.number" in WORKFLOW["concurrency"]["group"]


def expressed(environment, values):
    """An environment with the values of its expressions."""

    def value(match):
        return values[match[1]]

    return {name: re.sub(r"\$\{\{ (.+?) \}\}", value, text) for name, text in environment.items()}


class Runner:
    """Runs the scripts of a job in a clone."""

    def __init__(self, clone, values, tools):
        self.clone, self.values, self.tools = clone, values, tools
        self.told = {}

    def run(self, job, **variables):
        for step in steps(job):
            environment = JOBS[job].get("env", {}) | step.get("env", {})
            path = f"{self.tools}:{self.clone.environment['PATH']}"
            # As GitHub runs scripts of which no shell is said.
            script = self.tools / "script"
            script.write_text(step["run"])
            ended = self.clone.run(
                "bash", "-e", str(script),
                **expressed(environment, self.values), **variables, PATH=path,
            )  # fmt: skip
            self.told[step["name"]] = ended.stdout + ended.stderr


def tool(folder, name, script):
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


@pytest.fixture(scope="module")
def author(make_clone, tmp_path_factory):
    """A clone with two commits: results on main, and another momentum on a branch."""
    clone = make_clone(forks=True, training__epochs=EPOCHS, training__seeds=SEEDS)
    publish(clone, tmp_path_factory.mktemp("shared"))
    clone.run("git", "switch", "-qc", "change")
    clone.set(variants__batch_norm__momentum=0.9)
    clone.run("git", "commit", "-qam", "Another momentum")
    clone.run("git", "push", "-q", "origin", "change")
    return clone


@pytest.fixture(scope="module", params=["key", ""], ids=["with secrets", "a fork's"])
def compared(request, author, tmp_path_factory):
    """What the job `compare` leaves; without secrets, the runs of the remote are out of reach."""
    tools, folder = tmp_path_factory.mktemp("tools"), tmp_path_factory.mktemp("runner")
    for name in ("make", "uv"):
        tool(tools, name, f'#!/bin/sh\necho "{name} $*"\n')
    tool(tools, "gh", GH)
    clone = join(author, folder / "bnlab")
    # GitHub merges the two, and checks that out.
    clone.run("git", "merge", "-q", "--no-ff", "-m", "Merge", "origin/change")
    clone.run("git", "switch", "-q", "--detach")
    values = VALUES | dict.fromkeys(SECRETS, request.param)
    runner = Runner(clone, values, tools)
    runner.fetched = bool(request.param)
    runner.run(
        "compare",
        GITHUB_SHA=clone.run("git", "rev-parse", "HEAD").stdout.strip(),
        GITHUB_PATH=str(folder / "path"), GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
    )  # fmt: skip
    runner.summary = (folder / "summary.md").read_text()
    return runner


@pytest.mark.slow
def test_only_what_is_missing_is_trained(compared):
    *of_base, last = re.findall(
        "Running stage 'train@(.*)'", compared.told["Train what is missing"]
    )
    assert sorted(of_base) == ([] if compared.fetched else ["batch_norm", "no_norm"])
    assert last == "batch_norm"


@pytest.mark.slow
def test_tests_and_checks_are_run(compared):
    assert compared.told["Check"] == "make check\n"
    assert compared.told["Test"] == "make test ALL=1\n"
    without = "no access to the remote" in compared.told["Fetch the runs of both sides"]
    assert without != compared.fetched


@pytest.mark.slow
def test_the_comparison_is_on_the_page_of_the_run(compared):
    assert "| momentum | 0.99 | 0.9 |" in re.sub(" +", " ", compared.summary)
    assert (compared.clone.folder / "comparisons/comparison.png").stat().st_size > 10_000
    # A picture beside it would be a broken one.
    assert "![" not in compared.summary


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_comment_that_is_changed_is_a_robots_and_this_workflows():
    (step,) = steps("comment")
    (mine,) = re.findall("mine='(.*)'", step["run"])
    bodies = ("<!-- comparison -->\nBetter", "Who would quote <!-- comparison -->?")
    comments = [
        {"id": number, "user": {"type": kind}, "body": body}
        for number, (kind, body) in enumerate(product(("User", "Bot"), bodies))
    ]
    found = subprocess.run(
        ["jq", mine], input=json.dumps(comments), capture_output=True, text=True, check=True
    )
    assert found.stdout == "2\n"


@pytest.mark.slow
def test_there_is_one_comment_which_the_next_push_changes(compared, tmp_path):
    shutil.copy(compared.clone.folder / "comparisons/comment.md", tmp_path)
    compared.clone.folder = tmp_path
    compared.run("comment")
    first = compared.told["Comment, or change the comment that is there"]
    compared.run("comment")
    second = compared.told["Comment, or change the comment that is there"]

    assert "gh api repos/somebody/bnlab/issues/7/comments --field body=@comment.md" in first
    comment = "repos/somebody/bnlab/issues/comments/42"
    assert f"gh api --method PATCH {comment} --field body=@comment.md" in second
    text = (tmp_path / "comment.md").read_text()
    assert text.startswith("<!-- comparison -->\n")
    assert "[The figure](https://example.org/figure)" in text
