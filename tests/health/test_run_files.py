"""Missing and damaged files of runs are found, and never replace whole ones."""

from pathlib import Path

import pytest

from pipeline.health import run_files
from pipeline.health.findings import Finding, Note
from pipeline.provenance.lineage import Lineage, weights_sha256, write_journal
from pipeline.runs.manifest import read_manifest
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS, remove_runs, run_folder
from tests.faults.written import SEEDS, VARIANTS, write_runs


@pytest.fixture
def written(project):
    """A project whose runs have left journals."""
    write_runs()
    for variant in VARIANTS:
        for fingerprint, seed in read_manifest(variant).fingerprints().items():
            write_journal(fingerprint, Lineage({}, weights_sha256=weights_sha256(variant, seed)))
    return project


def found():
    return list(run_files.findings(VARIANTS))


@pytest.mark.usefixtures("written")
def test_whole_runs_are_well():
    assert found() == []
    assert all(
        run_files.is_whole(fingerprint, variant, seed, {})
        for variant in VARIANTS
        for fingerprint, seed in read_manifest(variant).fingerprints().items()
    )


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("name", [ARCHITECTURE, WEIGHTS])
def test_a_missing_file_is_named(name):
    lost = run_folder(VARIANTS[0], SEEDS[0]) / name
    lost.unlink()
    (finding,) = found()
    assert finding.what == f"files of runs are missing: {lost}"
    assert finding.remedy.startswith("`dvc repro` ")
    assert finding.mend is None


@pytest.mark.usefixtures("written")
def test_weights_that_no_training_left_are_damaged():
    cut = run_folder(VARIANTS[0], SEEDS[-1]) / WEIGHTS
    cut.write_bytes(cut.read_bytes()[:5])
    (finding,) = found()
    assert finding.what == f"files of runs are damaged: {cut}"
    fingerprint = read_manifest(VARIANTS[0]).fingerprint(SEEDS[-1])
    assert not run_files.is_whole(fingerprint, VARIANTS[0], SEEDS[-1], {})


@pytest.mark.usefixtures("project")
def test_weights_of_which_nothing_is_known_are_taken_as_they_are():
    write_runs()
    assert found() == []


@pytest.mark.usefixtures("written")
def test_runs_that_dvc_has_made_elsewhere_are_missed_in_a_note():
    remove_runs(VARIANTS[0])
    assert not any(isinstance(one, Finding) for one in found())
    Path("dvc.lock").write_text(f"stages:\n  train@{VARIANTS[0]}:\n    cmd: x\n")
    (note,) = found()
    assert isinstance(note, Note)
    assert note.what == f"runs/ has no runs of {VARIANTS[0]}: `dvc repro` makes them"
