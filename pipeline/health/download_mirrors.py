"""Checks whether a dataset's files can be had: from its mirrors, or from packages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from pipeline.datasets.catalogue import DATASETS, RAW_FOLDER, Package, PublishedFile
from pipeline.datasets.mirrors import Mirror, mirrors_for
from pipeline.datasets.packages import suppliers
from pipeline.health.findings import Finding, Note

PATIENCE_SECONDS = 5


def findings(dataset: str) -> Iterator[Finding | Note]:
    """Yields the mirrors that do not answer.

    Asks the built-in ones only if no chosen one does, and the registries of packages only if none
    of these does either and files are missing.
    """
    source, variable = DATASETS[dataset], f"{dataset.upper()}_MIRROR"
    chosen = _mirror_refusals(mirrors_for(dataset, ()), source.files)
    for mirror, reason in chosen.items():
        if reason:
            yield Finding(f"the mirror {_fault(mirror, reason)}", f"correct or unset {variable}")
    if "" in chosen.values():
        return
    built_in = _mirror_refusals(map(Mirror, source.mirrors()), source.files)
    if "" in built_in.values():
        return
    what = f"no mirror of {dataset} answers: {_faults(built_in)}"
    if all(file.is_at(RAW_FOLDER / file.name) for file in source.files):
        yield Note(f"{what}. Its files are already in {RAW_FOLDER}")
        return
    packaged = _package_refusals(source.packages)
    if serving := [name for name, reason in packaged.items() if not reason]:
        yield Note(f"{what}. Its files come in a package instead: {serving[0]}")
    else:
        faults = "; ".join(filter(None, [what, _faults(packaged)]))
        yield Finding(faults, f"set {variable} to a folder or URL that has its files")


def _package_refusals(packages: Iterable[Package]) -> dict[str, str]:
    """Asks all tools in parallel; returns why each package does not come, empty if it would."""
    with suppliers(packages) as ways, ThreadPoolExecutor() as pool:
        reasons = pool.map(lambda way: way.refusal(PATIENCE_SECONDS), ways)
        return {str(way): reason for way, reason in zip(ways, reasons, strict=True)}


def _mirror_refusals(mirrors: Iterable[Mirror], files: tuple[PublishedFile, ...]) -> dict[str, str]:
    """Asks all mirrors in parallel; returns why each refuses, empty if it would deliver."""
    answers = dict.fromkeys(mirrors, f"no answer within {PATIENCE_SECONDS} s")

    def ask(mirror: Mirror) -> None:
        answers[mirror] = _refusal(mirror, files)

    # Daemons, so that a name server that hangs delays neither this call nor the program's exit.
    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in answers]
    deadline = time.monotonic() + PATIENCE_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    return {str(mirror): reason for mirror, reason in answers.items()}


def _refusal(mirror: Mirror, files: tuple[PublishedFile, ...]) -> str:
    # From a URL only the smallest file is requested.
    requested = files if mirror.is_folder else (min(files, key=lambda file: file.size),)
    for file in requested:
        if reason := mirror.refusal(file, PATIENCE_SECONDS):
            return f"{file.name}: {reason}"
    return ""


def _faults(refusals: Mapping[str, str]) -> str:
    return "; ".join(_fault(name, reason) for name, reason in refusals.items())


def _fault(name: str, reason: str) -> str:
    return f"{name} does not deliver ({reason})"
