"""Hostile files

Data files that were forged, prepared ones that were damaged, and pictures that strangers made for
`predict`. What was published is known to the last bit, so `prepare` reads nothing else; here the
forged files take the place of the published ones, checksums and all, to see what the readers do.
"""

import functools
import gzip
import itertools
import re
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.datasets import idx
from pipeline.errors import DataError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import read_prepared, write_prepared
from tests.faults.command import DIGITS, NOTE_THE_PEAK, PARAMS, run

RAW, PREPARED = Path("data/raw"), Path("data/prepared.npz")
TRAINING = RAW / "train-images-idx3-ubyte", RAW / "train-labels-idx1-ubyte"
TEST = RAW / "t10k-images-idx3-ubyte", RAW / "t10k-labels-idx1-ubyte"


def header(*dimensions, kind=0x08):
    return struct.pack(f">HBB{len(dimensions)}I", 0, kind, len(dimensions), *dimensions)


def zipped(content):
    return gzip.compress(content, mtime=0)


@functools.cache
def sixteen_megabytes():
    return zipped(bytes(1 << 24))


def unfolding(*dimensions, megabytes):
    """An archive that unfolds to that much, whatever its header says."""
    return zipped(header(*dimensions)) + sixteen_megabytes() * (megabytes // 16)


COUNT = 6000
IMAGES = zipped(header(COUNT, 2, 2) + bytes(4 * COUNT))
LABELS = zipped(header(COUNT) + bytes(COUNT))
# The images and labels, what is said of them and of which.
HOSTILE = {
    "bomb of 10 GB": (unfolding(COUNT, 2, 2, megabytes=10_000), LABELS, "images.* holds more"),
    "bomb of a header as large as permitted": (
        unfolding(2**16, 32, 32, megabytes=10_000), LABELS, "images.* holds more"),
    "both as large as permitted": (
        unfolding(2**16, 32, 32, megabytes=64),
        unfolding(2**26, megabytes=64),
        "labels.* 67108864 labels for 65536 images",
    ),
    "more than permitted": (
        unfolding(2**16 + 1, 32, 32, megabytes=64), LABELS, "images.* claims"),
    "bomb after the archive": (
        IMAGES + unfolding(1, 1, 1, megabytes=10_000), LABELS, "images.* holds more"),
    "garbage after the archive": (IMAGES + b"garbage", LABELS, "images.* is damaged"),
    "dimensions of 2^31": (zipped(header(2**31, 2**31, 2**31)), LABELS, "images.* claims"),
    "dimensions of 0 and 2^32": (
        zipped(header(0, 2**32 - 1, 2**32 - 1)), LABELS, "images.* claims"),
    "2^32 labels": (IMAGES, zipped(header(2**32 - 1)), "labels.* claims"),
    "wrong magic": (zipped(b"\x89PNG" + bytes(99)), LABELS, "images.* magic number"),
    "label 10": (IMAGES, zipped(header(COUNT) + bytes(COUNT - 1) + b"\x0a"), "labels.* label 10"),
    "counts that differ": (IMAGES, zipped(header(9) + bytes(9)), "labels.* 9 labels for 6000"),
    "empty file": (b"", LABELS, "images.* ends within"),
}  # fmt: skip

# What the files in `data/raw` are counts as what was published.
PINNED_AS_THEY_ARE = """
import dataclasses
from pipeline.datasets import catalogue
from pipeline.files import sha256
def pinned(file):
    path = catalogue.RAW_FOLDER / file.name
    return catalogue.PublishedFile(file.name, path.stat().st_size, sha256(path))
mnist = catalogue.DATASETS["mnist"]
catalogue.DATASETS["mnist"] = dataclasses.replace(mnist, files=tuple(map(pinned, mnist.files)))
"""


@pytest.fixture
def mnist(project):
    """A project whose raw files are small but right."""
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (project / RAW).mkdir(parents=True)
    for images, labels in (TRAINING, TEST):
        images.write_bytes(IMAGES)
        labels.write_bytes(LABELS)
    return project


@pytest.mark.drill
@pytest.mark.promise(
    "Forged gzip and IDX files: `prepare` ends with 65 and one line that names the file, in less "
    "than 500 MB, and writes nothing"
)
@pytest.mark.parametrize(("images", "labels", "told"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.usefixtures("mnist")
def test_forged_files_are_refused(peak, images, labels, told):
    for path, content in zip(TRAINING, (images, labels), strict=True):
        path.write_bytes(content)

    code, (line,) = run("prepare", before=PINNED_AS_THEY_ARE + NOTE_THE_PEAK)

    assert code == 65
    assert re.match(f"error: train-{told}", line)
    assert not PREPARED.exists()
    megabytes = float(Path("peak").read_text()) / 1e3
    assert megabytes < 500
    peak(MB=megabytes)


def chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@functools.cache
def png(side, *chunks, bits=1, channels=1):
    """A blank picture of so many pixels a side, with other chunks before its own."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, kind, 0, 0, 0))
    packer, row = zlib.compressobj(), bytes(1 + (side * bits * channels + 7) // 8)
    rows = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", head, *chunks, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    )


def saved(mode, **options):
    content = BytesIO()
    Image.new(mode, (MOST, MOST)).save(content, **options)
    return content.getvalue()


# As many pixels a side as are permitted.
MOST = 7071
# What is handed to `predict`, and what is said of it.
PICTURES = {
    "900 million pixels in 110 kB": (lambda: png(30_000), "decompresses to more than 50 million"),
    "one pixel a side too many": (lambda: png(MOST + 1), "decompresses to more than 50 million"),
    "as many pixels as permitted": (lambda: png(MOST), "is blank"),
    "the same in colours": (lambda: png(MOST, bits=8, channels=3), "is blank"),
    "the same, one colour transparent": (
        lambda: png(MOST, chunk(b"tRNS", bytes(6)), bits=8, channels=3), "is blank"),
    "the same, partly transparent": (lambda: png(MOST, bits=8, channels=4), "is blank"),
    "the same, of 16 bits": (lambda: png(MOST, bits=16), "is blank"),
    "the same as WebP": (lambda: saved("RGBA", format="webp", lossless=True), "is blank"),
    "the same for a printer": (
        lambda: saved("CMYK", format="tiff", compression="tiff_lzw"), "is blank"),
    "100 MB of text in 100 kB": (
        lambda: png(28, chunk(b"zTXt", b"t\0\0" + zlib.compress(bytes(10**8)))), "is damaged"),
    "GIF of 65,535 by 65,535": (
        lambda: b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;", "decompresses to more than 50 million"),
    "TIFF whose directory is its own next": (
        lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "is (damaged|neither a picture)"),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(secret) run\n",
        "is neither a picture"),
    "SVG that reads a file": (
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="secret"/></svg>',
        "is neither a picture"),
    "end of line in the middle of a PNG": (
        lambda: png(28).replace(b"IDAT", b"\r\n\r\n"), "is neither a picture"),
    "IDX that claims 2^93 bytes": (lambda: header(2**31, 2**31, 2**31), "claims"),
    "IDX that unfolds to 10 GB": (lambda: unfolding(9, 28, 28, megabytes=10_000), "holds more"),
}  # fmt: skip


# As the process ends, the files that Python opened for reading in the current folder, and what it
# started, go to the file `seen`.
NOTE_WHAT_IS_OPENED = """
import os, sys
seen = []
@sys.addaudithook
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, pathlib.Path)):
        path = pathlib.Path(os.fsdecode(arguments[0])).absolute()
        if path.parent == pathlib.Path.cwd() and "r" in (arguments[1] or "r"):
            seen.append(path.name)
    elif event.startswith(("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system")):
        seen.append(event)
atexit.register(lambda: pathlib.Path("seen").write_text("\\n".join(seen)))
"""


@pytest.mark.drill
@pytest.mark.promise(
    "Pictures made to harm: `predict` ends with 65 and one line that names the file, in less than "
    "1 GB, starts no other program, and opens no other file beside them"
)
@pytest.mark.parametrize(("content", "told"), PICTURES.values(), ids=PICTURES)
def test_forged_pictures_are_refused(project, peak, content, told):
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (project / "seven.png").write_bytes(content())
    examples = Examples(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    write_prepared(PREPARED, Dataset(examples, examples, examples, tuple("0123456789")))

    Path("secret").write_text("not to be read")

    code, (line,) = run("predict", "seven.png", before=NOTE_THE_PEAK + NOTE_WHAT_IS_OPENED)

    assert code == 65
    assert re.match(rf"error: seven\.png.* {told}", line)
    assert set(Path("seen").read_text().splitlines()) == {"params.yaml", "seven.png"}
    megabytes = float(Path("peak").read_text()) / 1e3
    assert megabytes < 1000
    peak(MB=megabytes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file.gz"


@pytest.mark.slow
@pytest.mark.promise(
    "Whatever the header of an IDX file says, it is read as it says, or refused with 65"
)
@given(
    head=st.tuples(
        st.sampled_from([0, 0, 0, 1, 0x1F8B]),
        st.sampled_from([8, 8, 8, 9, 0x0D, 0xFF]),
        st.integers(0, 255) | st.just(3) | st.just(3),
        st.lists(
            st.integers(0, 5) | st.integers(0, 2**32 - 1) | st.sampled_from([2**31, 2**32 - 1]),
            max_size=5,
        ),
    ),
    body=st.binary(max_size=200) | st.none(),
    tail=st.just(b"") | st.binary(max_size=4),
    cut=st.just(0) | st.integers(0, 40),
)
@example(head=(0, 8, 3, [0, 2**32 - 1, 2**32 - 1]), body=b"", tail=b"", cut=0)
@example(head=(0, 8, 3, [2**16, 2**5, 2**5]), body=b"", tail=b"", cut=0)
@settings(
    max_examples=500,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_header_is_read_or_refused(file, head, body, tail, cut):
    zero, kind, count, dimensions = head
    if body is None:
        # As much as the header says, so that some are right.
        body = bytes(i % 256 for i in range(min(np.prod([1.0, *dimensions]), 1000).__int__()))
    content = struct.pack(f">HBB{len(dimensions)}I", zero, kind, count, *dimensions) + body
    archive = zipped(content) + tail
    file.write_bytes(archive[: len(archive) - cut])

    array = read_or_refused(lambda: idx.read_array(file, dimensions=3))

    if array is not None:
        assert (zero, kind, count, array.tobytes()) == (0, 8, 3, body)
        assert list(array.shape) == dimensions


def read_or_refused(read):
    """Returns what is read; None if it was refused as it should be."""
    try:
        return read()
    except DataError as error:
        refusal = error
    assert refusal.exit_code == 65
    assert len(str(refusal).splitlines()) == 1
    return None


def drawn(examples, chance):
    images = chance.integers(0, 256, (examples, 3, 2), dtype=np.uint8)
    return Examples(images, chance.integers(0, 10, examples, dtype=np.uint8))


@pytest.mark.slow
@pytest.mark.promise(
    "A flipped bit in the prepared file is either told (65) or changed nothing that is read"
)
@pytest.mark.parametrize(
    "bits",
    [pytest.param([0], id="one"), pytest.param([1, 4, 6], id="others", marks=pytest.mark.drill)],
)
def test_flipped_bits_do_not_change_what_is_learnt_from(tmp_path, count, bits):
    path, chance = tmp_path / "prepared.npz", np.random.default_rng(0)
    # Larger than what is read of an archive at once, together with which its checksum is checked.
    sets = {"train": drawn(2000, chance), "validation": drawn(8, chance), "test": drawn(9, chance)}
    write_prepared(path, Dataset(**sets, classes=tuple("0123456789")))
    right = path.read_bytes()
    values = [right.index(part.tobytes()) for part in vars(sets["train"]).values()]
    within = {place for first in values for place in range(first + 9, first + 1990)}
    within |= set(range(values[0] + 1990, values[0] + 11_990))
    places = [place for place in range(len(right)) if place not in within]
    told = 0
    for place, bit in itertools.product(places, bits):
        path.write_bytes(_flipped(right, place, bit))
        again = read_or_refused(lambda: read_prepared(path))
        told += again is None
        for name, examples in sets.items() if again else ():
            got = getattr(again, name)
            np.testing.assert_array_equal(got.inputs, examples.inputs)
            np.testing.assert_array_equal(got.labels, examples.labels)
    count(bits=len(places) * len(bits), told=told)


def _flipped(content, place, bit=3):
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.mark.drill
@pytest.mark.promise(
    "A prepared file that was tampered with ends `train` and `evaluate` with 65 and the cure"
)
def test_commands_notice_a_prepared_file_tampered_with(project):
    (project / "params.yaml").write_text(DIGITS, encoding="utf-8")
    assert run("download") == (0, [])
    assert run("prepare") == (0, [])
    content = PREPARED.read_bytes()
    PREPARED.write_bytes(_flipped(content, len(content) // 2))

    for command in (["train", "no_norm"], ["evaluate"]):
        code, (line,) = run(*command)

        assert code == 65
        assert line.startswith(f"error: {PREPARED} is damaged: ")
        assert line.endswith("; remove it, and `dvc repro` makes it again")
    assert not list(project.glob("runs/*/*")) + list(project.glob("evaluation/*"))


@pytest.mark.drill
@pytest.mark.promise("`dvc repro` notices raw and prepared files tampered with, and mends them")
def test_dvc_mends_what_was_tampered_with(make_clone, count):
    clone = make_clone()
    clone.run("dvc", "repro", "prepare")
    right = clone.hashes("data")
    assert {str(PREPARED), str(RAW / "digits.csv")} <= right.keys()
    for name in (str(PREPARED), str(RAW / "digits.csv")):
        path = clone.folder / name
        path.write_bytes(_flipped(path.read_bytes(), path.stat().st_size // 2))

        clone.run("dvc", "repro", "prepare")

        assert clone.hashes("data") == right
        count(files=1)
