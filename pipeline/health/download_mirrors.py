"""Whether the mirrors of a dataset would deliver its files."""

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
    """Yields the mirrors that do not answer; the built-in ones only where they are needed."""
    files = DATASETS[dataset].files
    chosen = _refusals(mirrors_for(dataset, ()), files)
    for mirror, reason in chosen.items():
        if reason:
            variable = f"{dataset.upper()}_MIRROR"
            yield Finding(f"the mirror {_told(mirror, reason)}", f"correct or unset {variable}")
    if "" in chosen.values():
        return
    built_in = _refusals(DATASETS[dataset].mirrors(), files)
    if "" in built_in.values():
        return
    told = "; ".join(_told(mirror, reason) for mirror, reason in built_in.items())
    what = f"no mirror of {dataset} answers: {told}"
    if all(file.is_at(RAW_FOLDER / file.name) for file in files):
        yield Note(f"{what}. Its files are in {RAW_FOLDER} already")
    else:
        variable = f"{dataset.upper()}_MIRROR"
        yield Finding(what, f"set {variable} to a folder or URL that has its files")


def _refusals(mirrors: Iterable[str], files: tuple[PublishedFile, ...]) -> dict[str, str]:
    """Asks all mirrors side by side; returns by mirror why not, empty where it would deliver."""
    answers = dict.fromkeys(mirrors, f"no answer within {PATIENCE_SECONDS} s")

    def ask(mirror: str) -> None:
        answers[mirror] = _refusal(mirror, files)

    # Daemons: a name server that does not answer holds up neither this nor the end.
    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in answers]
    until = time.monotonic() + PATIENCE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    return dict(answers)


def _refusal(mirror: str, files: tuple[PublishedFile, ...]) -> str:
    asked = files if "://" not in mirror else (min(files, key=lambda file: file.size),)
    reasons = (refusal(mirror, file, PATIENCE_SECONDS) for file in asked)
    return next((reason for reason in reasons if reason), "")


def _told(mirror: str, reason: str) -> str:
    return f"{without_passwords(mirror)} does not deliver ({reason})"
