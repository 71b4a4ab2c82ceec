"""No run is lost: whatever way runs are made, the store ends with each exactly once, and whole."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.tracking.store import FINGERPRINT
from tests.conftest import Clone, epochs_trained

pytestmark = pytest.mark.slow

SEEDS, EPOCHS = 2, 1
# Compiles all there is to compile, instead of using what another process of the clone compiled.
ANEW = {"TF_XLA_FLAGS": ""}
MOMENTUM = "variants.batch_norm.momentum"
WAITED_SECONDS = 240
MADE = ("dvc.lock", "evaluation", "reports", "runs")
# In which DVC experiment it was made: the plain `dvc repro` is none, and a run that comes from the
# cache stays that of the experiment which trained it.
BY_MOMENTUM = {"0.99": None, "0.9": "workspace", "0.8": "aside", "0.7": "queued"}


@pytest.fixture(scope="module")
def clone(make_clone):
    return make_clone(
        forks=True, training__epochs=EPOCHS, training__seeds=SEEDS,
        tracking__experiment="no run lost",
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(clone):
    """Makes runs in every way there is; gives the client, the trained runs, and all runs."""
    clone.run("dvc", "repro", "prepare")
    side_by_side = [
        subprocess.Popen(
            ["dvc", "repro", "--single-item", f"train@{variant}"],
            cwd=clone.folder, env=clone.environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
        for variant in ("batch_norm", "no_norm")
    ]  # fmt: skip
    for process in side_by_side:
        _, told = process.communicate(timeout=WAITED_SECONDS)
        assert process.returncode == 0, told
        assert "no live view" not in told, told
    clone.bytes_by_one_worker = clone.hashes("runs")
    clone.forced = clone.run("dvc", "repro", "--force", BNLAB_WORKERS="2", **ANEW)
    clone.bytes_by_two_workers, clone.there = clone.hashes("runs"), clone.hashes(*MADE)
    clone.first = clone.run("dvc", "exp", "run", "-n", "workspace", "-S", f"{MOMENTUM}=0.9").stdout
    clone.back = clone.run("dvc", "exp", "run", "-n", "back", "-S", f"{MOMENTUM}=0.99").stdout
    clone.there_again = clone.hashes(*MADE)
    clone.run("dvc", "exp", "run", "--queue", "-n", "queued", "-S", f"{MOMENTUM}=0.7")
    clone.run("dvc", "exp", "run", "--queue", "-n", "failing", "-S", "training.epochs=0")
    subprocess.run(
        ["dvc", "queue", "start", "-j", "1"],
        cwd=clone.folder, env=clone.environment, check=True,
        # It leaves a worker behind, which would hold a pipe open for as long as it lives.
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    clone.run("dvc", "exp", "run", "--temp", "-n", "aside", "-S", f"{MOMENTUM}=0.8")
    wait_for_the_queue(clone)
    return clone.finished_runs()


def wait_for_the_queue(clone):
    until = time.monotonic() + WAITED_SECONDS
    while not {"queued Success", "failing Failed"} <= (states := queue_states(clone)):
        if "queued Failed" in states or time.monotonic() > until:
            logs = clone.run("dvc", "queue", "logs", "queued", check=False).stdout
            pytest.fail(f"{states}\n{logs}")
        time.sleep(1)


def queue_states(clone):
    lines = clone.run("dvc", "queue", "status").stdout.splitlines()
    return {f"{words[1]} {words[-1]}" for line in lines if len(words := line.split()) > 2}


def test_each_run_is_there_once(made):
    _, trained, every = made

    seen = [
        (run.data.params["variant"], run.data.params.get("momentum"), run.data.params["seed"])
        for run in trained
    ]
    expected = [
        (variant, momentum, str(seed))
        for variant, momentum in [("no_norm", None), *(("batch_norm", m) for m in BY_MOMENTUM)]
        for seed in range(SEEDS)
    ]
    assert sorted(seen, key=str) == sorted(expected, key=str)
    assert len({run.data.tags[FINGERPRINT] for run in every}) == len(every)
    # One comparison for each momentum, and none again on the way back.
    assert len(every) - len(trained) == len(BY_MOMENTUM)


@pytest.mark.usefixtures("made")
def test_one_worker_and_two_give_the_same_bytes_in_two_processes(clone):
    assert len(clone.bytes_by_one_worker) == 2 * (2 + 2 * SEEDS)
    assert clone.bytes_by_two_workers == clone.bytes_by_one_worker


def runs_trained(ended):
    """Returns how many runs were trained."""
    return epochs_trained(ended.stderr) / EPOCHS


@pytest.mark.usefixtures("made")
def test_forced_all_are_trained_again(clone):
    assert runs_trained(clone.forced) == 2 * SEEDS
    assert "here already" not in clone.forced.stderr


@pytest.fixture(scope="module")
def reseeded(made, clone):
    """Changes the number of seeds, and back; gives what each command printed."""
    assert made
    train, told = ("-s", "train@no_norm"), {}
    # In a store of its own, for other tests count the runs.
    store = clone.folder.parent / "aside.db"
    shutil.copy(clone.folder / "mlflow.db", store)
    told["aside"] = clone.run(
        *("dvc", "exp", "run", "--temp", "-n", "more", "-S", f"training.seeds={SEEDS + 1}", *train),
        MLFLOW_TRACKING_URI=f"sqlite:///{store}",
    )
    clone.run("dvc", "exp", "remove", "more")
    clone.set(training__seeds=1)
    told["fewer"] = clone.run("dvc", "repro", *train)
    clone.set(training__seeds=SEEDS)
    # Otherwise all of them would come from the run cache.
    told["more"] = clone.run("dvc", "repro", "--no-run-cache", *train)
    return told


@pytest.mark.parametrize(
    ("how", "trained", "there", "wanted"),
    [
        ("aside", 1, SEEDS, SEEDS + 1),
        ("fewer", 0, 1, 1),
        ("more", SEEDS - 1, 1, SEEDS),
    ],
)
def test_only_new_seeds_are_trained(reseeded, how, trained, there, wanted):
    assert runs_trained(reseeded[how]) == trained
    said = f"Without BN: {there} of {wanted} runs are here already, from the same data, code and "
    assert said in reseeded[how].stderr


@pytest.mark.usefixtures("reseeded")
def test_seeds_that_were_added_give_the_bytes_of_a_training_from_nothing(clone):
    added = clone.hashes("runs/no_norm", "dvc.lock")
    assert len(added) == 2 + 2 * SEEDS + 1
    assert added.items() <= clone.there.items()


@pytest.mark.usefixtures("made")
def test_a_changed_variant_alone_is_trained_again(clone):
    assert "Running stage 'train@batch_norm'" in clone.first
    assert "Stage 'train@no_norm' didn't change, skipping" in clone.first


@pytest.mark.usefixtures("made")
def test_after_the_way_back_every_byte_is_as_it_was(clone):
    assert {"dvc.lock", "reports/report.html", "reports/figures/curves.png"} <= clone.there.keys()
    assert clone.there_again == clone.there


@pytest.mark.usefixtures("made")
def test_the_way_back_comes_from_the_run_cache(clone):
    assert "Stage 'train@batch_norm' is cached - skipping run" in clone.back


@pytest.fixture(scope="module")
def walked(made, clone):
    """The README's first ablation, in a copy, where the committed results are another machine's.

    No cache here has the runs of that commit. Each command is as the README has it.
    """
    assert made
    copy = Clone(clone.folder.with_name("walked"), forks=True)
    shutil.copytree(clone.folder, copy.folder, symlinks=True)
    compare = ("python", "-m", "pipeline", "compare")
    for key, value in (("user.name", "Test"), ("user.email", "test@example.org")):
        copy.run("git", "config", key, value)
    way_back = "git restore params.yaml && dvc repro"
    for states in ("uncommitted", "committed"):
        if states == "committed":
            copy.run("git", "commit", "-am", "Results of this machine")
        copy.run("dvc", "exp", "run", "-n", states, "-S", f"{MOMENTUM}=0.9")
        # In the end, those of the last.
        copy.metrics = json.loads(copy.run("dvc", "metrics", "diff", "--json").stdout)
        sides = (f"{states}:batch_norm", "main:batch_norm")
        told = copy.run(*compare, *sides, check=False)
        back = copy.run("sh", "-c", way_back).stdout
        setattr(copy, states, (told, back, copy.hashes(*MADE)))
    copy.status = copy.run("git", "status", "--porcelain").stdout
    return copy


def test_runs_of_a_commit_that_were_made_elsewhere_are_told_in_a_line(walked, clone):
    told, _, _ = walked.uncommitted
    commit = clone.run("git", "rev-parse", "--short=7", "HEAD").stdout.strip()

    assert (told.returncode, told.stdout) == (66, "")
    assert told.stderr == (
        f"error: commit {commit}: runs/batch_norm/manifest.json is not in DVC's cache here: "
        "`dvc repro` at that commit makes its runs; commit the results, and compare with your "
        "commit\n"
    )


def test_the_commit_that_the_readme_asks_for_can_be_compared_with(walked):
    told, _, _ = walked.committed

    assert (told.returncode, told.stderr) == (0, "")
    assert "Compared" in told.stdout


def test_after_that_commit_dvc_shows_what_the_ablation_changed_alone(walked):
    (changed,) = walked.metrics.values()
    assert "loss.batch_norm" in changed
    assert "loss.no_norm" not in changed


@pytest.mark.parametrize("states", ["uncommitted", "committed"])
def test_the_readmes_way_back_gives_every_byte_and_trains_nothing(walked, clone, states):
    _, told, hashes = getattr(walked, states)

    assert "Running stage 'train@" not in told
    assert hashes == clone.there


def test_the_way_back_leaves_nothing_to_commit(walked):
    assert walked.status == ""


def test_each_run_names_the_experiment_that_made_it(made, clone):
    client, trained, _ = made
    head = clone.run("git", "rev-parse", "HEAD").stdout.strip()

    for run in trained:
        made_in = BY_MOMENTUM[run.data.params.get("momentum", "0.99")]
        assert run.data.tags.get("dvc.experiment") == made_in
        assert run.data.tags.get("dvc.baseline") == (made_in and head)
        assert run.data.tags["mlflow.source.git.commit"] == head
        assert run.data.tags["mlflow.source.git.branch"] == "main"
        assert run.data.tags["git.dirty"] == str(made_in is not None).lower()
        assert client.get_experiment(run.info.experiment_id).name == "no run lost"


@pytest.mark.usefixtures("made")
def test_dvc_shows_experiments_in_few_telling_columns(clone):
    _, head = json.loads(clone.run("dvc", "exp", "show", "--json").stdout)

    shown = {
        one["revs"][0]["name"]: one["revs"][0]["data"] for one in head["experiments"] if one["revs"]
    }
    for name in ("workspace", "aside", "queued"):
        (summary,) = [file["data"] for file in shown[name]["metrics"].values()]
        assert summary.keys() == {"verdict", "accuracy", "loss", "difference", "diverged"}
        # Of so few pairs there is no interval.
        assert summary["difference"].keys() == {"mean"}
    aside = shown["aside"]["params"]["params.yaml"]["data"]
    assert aside["variants"]["batch_norm"]["momentum"] == 0.8


@pytest.mark.usefixtures("made")
def test_dvc_overlays_the_variants_of_two_experiments(clone):
    told = clone.run("dvc", "plots", "diff", "aside", "queued", "--json").stdout
    plots = json.loads(told)["data"]

    for name in ("Train loss", "Validation loss", "Train accuracy", "Validation accuracy"):
        (plot,) = plots[name]
        drawn = {(one["variant"], one["rev"]) for one in plot["content"]["data"]["values"]}
        assert drawn == {
            (variant, experiment)
            for variant in ("With BN", "Without BN")
            for experiment in ("aside", "queued")
        }
    pictures = plots["reports/figures/paired_differences.png"]
    assert {one["revisions"][0] for one in pictures} == {"aside", "queued"}


def test_each_run_has_its_whole_history(made):
    client, trained, _ = made

    for run in trained:
        for split in ("train", "validation"):
            for score in ("loss", "accuracy"):
                points = client.get_metric_history(run.info.run_id, f"{split}/{score}")
                assert [point.step for point in points] == list(range(EPOCHS))
        assert "test/accuracy" in run.data.metrics


@pytest.mark.usefixtures("made")
def test_all_experiments_are_cells_of_one_table_each_once(clone):
    compare = ("python", "-m", "pipeline", "compare")
    told = json.loads(clone.run(*compare, "--since", "--json").stdout)

    assert {"aside", "queued", "workspace"} <= {one["name"] for one in told["experiments"]}
    assert told["unfinished"] == [{"name": "failing", "state": "failed"}]
    assert told["axes"] == ["momentum"]
    momenta = [cell["at"].get("momentum") for cell in told["cells"]]
    assert momenta == [None, 0.7, 0.8, 0.9, *([0.99] * (len(momenta) - 4))]
    for cell in told["cells"][1:]:
        gains = [
            cell["test"]["accuracy"]["mean"] - told["cells"][0]["test"]["accuracy"]["mean"],
            cell["difference"]["accuracy"]["mean"],
        ]
        assert gains[0] == pytest.approx(gains[1])
    assert (clone.folder / told["figure"]).is_file()

    failed = clone.run(*compare, "main", "aside", "failing", check=False)
    assert failed.returncode == 66
    assert "experiment failing failed: `dvc queue logs failing` says why" in failed.stderr


def test_each_runs_artifacts_open(made, tmp_path):
    client, trained, _ = made
    (experiment,) = {run.info.experiment_id for run in trained}
    models = client.search_logged_models([experiment])
    assert {model.source_run_id for model in models} == {run.info.run_id for run in trained}
    assert len(models) == len(trained)

    for run in trained:
        folder = Path(client.download_artifacts(run.info.run_id, "lineage", str(tmp_path)))
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["variant"] == run.data.params["variant"]
        assert manifest["seeds"] == [int(run.data.params["seed"])]
        if run.data.tags["git.dirty"] == "true":
            patch = (folder / "changes.patch").read_text()
            assert f"+    momentum: {run.data.params['momentum']}" in patch
    for model in models:
        names = {path.name for path in Path(model.artifact_location[7:]).rglob("*")}
        assert {"MLmodel", "model.json", "model.weights.h5"} <= names


def test_a_run_is_reproduced_at_its_own_commit_once_the_code_has_changed(made, clone):
    module = clone.folder / "pipeline/training/batches.py"
    kept = module.read_text()
    module.write_text(kept + "\n\n# Edited since.\n")
    reproduce = ("python", "-m", "pipeline", "reproduce", "no_norm-seed-01")
    try:
        refused = clone.run(*reproduce, check=False)
        said = clone.run(*reproduce, "--checkout", **ANEW).stdout
    finally:
        module.write_text(kept)

    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "no_norm-seed-01 was made from different code, at commit" in line
    assert "bit-identical" in said.splitlines()[-1]
    assert len(clone.run("git", "worktree", "list").stdout.splitlines()) == 1
    assert made
    _, trained, _ = clone.finished_runs()
    (run,) = [run for run in trained if run.info.run_name == "no_norm-seed-01"]
    assert run.data.tags["reproductions"] == "1"
    assert len(trained) == len(made[1])
