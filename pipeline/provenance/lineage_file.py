"""Lineage that travels: `reports/lineage.json`, which git takes from clone to clone.

DVC takes runs to other clones; what it takes has to come out the same from every training, so the
lineage of training is not among it. This file is no output of a stage either: dvc.lock would get
its hash. The stage `track` writes it, when all training is over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.files import write_text
from pipeline.provenance.lineage import (
    Lineage,
    committed,
    read_journal,
    time_of,
    weights_sha256,
    write_journal,
)
from pipeline.runs.manifest import Manifest

LINEAGE_FILE = Path("reports/lineage.json")
# What a repository that everybody reads may hold. Others stay here and in MLflow.
TRAVELLING = frozenset({
    "mlflow.source.git.commit", "mlflow.source.git.branch", "git.dirty", "git.patch.left_out",
    "dvc.experiment", "dvc.baseline", "dvc.lock.sha256", "requirements.lock.sha256",
    "python.version", "tensorflow.version", "keras.version", "numpy.version",
    "cpu.type", "cpu.architecture", "cpu.model", "cpu.vectors", "cpu.l1d", "cpu.count",
    "threads", "bits.portable",
})  # fmt: skip
_LARGEST_PATCH = 100_000
_LEFT_OUT = "git.patch.left_out"
_SHA256 = re.compile("[0-9a-f]{64}")
_CONFLICT = re.compile("^<{7} ", re.MULTILINE)


def exchange(manifests: Iterable[Manifest]) -> dict[str, Lineage]:
    """Brings journals and lineage file up to date with each other.

    The journals here get what only the file has, so that it can come back after the file has lost
    it. The file then holds the lineage of these runs alone; what it has of them stays as it is, and
    so does what the last commit has of them: an experiment took it out of the file, and the way
    back from the experiment should end where it began.

    Returns:
        The lineage of the runs' training, by fingerprint, where it is known.

    Raises:
        DataError: if the file or a journal is damaged.
    """
    weights = {
        fingerprint: weights_sha256(manifest.variant, seed)
        for manifest in manifests
        for fingerprint, seed in manifest.fingerprints().items()
    }
    travelled = read_lineage_file()
    for fingerprint, lineage in travelled.items():
        # Trained here to other weights, the run keeps the journal of that.
        if read_journal(fingerprint) is None:
            write_journal(fingerprint, lineage)
    here = {fingerprint: read_journal(fingerprint) for fingerprint in weights}
    write_lineage_file(_first_of(weights, travelled, _committed(), here))
    return _first_of(weights, here, travelled)


def read_lineage_file() -> dict[str, Lineage]:
    """Returns the lineage of each run in the file, by fingerprint; none if there is no file.

    Raises:
        DataError: if it is damaged, or has the marks of a merge.
    """
    try:
        text = LINEAGE_FILE.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(error) from None
    return _read(text)


def _committed() -> dict[str, Lineage]:
    """Returns what the last commit's file has; nothing if there is none, or it is damaged."""
    try:
        return _read((committed(LINEAGE_FILE) or b'{"trainings": []}').decode("utf-8", "replace"))
    except DataError:
        return {}


def _read(text: str) -> dict[str, Lineage]:
    if _CONFLICT.search(text):
        raise DataError(
            f"{LINEAGE_FILE} has conflicts of a merge: take the same side as of dvc.lock "
            f"(`git checkout --ours {LINEAGE_FILE}`, or --theirs), then `dvc repro`"
        )
    try:
        return dict(_runs(json.loads(text)))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(error) from None


def write_lineage_file(lineages: Mapping[str, Lineage]) -> None:
    """Writes what may travel of each lineage: the same bytes for the same lineages."""
    travelling = {fingerprint: _travelling(one) for fingerprint, one in lineages.items()}

    def training(fingerprint: str) -> tuple[list[tuple[str, str]], bytes]:
        lineage = travelling[fingerprint]
        return sorted(lineage.tags.items()), lineage.patch

    trainings = [
        {
            "tags": dict(tags),
            # In lines, to be read in a review. JSON escapes the bytes that are no UTF-8.
            "patch": patch.decode(errors="surrogateescape").split("\n") if patch else [],
            "runs": {fingerprint: _result(travelling[fingerprint]) for fingerprint in fingerprints},
        }
        for (tags, patch), fingerprints in groupby(
            sorted(travelling, key=lambda one: (training(one), one)), training
        )
    ]
    write_text(LINEAGE_FILE, json.dumps({"trainings": trainings}, indent=1) + "\n")


def _first_of(
    weights: Mapping[str, str], *sources: Mapping[str, Lineage | None]
) -> dict[str, Lineage]:
    """Returns for each run the first lineage that led to its weights."""
    return {
        fingerprint: found[0]
        for fingerprint, sha256 in weights.items()
        if (
            found := [
                lineage
                for source in sources
                if (lineage := source.get(fingerprint)) and lineage.is_of(sha256)
            ]
        )
    }


def _result(lineage: Lineage) -> dict[str, Any]:
    return {
        "weights_sha256": lineage.weights_sha256,
        "started": lineage.started,
        "ended": lineage.ended,
    }


def _runs(content: Any) -> Iterator[tuple[str, Lineage]]:
    for training in content["trainings"]:
        tags = {str(name): str(value) for name, value in training["tags"].items()}
        patch = "\n".join(training["patch"]).encode(errors="surrogateescape")
        for fingerprint, result in training["runs"].items():
            # It becomes the name of a file.
            if not _SHA256.fullmatch(fingerprint):
                raise ValueError(f"{fingerprint!r} is no fingerprint")
            started, ended = (time_of(result[name]) for name in ("started", "ended"))
            sha256 = str(result["weights_sha256"])
            yield fingerprint, _travelling(Lineage(tags, patch, started, ended, sha256))


def _travelling(lineage: Lineage) -> Lineage:
    """Returns what may travel: no other tags, no new files, no more than so many bytes."""
    tags = {name: lineage.tags[name] for name in TRAVELLING & lineage.tags.keys()}
    kept, left_out, room = [], [tags[_LEFT_OUT]] if _LEFT_OUT in tags else [], _LARGEST_PATCH
    for change in filter(None, re.split(rb"(?m)^(?=diff --git )", lineage.patch)):
        head = change[: change.find(b"\n@@")]
        if b"\nnew file mode " in head or len(change) > room:
            left_out.append(_name(change))
        else:
            kept.append(change)
            room -= len(change)
    if left_out:
        tags[_LEFT_OUT] = ", ".join(left_out)
    return replace(lineage, tags=tags, patch=b"".join(kept))


def _name(change: bytes) -> str:
    """Returns the name of the file that a part of a patch changes."""
    # diff --git a/name b/name
    both = change.split(b"\n", 1)[0].removeprefix(b"diff --git ").decode(errors="replace")
    return both[: len(both) // 2].strip('"').removeprefix("a/")


def _damaged(error: object) -> DataError:
    return DataError(
        f"{LINEAGE_FILE} is damaged: {error}; `git restore {LINEAGE_FILE}` brings it back"
    )
