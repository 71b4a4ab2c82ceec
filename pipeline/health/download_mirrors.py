"""Checks whether the mirrors of a dataset would deliver its files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

from pipeline.datasets.catalogue import DATASETS, RAW_FOLDER, PublishedFile
from pipeline.datasets.mirrors import mirrors_for, refusal
from pipeline.errors import without_passwords
from pipeline.health.findings import Finding, Note

PATIENCE_SECONDS = 5


def findings(dataset: str) -> Iterator[Finding | Note]:
    """Yields the mirrors that do not answer; asks the built-in ones only if no chosen one does."""
    files = DATASETS[dataset].files
    chosen = _refusals(mirrors_for(dataset, ()), files)
    for mirror, reason in chosen.items():
        if reason:
            variable = f"{dataset.upper()}_MIRROR"
            yield Finding(f"the mirror {_fault(mirror, reason)}", f"correct or unset {variable}")
    if "" in chosen.values():
        return
    built_in = _refusals(DATASETS[dataset].mirrors(), files)
    if "" in built_in.values():
        return
    faults = "; ".join(_fault(mirror, reason) for mirror, reason in built_in.items())
    what = f"no mirror of {dataset} answers: {faults}"
    if all(file.is_at(RAW_FOLDER / file.name) for file in files):
        yield Note(f"{what}. Its files are already in {RAW_FOLDER}")
    else:
        variable = f"{dataset.upper()}_MIRROR"
        yield Finding(what, f"set {variable} to a folder or URL that has its files")


def _refusals(mirrors: Iterable[str], files: tuple[PublishedFile, ...]) -> dict[str, str]:
    """Asks all mirrors in parallel; returns why each refuses, empty if it would deliver."""
    answers = dict.fromkeys(mirrors, f"no answer within {PATIENCE_SECONDS} s")

    def ask(mirror: str) -> None:
        answers[mirror] = _refusal(mirror, files)

    # Daemons, so that a name server that hangs delays neither this call nor the program's exit.
    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in answers]
    deadline = time.monotonic() + PATIENCE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return dict(answers)


def _refusal(mirror: str, files: tuple[PublishedFile, ...]) -> str:
    # From a URL only the smallest file is requested.
    requested = files if "://" not in mirror else (min(files, key=lambda file: file.size),)
    reasons = (refusal(mirror, file, PATIENCE_SECONDS) for file in requested)
    return next((reason for reason in reasons if reason), "")


def _fault(mirror: str, reason: str) -> str:
    return f"{without_passwords(mirror)} does not deliver ({reason})"
