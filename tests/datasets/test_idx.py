import gzip
import struct

import numpy as np
import pytest

from pipeline.datasets import idx
from pipeline.errors import DataError, MissingInputError


def header(*dimensions, kind=0x08):
    return struct.pack(f">HBB{len(dimensions)}I", 0, kind, len(dimensions), *dimensions)


IMAGES = gzip.compress(header(2, 3, 4) + bytes(range(24)), mtime=0)
LABELS = gzip.compress(header(2) + bytes([9, 0]), mtime=0)


@pytest.fixture
def read(tmp_path):
    """Returns a function that writes these bytes to two files and reads the examples in them."""

    def write_and_read(images=IMAGES, labels=LABELS):
        (tmp_path / "images.gz").write_bytes(images)
        (tmp_path / "labels.gz").write_bytes(labels)
        return idx.read_examples(tmp_path / "images.gz", tmp_path / "labels.gz")

    return write_and_read


def test_values_are_read_rows_first(read):
    examples = read()

    np.testing.assert_array_equal(examples.images[0], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])
    np.testing.assert_array_equal(examples.images[1, 2], [20, 21, 22, 23])
    np.testing.assert_array_equal(examples.labels, [9, 0])
    assert examples.images.dtype == examples.labels.dtype == np.uint8


def test_a_file_is_read_whether_packed_or_not(read):
    unpacked = read(gzip.decompress(IMAGES), gzip.decompress(LABELS))

    np.testing.assert_array_equal(unpacked.images, np.arange(24).reshape(2, 3, 4))
    np.testing.assert_array_equal(unpacked.labels, [9, 0])


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]


BODY = bytes(24)
DAMAGE = {
    "another type": (gzip.compress(header(2, 3, 4, kind=0x0D) + BODY), "magic number 0x00000d03"),
    "another format": (gzip.compress(b"P5 28 28 255\n" + BODY), "magic number 0x50352032"),
    "labels in place of images": (
        gzip.compress(header(24) + BODY),
        "0x00000801, expected 0x00000803",
    ),
    "a header cut short": (gzip.compress(header(2, 3, 4)[:15]), "ends within its header"),
    "a body cut short": (gzip.compress(header(2, 3, 4) + BODY[:-1]), "24 bytes .* holds 23"),
    "more than promised": (gzip.compress(header(2, 3, 4) + BODY + b"\n"), "24 bytes .* holds more"),
    "garbage after the archive": (IMAGES + b"garbage", "damaged"),
    "an empty file": (b"", "ends within its header"),
    "an empty archive": (gzip.compress(b""), "ends within its header"),
    "a web page": (b"<!DOCTYPE html><title>Moved</title>", "magic number 0x3c21444f"),
    "an archive cut short": (IMAGES[:-10], "damaged"),
    "an archive with a wrong checksum": (flipped(IMAGES, -6), "damaged: CRC"),
    # 0xff opens a block of a type that deflate does not have.
    "an archive with a wrong stream": (IMAGES[:10] + b"\xff" * 20, "damaged: .*invalid block"),
    "forged dimensions": (gzip.compress(header(2**31, 2**31, 2**31)), "more than 64 MB"),
    "dimensions just above the limit": (
        gzip.compress(header(2**14, 2**14, 2)),
        "more than 64 MB",
    ),
    "one promised image too many": (gzip.compress(header(3, 3, 4) + BODY), "36 bytes .* holds 24"),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_reported_with_the_file_name(read, content, reason):
    with pytest.raises(DataError, match=rf"^images\.gz .*{reason}") as error:
        read(images=content)

    assert len(str(error.value).splitlines()) == 1


def test_a_file_without_images_is_refused(read):
    with pytest.raises(DataError, match=r"images\.gz holds no images"):
        read(gzip.compress(header(0, 28, 28)), gzip.compress(header(0)))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([1, 2, 3], "has 3 labels for 2 images"),
        ([1], "has 1 labels for 2 images"),
        ([1, 10], "has label 10 at index 1"),
        ([255, 11], "has label 255 at index 0"),
    ],
)
def test_labels_must_fit_the_images(read, labels, reason):
    with pytest.raises(DataError, match=rf"^labels\.gz {reason}$"):
        read(labels=gzip.compress(header(len(labels)) + bytes(labels)))


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(MissingInputError, match=r"absent\.gz is not here: `dvc repro` makes it"):
        idx.read_array(tmp_path / "absent.gz", dimensions=1)
