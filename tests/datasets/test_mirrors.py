import dataclasses
import gzip
import hashlib
import io
import time

import numpy as np
import pytest

from pipeline.datasets import fetching, mirrors
from pipeline.datasets.catalogue import PublishedFile
from pipeline.datasets.mirrors import Mirror, mirrors_for
from pipeline.errors import CannotCreateError, UnavailableError
from tests.faults.mirror import (
    HTML,
    answer,
    dripping,
    never_ending_chunk,
    never_ending_header,
    silent,
)

# Several chunks, like the files of MNIST.
BODY = np.random.default_rng(0).bytes(150_000)
FLIPPED = BODY[:100_000] + bytes([BODY[100_000] ^ 1]) + BODY[100_001:]


def published(body):
    return PublishedFile("digits", len(body), hashlib.sha256(body).hexdigest())


FILE = published(BODY)


def gzip_with_a_name(content):
    packed = io.BytesIO()
    with gzip.GzipFile("digits", "wb", fileobj=packed) as file:
        file.write(content)
    return packed.getvalue()


def fetch(files, places, folder):
    fetching.fetch(files, map(Mirror, places), folder)


@pytest.fixture
def good(serve):
    return serve(answer(BODY))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "raw"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Retries at once; waits half a second for a response and one second for a file."""
    monkeypatch.setattr(mirrors, "_PAUSES_SECONDS", (0, 0))
    monkeypatch.setattr(mirrors, "_TIMEOUT_SECONDS", (10, 0.5))
    monkeypatch.setattr(fetching, "_PATIENCE_SECONDS", 1)
    monkeypatch.setattr(fetching, "_SLOWEST_BYTES_PER_SECOND", 1e9)


def test_a_file_is_fetched_from_a_url(good, folder):
    fetch([FILE], (good.url,), folder)

    assert (folder / "digits").read_bytes() == BODY
    assert good.asked == ["/data/digits.gz"]


@pytest.mark.parametrize(
    "answers",
    [
        # Static servers say this of a .gz. Decoding it would change the bytes.
        pytest.param([answer(BODY, Content_Encoding="gzip")], id="marked as encoded"),
        pytest.param([answer(BODY, Content_Length=None)], id="without a declared length"),
        pytest.param([answer(b"", 500), answer(b"", 503), answer(BODY)], id="after two hiccups"),
    ],
)
def test_a_correct_file_is_accepted(serve, folder, answers):
    mirror = serve(*answers)

    fetch([FILE], (mirror.url,), folder)

    assert (folder / "digits").read_bytes() == BODY
    assert len(mirror.asked) == len(answers)


def test_a_folder_is_a_mirror_too(tmp_path, folder):
    (tmp_path / "digits").write_bytes(BODY)

    fetch([FILE], (str(tmp_path),), folder)

    assert (folder / "digits").read_bytes() == BODY
    assert (tmp_path / "digits").exists()


def test_a_mirror_that_fails_is_reported_and_moves_to_the_end(serve, folder, caplog):
    other = published(b"other")
    bad, good = serve(answer(HTML, 403)), serve(answer(BODY), answer(b"other"))

    fetch([FILE, dataclasses.replace(other, name="other")], (bad.url, good.url), folder)

    (warning,) = [r for r in caplog.records if r.name == fetching.__name__]
    assert warning.levelname == "WARNING"
    assert warning.getMessage() == f"digits from {bad.url}: HTTP 403; trying the next source"
    assert bad.asked == ["/data/digits.gz", "/data/digits"]
    assert good.asked == ["/data/digits.gz", "/data/other.gz"]


PACKED = {
    "as it is": BODY,
    "gzip": gzip.compress(BODY, mtime=0),
    "gzip with a name": gzip_with_a_name(BODY),
    "gzip without compression": gzip.compress(BODY, 0),
    "gzip in two parts": gzip.compress(BODY[:99]) + gzip.compress(BODY[99:]),
}


@pytest.mark.parametrize("packed", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a.idx3-ubyte", "a-idx3-ubyte.gz"])
def test_any_packing_and_spelling_of_the_right_bytes_is_right(tmp_path, folder, packed, name):
    file = dataclasses.replace(FILE, name="a-idx3-ubyte")
    (tmp_path / name).write_bytes(packed)

    fetch([file], (str(tmp_path),), folder)

    assert (folder / "a-idx3-ubyte").read_bytes() == BODY


def test_a_url_is_asked_for_each_spelling(serve, folder):
    file = dataclasses.replace(FILE, name="a-idx3-ubyte")
    mirror = serve(*[answer(HTML, code) for code in (404, 403, 410)], answer(BODY))

    fetch([file], (mirror.url,), folder)

    assert mirror.asked == [
        f"/data/{name}"
        for name in ("a-idx3-ubyte.gz", "a-idx3-ubyte", "a.idx3-ubyte.gz", "a.idx3-ubyte")
    ]
    assert (folder / "a-idx3-ubyte").read_bytes() == BODY


def test_a_packed_file_may_come_byte_by_byte(serve, folder):
    mirror = serve(dripping(gzip.compress(BODY[:40]), 0.001))

    fetch([published(BODY[:40])], (mirror.url,), folder)

    assert (folder / "digits").read_bytes() == BODY[:40]


def test_a_folder_of_the_name_of_a_file_is_passed_over(tmp_path, folder):
    file = dataclasses.replace(FILE, name="a-idx3-ubyte")
    (tmp_path / "a-idx3-ubyte").mkdir()
    (tmp_path / "a.idx3-ubyte").write_bytes(BODY)

    fetch([file], (str(tmp_path),), folder)

    assert (folder / "a-idx3-ubyte").read_bytes() == BODY


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


HOSTILE = {
    # 1 MB of zeros is packed in a thousandth.
    "a bomb": (gzip.compress(bytes(len(BODY) + 1)), "more than the 150000 bytes"),
    "a bomb after the file": (gzip.compress(BODY) + gzip.compress(bytes(1 << 20)), "more than"),
    "parts without content": (gzip.compress(b"") * 10_000, "200000 bytes, 150000 were published"),
    "a packing cut short": (gzip.compress(BODY)[:-9], "damaged: Compressed file ended before"),
    "a flipped bit": (flipped(gzip.compress(BODY, 0), 70_000), "damaged: CRC check failed"),
    "a broken stream": (gzip.compress(b"")[:10] + b"\xff" * 20, "damaged: Error -3 while"),
    "garbage after the file": (gzip.compress(BODY) + b"garbage", "damaged: Not a gzipped file"),
    "packed twice": (gzip.compress(gzip.compress(BODY)), "more than the 150000 bytes"),
    "too short": (BODY[:-1], "149999 bytes, 150000 were published"),
    "too long": (BODY + b"\n", "150001 bytes, 150000 were published"),
    "too short, packed": (gzip.compress(BODY[:-1]), "only 149999 of 150000 bytes"),
}


@pytest.mark.parametrize("kind", ["url", "folder"])
@pytest.mark.parametrize(("packed", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_packing_is_refused(serve, tmp_path, folder, kind, packed, reason):
    (tmp_path / "digits.gz").write_bytes(packed)
    place = str(tmp_path) if kind == "folder" else serve(answer(packed)).url

    with pytest.raises(UnavailableError, match=f": {reason}") as error:
        fetch([FILE], (place,), folder)

    assert len(str(error.value).splitlines()) == 1
    assert not list(folder.iterdir())


def test_an_endless_row_of_parts_without_content_is_cut_off(serve, folder):
    mirror = serve(answer(gzip.compress(b"") * 100_000, Content_Length=None))

    with pytest.raises(UnavailableError, match="more than 221132 bytes"):
        fetch([FILE], (mirror.url,), folder)


@pytest.fixture(params=["url", "folder"])
def wrong(request, serve, tmp_path):
    """A mirror whose file has the right size and one flipped bit."""
    if request.param == "url":
        return serve(answer(FLIPPED)).url
    (tmp_path / "digits").write_bytes(FLIPPED)
    return str(tmp_path)


def test_a_file_with_wrong_bytes_is_fetched_from_the_next_mirror(wrong, good, folder, caplog):
    fetch([FILE], (wrong, good.url), folder)

    assert [path.name for path in folder.iterdir()] == ["digits"]
    assert (folder / "digits").read_bytes() == BODY
    assert good.asked == ["/data/digits.gz"]
    (warning,) = [r.getMessage() for r in caplog.records if r.name == fetching.__name__]
    digest = hashlib.sha256(FLIPPED).hexdigest()[:12]
    expected = f"digits from {wrong}: wrong content: SHA-256 {digest}…; trying the next source"
    assert warning == expected


def test_wrong_bytes_leave_no_file(wrong, folder):
    with pytest.raises(UnavailableError, match=r"^digits from .*: wrong content: SHA-256"):
        fetch([FILE], (wrong,), folder)

    assert not list(folder.iterdir())


def test_a_permanent_error_is_not_retried(serve, good, folder):
    mirror = serve(answer(HTML, 404))

    fetch([FILE], (mirror.url, good.url), folder)

    assert mirror.asked == ["/data/digits.gz", "/data/digits"]


def test_mirrors_are_tried_in_order(serve, good, folder):
    second = serve(answer(BODY))

    fetch([FILE], (good.url, second.url), folder)

    assert (len(good.asked), len(second.asked)) == (1, 0)


def test_without_mirrors_the_error_says_so(folder):
    with pytest.raises(UnavailableError, match=r"digits: there is no source to try"):
        fetch([FILE], (), folder)


@pytest.mark.parametrize(
    ("slow", "reason"),
    [
        (silent, "no answer in time"),
        # Each packet is in time, the whole never is.
        (dripping(BODY, 0.05), "bytes after 1 s"),
        (never_ending_header, "0 of 40 bytes after 1 s"),
        (never_ending_chunk, "0 of 40 bytes after 1 s"),
    ],
    ids=["silent", "a byte now and then", "endless header", "endless chunk"],
)
def test_a_slow_mirror_is_given_up_on_in_time(serve, folder, slow, reason):
    mirror, start = serve(slow), time.monotonic()

    with pytest.raises(UnavailableError, match=reason):
        fetch([published(BODY[:40])], (mirror.url,), folder)

    assert time.monotonic() - start < 1.5
    assert not list(folder.iterdir())


def test_a_larger_file_may_take_longer(serve, folder, monkeypatch):
    monkeypatch.setattr(fetching, "_SLOWEST_BYTES_PER_SECOND", 40)
    mirror = serve(dripping(BODY[:40], 0.03))

    fetch([published(BODY[:40])], (mirror.url,), folder)

    assert (folder / "digits").read_bytes() == BODY[:40]


def test_a_correct_file_already_there_stays(good, folder):
    folder.mkdir()
    (folder / "digits").write_bytes(BODY)
    before = (folder / "digits").stat()

    fetch([FILE], (good.url,), folder)

    assert (folder / "digits").stat() == before
    assert good.asked == []


def test_a_wrong_file_already_there_is_replaced(good, folder):
    folder.mkdir()
    (folder / "digits").write_bytes(FLIPPED)

    fetch([FILE], (good.url,), folder)

    assert (folder / "digits").read_bytes() == BODY


def test_a_folder_that_cannot_be_created_is_not_blamed_on_a_mirror(serve, good, folder):
    folder.write_text("I am a file")
    second = serve(answer(BODY))

    with pytest.raises(CannotCreateError, match=r"raw/digits cannot be written"):
        fetch([FILE], (good.url, second.url), folder)

    assert second.asked == []


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
def test_an_invalid_mirror_is_skipped(good, folder, caplog, mirror):
    fetch([FILE], (mirror, good.url), folder)

    assert f"digits from {mirror}" in caplog.text
    assert (folder / "digits").read_bytes() == BODY


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ()),
        ("", ()),
        (" , ,", ()),
        ("/data/mnist", ("/data/mnist",)),
        ("/data/mnist, https://example.org/m", ("/data/mnist", "https://example.org/m")),
    ],
)
def test_mirrors_from_the_environment_go_first(monkeypatch, value, expected):
    monkeypatch.delenv("MNIST_MIRROR", raising=False)
    if value is not None:
        monkeypatch.setenv("MNIST_MIRROR", value)

    assert mirrors_for("mnist", ("https://built.in/",)) == tuple(
        map(Mirror, (*expected, "https://built.in/"))
    )


def test_each_dataset_has_its_own_variable(monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", "/data/mnist")

    assert mirrors_for("digits", ("/built/in",)) == (Mirror("/built/in"),)
