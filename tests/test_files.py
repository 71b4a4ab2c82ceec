import json
import os
import resource
import struct
import zipfile

import numpy as np
import pytest

from pipeline.errors import CannotCreateError, WriteError
from pipeline.files import clear, replacing, sha256, write_arrays, write_json, write_text


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"

    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()

    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_at_the_same_file_leave_each_other_alone(tmp_path):
    path = tmp_path / "file.txt"

    with replacing(path) as first, replacing(path) as second:
        second.write_text("second")
        first.write_text("first")

    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def left_by_the_killed(tmp_path):
    """Returns what a killed writer of file.txt leaves behind."""
    left = tmp_path / ".file.txt.a1b2c3_d.tmp"
    left.mkdir()
    (left / "file.txt").write_text("ha")
    return left


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path, left_by_the_killed):
    write_text(tmp_path / "other.txt", "")
    assert left_by_the_killed.exists()

    write_text(tmp_path / "file.txt", "")

    assert {path.name for path in tmp_path.iterdir()} == {"file.txt", "other.txt"}


@pytest.mark.usefixtures("left_by_the_killed")
def test_clearing_spares_files_to_keep_and_files_being_written(tmp_path):
    for name in ("kept", "other", ".hidden"):
        (tmp_path / name).touch()

    with replacing(tmp_path / "new") as temporary:
        clear(tmp_path, keep=["kept"])
        temporary.write_text("whole")

    assert {path.name for path in tmp_path.iterdir()} == {"kept", "new"}
    assert (tmp_path / "new").read_text() == "whole"


def test_clearing_a_missing_folder_does_nothing(tmp_path):
    clear(tmp_path / "absent", keep=[])

    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o000, 0o666)]
)
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "file.txt", "")
        assert os.umask(umask) == umask, "the umask is left as it was"
    finally:
        os.umask(before)

    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == mode


def test_a_parent_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "parent").write_text("I am a file")

    with pytest.raises(CannotCreateError, match=r"parent/file\.txt cannot be written: "):
        write_text(tmp_path / "parent" / "file.txt", "")


def test_a_folder_in_the_files_place_is_reported_and_stays(tmp_path):
    (tmp_path / "taken").mkdir()

    with pytest.raises(CannotCreateError, match="taken cannot be written: Is a directory"):
        write_text(tmp_path / "taken", "")

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_write_that_fails_half_way_is_reported_and_leaves_nothing(tmp_path):
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        with pytest.raises(WriteError, match=r"big\.txt cannot be written: File too large"):
            write_text(tmp_path / "big.txt", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    assert not list(tmp_path.iterdir())


def test_an_error_without_errno_keeps_its_message(tmp_path):
    with (
        pytest.raises(CannotCreateError, match="unable to flush"),
        replacing(tmp_path / "model.weights.h5"),
    ):
        raise OSError("unable to flush")


def test_text_is_utf_8_with_plain_line_ends(tmp_path):
    write_text(tmp_path / "file.txt", "±1\n")

    assert (tmp_path / "file.txt").read_bytes() == b"\xc2\xb11\n"


def test_json_is_readable_and_comes_back(tmp_path):
    value = {"label": "With BN · é", "accuracy": 0.1 + 0.2, "none": None}

    write_json(tmp_path / "file.json", value)

    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.startswith('{\n  "label": "With BN · é",\n')
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_refuses_nan_and_infinity(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"loss": value})

    assert not list(tmp_path.iterdir())


def test_sha256_agrees_with_the_standard(tmp_path):
    # FIPS 180-2, appendix B.1.
    (tmp_path / "abc").write_bytes(b"abc")

    assert sha256(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_arrays_are_written_as_version_2_0_zip_whatever_the_python(tmp_path):
    write_arrays(tmp_path / "a.npz", {"x": np.arange(6), "y": np.zeros((2, 3), np.uint8)})

    content = (tmp_path / "a.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        starts = [info.header_offset for info in archive.infolist()]
    assert len(starts) == 2
    for start in starts:
        # PKWARE's APPNOTE.TXT, 4.3.7: version needed, flags, method, time, date; length of extras.
        assert struct.unpack("<5H", content[start + 4 : start + 14]) == (20, 0, 0, 0, 33)
        assert struct.unpack("<H", content[start + 28 : start + 30]) == (0,)
