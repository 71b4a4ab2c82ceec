import gzip
import hashlib
import itertools
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pipeline.adapters import mirrors
from pipeline.adapters.datasets import PublishedFile
from pipeline.adapters.mirrors import fetch, mirrors_for
from pipeline.errors import CannotCreateError, UnavailableError

# An archive of a few chunks, as those of MNIST are.
BODY = gzip.compress(np.random.default_rng(0).bytes(150_000), mtime=0)
FLIPPED = BODY[:100_000] + bytes([BODY[100_000] ^ 1]) + BODY[100_001:]
HTML = b"<!DOCTYPE html><title>Moved</title>"


def published(body):
    return PublishedFile("digits.gz", len(body), hashlib.sha256(body).hexdigest())


FILE = published(BODY)


def answer(body=BODY, status=200, **headers):
    """Sends `body`; a header that is None is left out."""

    def respond(request):
        request.send_response(status)
        for name, value in ({"Content_Length": len(body)} | headers).items():
            if value is not None:
                request.send_header(name.replace("_", "-"), str(value))
        request.end_headers()
        request.wfile.write(body)

    return respond


def endless(request):
    answer(b"", Content_Length=None)(request)
    with suppress(ConnectionError):
        while True:
            request.wfile.write(BODY)


def silent(request):
    request.server.released.wait()


def dripping(request):
    """Sends a byte now and then: each one in time, the whole of it never."""
    answer(b"", Content_Length=None)(request)
    with suppress(ConnectionError):
        for byte in BODY[:40]:
            request.wfile.write(bytes([byte]))
            time.sleep(0.05)


class Mirror(ThreadingHTTPServer):
    """Gives one answer after the other, the last of them for ever; remembers what was asked."""

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = itertools.chain(answers, itertools.repeat(answers[-1]))
        self.asked = []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/data/"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        next(self.server.answers)(self)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def serve():
    started = []

    def start(*answers):
        started.append(Mirror(*answers))
        return started[-1]

    yield start
    for mirror in started:
        mirror.released.set()
        mirror.shutdown()
        mirror.server_close()


@pytest.fixture
def good(serve):
    return serve(answer())


@pytest.fixture
def nobody():
    """A URL where nothing listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}/"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "raw"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Tries again at once, waits half a second for an answer, a second for a file."""
    monkeypatch.setattr(mirrors, "_RETRIES", mirrors._RETRIES.new(backoff_factor=0))
    monkeypatch.setattr(mirrors, "_READ_SECONDS", 0.5)
    monkeypatch.setattr(mirrors, "_DEADLINE_SECONDS", 1)


def test_a_file_comes_whole_from_a_url(good, folder):
    fetch(FILE, (good.url,), folder)

    assert (folder / "digits.gz").read_bytes() == BODY
    assert good.asked == ["/data/digits.gz"]


@pytest.mark.parametrize(
    "answers",
    [
        # What a static server says of a .gz: undoing it would change the bytes.
        pytest.param([answer(Content_Encoding="gzip")], id="called encoded"),
        pytest.param([answer(Content_Length=None)], id="of untold length"),
        pytest.param([answer(b"", 500), answer(b"", 503), answer()], id="after two hiccups"),
    ],
)
def test_a_right_file_is_taken(serve, folder, answers):
    mirror = serve(*answers)

    fetch(FILE, (mirror.url,), folder)

    assert (folder / "digits.gz").read_bytes() == BODY
    assert len(mirror.asked) == len(answers)


def test_a_folder_is_a_mirror_too(tmp_path, folder):
    (tmp_path / "digits.gz").write_bytes(BODY)

    fetch(FILE, (str(tmp_path),), folder)

    assert (folder / "digits.gz").read_bytes() == BODY
    assert (tmp_path / "digits.gz").exists()


BAD_ANSWERS = {
    "cut short": (answer(BODY[:1000], Content_Length=None), "only 1000 of 150"),
    "connection lost": (answer(BODY[:1000], Content_Length=len(BODY)), "the connection broke off"),
    "a bit flipped": (answer(FLIPPED), "wrong content: SHA-256 "),
    "a web page": (answer(HTML), "35 bytes declared, 150"),
    "a web page of untold length": (answer(HTML, Content_Length=None), "only 35 of 150"),
    "not there": (answer(HTML, 404), "HTTP 404"),
    "forbidden": (answer(HTML, 403), "HTTP 403"),
    "broken": (answer(HTML, 500), "too many 500 error responses"),
    "a length of its own": (
        answer(Content_Length=len(BODY) + 1),
        f"{len(BODY) + 1} bytes declared, {len(BODY)} were published",
    ),
    "a length that is none": (answer(Content_Length="many"), "many bytes declared, 150"),
    "endless": (endless, "more than the 150"),
    "silent": (silent, "no answer in time"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_bad_mirror_is_told_and_the_next_one_tried(serve, good, folder, caplog, bad, reason):
    mirror = serve(bad)

    fetch(FILE, (mirror.url, good.url), folder)

    (warning,) = [r for r in caplog.records if r.name == mirrors.__name__]
    assert warning.levelname == "WARNING"
    told = warning.getMessage()
    assert told.startswith(f"digits.gz from {mirror.url}: {reason}")
    assert len(told.splitlines()) == 1
    assert (folder / "digits.gz").read_bytes() == BODY
    assert list(folder.iterdir()) == [folder / "digits.gz"]


def test_an_answer_that_cannot_change_is_not_asked_for_again(serve, good, folder):
    mirror = serve(answer(HTML, 404))

    fetch(FILE, (mirror.url, good.url), folder)

    assert len(mirror.asked) == 1


def test_mirrors_are_tried_in_order(serve, good, folder):
    second = serve(answer())

    fetch(FILE, (good.url, second.url), folder)

    assert (len(good.asked), len(second.asked)) == (1, 0)


def test_when_all_are_bad_each_is_named_with_its_reason(serve, nobody, tmp_path, folder):
    page, wrong = serve(answer(HTML, 404)), serve(answer(FLIPPED))

    with pytest.raises(UnavailableError) as told:
        fetch(FILE, (page.url, nobody, str(tmp_path / "absent"), wrong.url), folder)

    reasons = str(told.value).split("; ")
    assert reasons[0] == f"digits.gz from {page.url}: HTTP 404"
    assert reasons[1].startswith(f"digits.gz from {nobody}: ")
    assert "Connection refused" in reasons[1]
    assert reasons[2] == f"digits.gz from {tmp_path / 'absent'}: No such file or directory"
    assert reasons[3].startswith(f"digits.gz from {wrong.url}: wrong content")
    assert not folder.exists() or not list(folder.iterdir())


def test_without_mirrors_the_error_says_so(folder):
    with pytest.raises(UnavailableError, match=r"digits\.gz: there is no mirror to try"):
        fetch(FILE, (), folder)


def test_a_mirror_that_drips_is_given_up_at_the_deadline(serve, folder):
    mirror, start = serve(dripping), time.monotonic()

    with pytest.raises(UnavailableError, match="of 40 bytes after 1 s"):
        fetch(published(BODY[:40]), (mirror.url,), folder)

    assert time.monotonic() - start < 1.5


def test_a_right_file_that_is_there_stays(good, folder):
    folder.mkdir()
    (folder / "digits.gz").write_bytes(BODY)
    before = (folder / "digits.gz").stat()

    fetch(FILE, (good.url,), folder)

    assert (folder / "digits.gz").stat() == before
    assert good.asked == []


def test_a_wrong_file_that_is_there_is_replaced(good, folder):
    folder.mkdir()
    (folder / "digits.gz").write_bytes(FLIPPED)

    fetch(FILE, (good.url,), folder)

    assert (folder / "digits.gz").read_bytes() == BODY


def test_a_folder_that_cannot_be_made_is_no_mirrors_fault(serve, good, folder):
    folder.write_text("I am a file")
    second = serve(answer())

    with pytest.raises(CannotCreateError, match=r"raw/digits\.gz cannot be written"):
        fetch(FILE, (good.url, second.url), folder)

    assert second.asked == []


@pytest.mark.parametrize(
    "mirror",
    [
        "http://user:secret@127.0.0.1:1/",
        "http://user:secret@/",
        "http://user:secret@127.0.0.1:port/",
        pytest.param("http://user:secret@127.0.0.1:99999/"),
        pytest.param("ftp://user:secret@127.0.0.1/"),
    ],
)
def test_passwords_are_not_shown(folder, caplog, mirror):
    with pytest.raises(UnavailableError) as told:
        fetch(FILE, (mirror,), folder)

    assert "127.0.0.1" in str(told.value) or "http:///" in str(told.value)
    assert "secret" not in str(told.value) + caplog.text


@pytest.mark.parametrize(
    "mirror",
    [
        "ftp://127.0.0.1/",
        "file:///data/mnist",
        "://",
        "http://",
        "/dev/null",
        pytest.param("http://[bad/"),
        pytest.param("~nobody-of-this-name/mnist"),
    ],
)
def test_what_is_no_mirror_is_passed_over(good, folder, caplog, mirror):
    fetch(FILE, (mirror, good.url), folder)

    assert f"digits.gz from {mirror}" in caplog.text
    assert (folder / "digits.gz").read_bytes() == BODY


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, ()),
        ("", ()),
        (" , ,", ()),
        ("/data/mnist", ("/data/mnist",)),
        ("/data/mnist, https://example.org/m", ("/data/mnist", "https://example.org/m")),
    ],
)
def test_mirrors_of_the_environment_go_first(monkeypatch, told, expected):
    monkeypatch.delenv("MNIST_MIRROR", raising=False)
    if told is not None:
        monkeypatch.setenv("MNIST_MIRROR", told)

    assert mirrors_for("mnist", ("https://built.in/",)) == (*expected, "https://built.in/")


def test_each_dataset_has_its_own_variable(monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", "/data/mnist")

    assert mirrors_for("digits", ("/built/in",)) == ("/built/in",)
