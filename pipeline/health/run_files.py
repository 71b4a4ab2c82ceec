"""Checks that the trained runs on disk have all their files, as their training left them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pipeline.health.dvc_cache import LOCK
from pipeline.health.findings import Finding, Note, listed
from pipeline.provenance.lineage import Lineage, read_journal, weights_sha256
from pipeline.provenance.lineage_file import read_lineage_file
from pipeline.runs.manifest import read_manifest, trained_variants
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS, run_folder

_REMEDY = "`dvc repro` restores them, or trains again what its cache has not"


def findings(variants: Collection[str]) -> Iterator[Finding | Note]:
    """Yields which files of these variants' runs are missing or damaged, and who has no runs.

    Raises:
        DataError: if a manifest, a journal or the lineage file is damaged.
    """
    trained, travelled = set(trained_variants()), read_lineage_file()
    if absent := [name for name in variants if name not in trained and _is_made_by_dvc(name)]:
        what = f"runs/ has no runs of {', '.join(absent)}: `dvc repro` makes them"
        yield Note(what, is_gap=True)
    missing, damaged = [], []
    for name in (name for name in variants if name in trained):
        for fingerprint, seed in read_manifest(name).fingerprints().items():
            lost = _missing(name, seed)
            missing += lost
            damaged += [] if lost else _damaged(fingerprint, name, seed, travelled)
    for fault, paths in (("missing", missing), ("damaged", damaged)):
        if paths:
            yield Finding(f"files of runs are {fault}: {listed(list(map(str, paths)))}", _REMEDY)


def is_whole(fingerprint: str, variant: str, seed: int, travelled: Mapping[str, Lineage]) -> bool:
    """Returns whether a run's model is on disk as its training left it, as far as that is known.

    Args:
        fingerprint: of the run.
        variant: of the run.
        seed: of the run.
        travelled: the content of the lineage file.

    Raises:
        DataError: if the run's journal is damaged.
    """
    return not (_missing(variant, seed) or _damaged(fingerprint, variant, seed, travelled))


def _missing(variant: str, seed: int) -> list[Path]:
    paths = [run_folder(variant, seed) / name for name in (ARCHITECTURE, WEIGHTS)]
    return [path for path in paths if not path.is_file()]


def _damaged(
    fingerprint: str, variant: str, seed: int, travelled: Mapping[str, Lineage]
) -> list[Path]:
    """Returns which of a run's files, which are all there, are not what its training left."""
    # Trained here to other weights than elsewhere, a run may have either.
    of = (read_journal(fingerprint), travelled.get(fingerprint))
    known = {lineage.weights_sha256 for lineage in of if lineage} - {""}
    is_known = not known or weights_sha256(variant, seed) in known
    return [] if is_known else [run_folder(variant, seed) / WEIGHTS]


def _is_made_by_dvc(variant: str) -> bool:
    """Returns whether the runs were made once, here or where this was cloned from."""
    return LOCK.exists() and f"  train@{variant}:" in LOCK.read_text(encoding="utf-8").splitlines()
