"""What is said where DVC cannot give the runs of a commit, as in a clone without its cache."""

import re
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from dvc.fs.dvc import DVCFileSystem
from dvc.repo import Repo

from pipeline.errors import DataError, MissingInputError
from pipeline.lookup import revisions
from tests.commands.repositories import (
    DVC_YAML,
    commit,
    git,
    start,
    write_data,
    write_variant,
)
from tests.networks import PARAMS

CACHE = Path(".dvc/cache/files/md5")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        start()
        Repo.init().close()
        Path("dvc.yaml").write_text(DVC_YAML)
        Path("params.yaml").write_text(PARAMS)
        write_data()
        for variant in ("batch_norm", "no_norm"):
            write_variant(variant, np.full(6, 0.9))
        commit("Runs")
    return folder


@pytest.fixture
def repository(made, project):
    """A copy whose runs nothing has read yet, for DVC remembers listings."""
    shutil.copytree(made, project, dirs_exist_ok=True)
    return project


def said(kind):
    """Returns what is said of the first commit's runs, without the commit's name."""
    source = revisions.find("HEAD")
    with pytest.raises(kind) as raised:
        source.read("batch_norm")
    start, _, message = str(raised.value).partition(": ")
    assert start == f"commit {git('rev-parse', '--short=7', 'HEAD')}"
    assert "\n" not in message
    return message


def listing(output):
    """Returns the cached listing of an output of the first commit."""
    with Repo(rev="HEAD") as repo:
        md5 = repo.dvcfs.info(output)["md5"]
    return CACHE / md5[:2] / md5[2:]


def empty():
    shutil.rmtree(CACHE)


def keep_listings():
    for path in CACHE.glob("??/*"):
        if path.suffix != ".dir":
            path.unlink()


ADVICE = (
    "`dvc repro` at that commit makes its runs; commit the results, and compare with your commit"
)


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("lose", [empty, keep_listings])
def test_runs_that_the_cache_lacks_are_missing(lose):
    lose()

    assert said(MissingInputError) == (
        f"runs/batch_norm/manifest.json is not in DVC's cache here: {ADVICE}"
    )


@pytest.mark.usefixtures("repository")
def test_test_scores_that_the_cache_lacks_are_missing():
    listing("evaluation").unlink()

    assert said(MissingInputError).startswith("evaluation/batch_norm/test.csv is not in DVC's")


@pytest.mark.usefixtures("repository")
def test_outputs_that_another_version_cut_otherwise_are_missing_as_well():
    outputs = "- evaluation/batch_norm\n    - evaluation/no_norm\n"
    Path("dvc.yaml").write_text(DVC_YAML.replace("- evaluation\n", outputs))
    commit("Another version")
    listing("evaluation/batch_norm").unlink()

    assert said(MissingInputError).startswith("evaluation/batch_norm/test.csv is not in DVC's")


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"<html>",
        lambda _: b"{}",
        lambda _: b"[1]",
        lambda _: b"[]",
        # Another hash for each file, as a flipped bit gives one of them.
        lambda content: re.sub(rb"[0-9a-f]{32}", b"0" * 32, content),
    ],
)
def test_a_damaged_listing_is_not_said_to_be_missing(damage):
    path = listing("runs/batch_norm")
    path.chmod(0o644)
    path.write_bytes(damage(path.read_bytes()))

    assert said(DataError) == (
        "runs/batch_norm is damaged in DVC's cache: `python -m pipeline doctor --fix` removes it"
    )


def closed_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def remote(repository):
    """Gives the commit a remote."""

    def add(url):
        config = repository / ".dvc/config"
        config.write_text(f"[core]\n    remote = far\n['remote \"far\"']\n    url = {url}\n")
        git("commit", "-am", "A remote")

    return add


@pytest.mark.parametrize("lose", [empty, keep_listings])
@pytest.mark.parametrize("url", ["empty", "http://127.0.0.1:{port}/runs"])
def test_a_remote_that_lacks_the_runs_or_is_unreachable_is_named(remote, tmp_path, url, lose):
    remote(str(tmp_path / "far") if url == "empty" else url.format(port=closed_port()))
    lose()

    assert said(MissingInputError) == (
        "runs/batch_norm/manifest.json is not in DVC's cache here, and its remote 'far' does not "
        f"give it: `dvc pull` at that commit says why. Or {ADVICE}"
    )


def test_a_remote_gives_what_the_cache_lacks(remote, repository, tmp_path):
    remote(str(tmp_path / "far"))
    shutil.move(repository / CACHE, tmp_path / "far/files/md5")

    cell = revisions.find("HEAD").read("batch_norm")

    assert list(cell.scores["accuracy"]) == [0.9] * 6


def test_what_a_remote_needs_installed_is_said(remote):
    remote("gs://bucket/runs")

    with pytest.raises(DataError, match=r"^commit \w{7} cannot be read by DVC: .*'dvc-gs'"):
        revisions.find("HEAD").read("batch_norm")


class OfSomeLibraryError(Exception):
    pass


def test_whatever_the_library_of_a_remote_raises_is_a_missing_file(remote, tmp_path, monkeypatch):
    remote(str(tmp_path / "far"))

    def fail(*_, **__):
        raise OfSomeLibraryError

    monkeypatch.setattr(DVCFileSystem, "get_file", fail)

    assert "its remote 'far' does not give it" in said(MissingInputError)
