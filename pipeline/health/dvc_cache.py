"""Checks DVC's cache, whose files are named after the hash of their content.

DVC itself does not check them: it trusts a read-only file, restores it as it is, and then trusts
what it restored.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.errors import DataError, one_line
from pipeline.health.backups import unused
from pipeline.health.findings import Finding, listed

DVC = Path(".dvc")
LOCK = Path("dvc.lock")
# Outside the cache, where DVC would collect it as garbage.
DAMAGED = DVC / "tmp" / "damaged"
# The rest of a hash, whose first two digits name the folder; the listing of a folder ends in .dir.
_OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
_NAMED = 3


def finding() -> Finding | None:
    """Returns which files of the cache are damaged, and which files here were restored from them.

    Needs a dvc.lock that can be read.
    """
    hashes = {path: _md5(path) for path in _cached()}
    damaged = [path for path, md5 in hashes.items() if md5 != _expected_md5(path)]
    if not damaged:
        return None
    wrong = {hashes[path] for path in damaged}
    restored = [path for path in _outputs() if _md5(path) in wrong]
    what = f"DVC's cache is damaged, and DVC would restore damaged files: {_names(damaged)}"
    if restored:
        what += (
            f"; restored from there: {_names(restored)}. Whatever was made from them may be wrong: "
            "`dvc repro --force` makes it again"
        )
    remedy = f"--fix moves it to {DAMAGED}, and `dvc repro` makes it again"
    return Finding(what, remedy, partial(_take_away, damaged, restored))


def _cached() -> Iterator[Path]:
    """Yields the files of the cache, which lie in folders with names of two digits."""
    if not DVC.is_dir():
        return
    # Importing DVC takes a third of a second.
    from dvc.config import Config, ConfigError

    try:
        folder = Path(Config(str(DVC))["cache"].get("dir", DVC / "cache"))
    except ConfigError as error:
        raise DataError(f"DVC's configuration cannot be read: {one_line(error)}") from None
    for path in sorted((folder / "files" / "md5").glob("??/*")):
        # A file that is still being written has a different name.
        if _OBJECT.fullmatch(path.name):
            yield path


def _expected_md5(path: Path) -> str:
    """Returns the hash that a file of the cache should have."""
    return path.parent.name + path.name.removesuffix(".dir")


def _outputs() -> Iterator[Path]:
    """Yields the files in the workspace that DVC may have restored."""
    lock = YAML(typ="safe").load(LOCK) if LOCK.exists() else {}
    for stage in lock.get("stages", {}).values():
        for output in stage.get("outs", []):
            path = Path(output["path"])
            yield from (file for file in (path, *path.rglob("*")) if file.is_file())


def _take_away(damaged: list[Path], restored: list[Path]) -> None:
    DAMAGED.mkdir(parents=True, exist_ok=True)
    for path in damaged:
        shutil.copy2(path, unused(DAMAGED / f"{path.parent.name}{path.name}"))
    # Restored files go first: they are recognised only while the damaged cache is still there.
    for path in [*restored, *damaged]:
        path.unlink()


def _names(paths: Iterable[Path]) -> str:
    return listed(sorted(map(str, paths)), _NAMED)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
