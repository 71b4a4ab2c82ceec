import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.execution.under_dvc import RWLOCK
from pipeline.health import dvc_cache, dvc_state
from tests.health.dvc import dvc

# Of "1\n" and "2\n", as `md5sum` has them.
ONE, TWO = "b026324c6904b2a9cb4b88d6d61c81d1", "26ab0db90d72e28ad0ba1e22ee510510"


def cached(name, cache=Path(".dvc/cache")):
    return cache / "files/md5" / name[:2] / name[2:]


def flip(path):
    """Flips a bit, as a disk may do, and keeps the file's mode."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.usefixtures("repository")
def test_a_whole_cache_is_well():
    assert len(list(Path(".dvc/cache/files/md5").glob("*/*"))) == 3
    assert dvc_cache.finding() is None


@pytest.mark.usefixtures("repository")
def test_a_damaged_configuration_is_told_in_a_line():
    Path(".dvc/config").write_text("<<<<<<< ours\n[core]\n")

    with pytest.raises(DataError, match="DVC's configuration cannot be read: "):
        dvc_cache.finding()


def test_without_dvc_nothing_is_reported(project):
    assert dvc_cache.finding() is None
    assert not list(project.iterdir())


@pytest.mark.usefixtures("repository")
def test_a_damaged_file_is_reported_and_moved_away():
    path = cached(TWO)
    flip(path)

    finding = dvc_cache.finding()

    assert str(path) in finding.what
    assert "restored from there" not in finding.what
    assert path.exists()
    finding.mend()
    assert not path.exists()
    # "2\n" with its last bit flipped.
    assert Path(".dvc/tmp/damaged", TWO).read_bytes() == b"3\n"
    assert Path("b/two").read_bytes() == b"2\n"
    assert dvc_cache.finding() is None


@pytest.mark.usefixtures("repository")
def test_files_restored_from_a_damaged_file_are_removed_with_it():
    flip(cached(ONE))
    for path in (Path("a.txt"), Path("b/one")):
        path.unlink()
    assert dvc("checkout") == 0
    assert Path("a.txt").read_bytes() == b"0\n"
    # The fault that this is here for.
    assert dvc("status", "--quiet") == 0

    finding = dvc_cache.finding()
    assert "restored from there: a.txt, b/one." in finding.what
    assert "`dvc repro --force`" in finding.what
    finding.mend()

    assert not Path("a.txt").exists()
    assert not Path("b/one").exists()
    assert Path("b/two").exists()
    assert dvc_cache.finding() is None


@pytest.mark.usefixtures("repository")
def test_a_damaged_listing_is_reported():
    (path,) = Path(".dvc/cache/files/md5").glob("*/*.dir")
    listing = path.read_bytes()
    assert {one["md5"] for one in json.loads(listing)} == {ONE, TWO}
    assert hashlib.md5(listing).hexdigest() == path.parent.name + path.stem  # noqa: S324
    flip(path)

    finding = dvc_cache.finding()

    assert str(path) in finding.what
    assert "restored from there" not in finding.what
    finding.mend()
    assert not path.exists()


@pytest.mark.usefixtures("repository")
def test_all_emptied_files_are_reported():
    for name in (ONE, TWO):
        cached(name).chmod(0o644)
        cached(name).write_bytes(b"")
    finding = dvc_cache.finding()
    assert all(str(cached(name)) in finding.what for name in (ONE, TWO))


@pytest.mark.usefixtures("repository")
def test_at_most_three_damaged_files_are_named():
    folder = cached(ONE).parent
    for number in range(5):
        (folder / f"{number:030x}").write_bytes(b"")
    what = dvc_cache.finding().what
    assert what.endswith(" and 2 more")
    assert what.count(str(folder)) == 3


@pytest.mark.usefixtures("repository")
def test_a_file_still_being_written_is_left_alone():
    (cached(ONE).parent / ".abc.tmp").write_bytes(b"")
    assert dvc_cache.finding() is None


def test_a_cache_in_another_folder_is_checked(repository, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(repository / ".dvc/cache", elsewhere, dirs_exist_ok=True)
    (repository / ".dvc/config").write_text(f"[cache]\n    dir = {elsewhere}\n")
    assert dvc_cache.finding() is None

    flip(cached(TWO, elsewhere))

    assert str(cached(TWO, elsewhere)) in dvc_cache.finding().what


@pytest.mark.usefixtures("repository")
def test_the_cache_is_checked_once_nothing_stops_dvc():
    flip(cached(TWO))
    Path("dvc.lock").write_bytes(b"{")
    (first,) = dvc_state.findings(at_work=False)
    assert first.what.startswith("dvc.lock is damaged")
    first.mend()
    (second,) = dvc_state.findings(at_work=False)
    assert second.what.startswith("DVC's cache is damaged")


@pytest.mark.usefixtures("repository")
def test_nothing_is_removed_while_dvc_is_at_work():
    flip(cached(TWO))
    (finding,) = dvc_state.findings(at_work=True)
    assert finding.mend is None


@pytest.mark.usefixtures("repository")
def test_a_damaged_rwlock_hides_no_damaged_file():
    flip(cached(TWO))
    RWLOCK.write_bytes(b"")

    of_lock, of_cache = dvc_state.findings(at_work=False)

    assert str(RWLOCK) in of_lock.what
    assert TWO[2:] in of_cache.what
