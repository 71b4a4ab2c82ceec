"""Runs travel by DVC's remotes, their lineage by git: nobody trains what others have trained."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest
import requests

from tests.remotes import EPOCHS, SEEDS, join, publish

pytestmark = pytest.mark.slow

MOMENTUM = "variants.batch_norm.momentum"
EXPERIMENTS = ("inside", "aside")
COMMIT = "mlflow.source.git.commit"


@pytest.fixture(scope="module")
def author(make_clone, tmp_path_factory):
    clone = make_clone(forks=True, training__epochs=EPOCHS, training__seeds=SEEDS)
    publish(clone, tmp_path_factory.mktemp("shared"))
    return clone


@pytest.fixture(scope="module")
def colleague(author, tmp_path_factory):
    clone = join(author, tmp_path_factory.mktemp("colleague") / "bnlab")
    clone.run("dvc", "pull")
    clone.told = clone.run("dvc", "repro").stdout
    return clone


def lineages(clone):
    """Where the runs in a clone's MLflow come from, by name and momentum."""
    client, runs, _ = clone.finished_runs()

    def changes(run):
        if run.data.tags["git.dirty"] == "true":
            path = client.download_artifacts(run.info.run_id, "lineage/changes.patch")
            return Path(path).read_text()
        return ""

    return {
        (run.info.run_name, run.data.params.get("momentum")): (
            run.data.tags[COMMIT], run.data.tags.get("dvc.experiment"),
            run.data.tags.get("lineage.of"), run.data.tags["cpu.type"],
            run.info.start_time, run.info.end_time, changes(run),
        )
        for run in runs
    }  # fmt: skip


def trained(told):
    """Which variants were trained, by what `dvc repro` printed."""
    return sorted(re.findall("Running stage 'train@(.*)'", told))


def test_a_colleague_trains_nothing(colleague):
    assert trained(colleague.told) == []
    assert "Running stage 'track'" in colleague.told


def test_a_colleagues_mlflow_tells_who_trained(colleague, author):
    assert len(lineages(author)) == 2 * SEEDS
    assert lineages(colleague) == lineages(author)
    assert {commit for commit, *_ in lineages(colleague).values()} == {author.trained_at}
    assert colleague.run("git", "status", "--porcelain").stdout == ""


def test_a_colleagues_registry_has_the_champion(colleague, author):
    def champion(clone):
        client, _, _ = clone.finished_runs()
        (model,) = client.search_registered_models()
        version = client.get_model_version_by_alias(model.name, "champion")
        return client.get_run(version.run_id).info.run_name, version.tags

    assert champion(colleague) == champion(author)
    assert champion(author)[1]["forced"] == "true"


@pytest.fixture(scope="module")
def shared_experiments(colleague, author):
    """What a colleague has after two experiments of the author's were pushed and pulled."""
    author.run("dvc", "exp", "run", "-n", "inside", "-S", f"{MOMENTUM}=0.9")
    author.run("dvc", "exp", "run", "--temp", "-n", "aside", "-S", f"{MOMENTUM}=0.8")
    author.run("git", "restore", ".")
    author.run("dvc", "checkout")
    author.run("dvc", "exp", "push", "origin", *EXPERIMENTS)
    colleague.run("dvc", "exp", "pull", "origin", *EXPERIMENTS)
    told = {}
    for name in EXPERIMENTS:
        colleague.run("dvc", "exp", "apply", name)
        told[name] = colleague.run("dvc", "repro").stdout
        told[name, "status"] = colleague.run("git", "status", "--porcelain").stdout
    told["shown"] = colleague.run("dvc", "exp", "show", "--csv").stdout
    colleague.run("git", "restore", ".")
    told["back"] = colleague.run("dvc", "repro").stdout
    return told


@pytest.mark.drill
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_nothing_of_a_shared_experiment_is_trained_again(shared_experiments, name):
    assert trained(shared_experiments[name]) == []
    changed = {line.split()[-1] for line in shared_experiments[name, "status"].splitlines()}
    assert "reports/lineage.json" in changed
    assert {one.partition("/")[0] for one in changed} == {"dvc.lock", "params.yaml", "reports"}


@pytest.mark.drill
@pytest.mark.usefixtures("shared_experiments")
def test_runs_of_a_shared_experiment_tell_who_trained(colleague, author):
    assert lineages(colleague) == lineages(author)
    experiments = {momentum: name for (_, momentum), (_, name, *_) in lineages(colleague).items()}
    assert experiments == {"0.99": None, "0.9": "inside", "0.8": "aside", None: None}
    *_, changed = lineages(colleague)["batch_norm-seed-00", "0.8"]
    assert "\n+    momentum: 0.8\n" in changed


@pytest.mark.drill
def test_shared_experiments_are_shown(shared_experiments):
    assert set(EXPERIMENTS) <= set(shared_experiments["shown"].replace("\n", ",").split(","))
    assert "weights_sha256" not in shared_experiments["shown"]


@pytest.mark.drill
def test_the_way_back_leaves_nothing_to_commit(shared_experiments, colleague):
    assert trained(shared_experiments["back"]) == []
    assert colleague.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.drill
def test_training_all_again_elsewhere_changes_no_file_in_git(author, tmp_path):
    clone = join(author, tmp_path / "bnlab")
    told = clone.run("dvc", "repro", "--force").stdout
    assert trained(told) == ["batch_norm", "no_norm"]
    assert clone.run("git", "status", "--porcelain").stdout == ""


@pytest.fixture
def ssh(tmp_path):
    """Settings of a remote behind SSH, with keys for this test alone."""
    pytest.importorskip("dvc_ssh", reason="dvc-ssh is not installed")
    for name in ("host", "user"):
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / name)
    asyncssh.read_private_key(tmp_path / "user").write_public_key(tmp_path / "keys")
    server = subprocess.Popen(
        [sys.executable, "tests/ssh_server.py", str(tmp_path / "host"), str(tmp_path / "keys")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    port = server.stdout.readline().strip()
    yield f"ssh://anna@127.0.0.1:{port}{tmp_path}/dvc", {"keyfile": tmp_path / "user"}, {}
    server.terminate()
    server.communicate(timeout=10)


@pytest.fixture
def s3():
    """Settings of a remote in a bucket, served on this machine."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    served = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    address = f"http://{host}:{port}"
    requests.put(f"{address}/bucket", timeout=10).raise_for_status()
    access = {"AWS_ACCESS_KEY_ID": "anna", "AWS_SECRET_ACCESS_KEY": "secret"}
    yield "s3://bucket/dvc", {"endpointurl": address}, access
    served.stop()


@pytest.mark.parametrize("kind", ["ssh", "s3"])
def test_runs_travel_by_a_remote_elsewhere(kind, request, author, tmp_path):
    address, settings, access = request.getfixturevalue(kind)
    clone = join(author, tmp_path / "bnlab")
    # No settings or keys of the user.
    access |= {"HOME": str(tmp_path), "SSH_AUTH_SOCK": ""}
    for one in (author, clone):
        one.run("dvc", "remote", "add", "--local", kind, address)
        for name, value in settings.items():
            one.run("dvc", "remote", "modify", "--local", kind, name, str(value))

    author.run("dvc", "push", "-r", kind, **access)
    clone.run("dvc", "pull", "-r", kind, **access)

    assert clone.hashes("runs", "data", "evaluation") == author.hashes("runs", "data", "evaluation")
    assert clone.hashes("runs")


def test_what_a_remote_has_lost_is_trained_and_nothing_else(author, tmp_path):
    clone = join(author, tmp_path / "bnlab")
    copy = tmp_path / "dvc"
    shutil.copytree(author.run("dvc", "config", "remote.shared.url").stdout.strip(), copy)
    clone.run("dvc", "remote", "modify", "--local", "shared", "url", str(copy))
    weights = author.folder / "runs/no_norm/seed-01/model.weights.h5"
    digest = hashlib.md5(weights.read_bytes(), usedforsecurity=False).hexdigest()
    (copy / "files/md5" / digest[:2] / digest[2:]).unlink()

    pulled = clone.run("dvc", "pull", check=False)
    told = clone.run("dvc", "repro").stdout

    assert pulled.returncode != 0
    assert digest in pulled.stderr
    assert trained(told) == ["no_norm"]
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_a_remote_that_does_not_answer_is_said_in_lines(author, tmp_path):
    clone = join(author, tmp_path / "bnlab")
    clone.run("dvc", "remote", "modify", "--local", "shared", "url", str(tmp_path / "gone"))

    pulled = clone.run("dvc", "pull", check=False)

    assert pulled.returncode != 0
    assert "failed to pull data from the cloud" in pulled.stderr
    assert "Traceback" not in pulled.stderr
