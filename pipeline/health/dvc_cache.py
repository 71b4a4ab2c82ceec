"""DVC's cache, whose files are named after their content; DVC itself never looks whether they are.

It takes a file that is read-only for whole, restores it as it is, and then takes what it restored
for what it should be.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.health.backups import unused
from pipeline.health.findings import Finding

DVC = Path(".dvc")
LOCK = Path("dvc.lock")
# Outside of the cache, of which DVC collects garbage by itself.
DAMAGED = DVC / "tmp" / "damaged"
# The rest of a hash, whose first two letters are the folder's; a listing of a folder tells so.
_OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
_NAMED = 3


def finding() -> Finding | None:
    """Returns what of the cache is damaged, and what of the workspace came from it.

    To be asked where dvc.lock can be read.
    """
    hashes = {path: _md5(path) for path in _kept()}
    damaged = [path for path, found in hashes.items() if found != _name(path)]
    if not damaged:
        return None
    wrong = {hashes[path] for path in damaged}
    restored = [path for path in _outputs() if _md5(path) in wrong]
    what = f"DVC's cache is damaged, and DVC would restore it so: {_names(damaged)}"
    if restored:
        what += (
            f"; {_names(restored)} came from there, and of what was made from it nobody knows: "
            "`dvc repro --force` makes it again"
        )
    remedy = f"--fix moves it to {DAMAGED}, and `dvc repro` makes it again"
    return Finding(what, remedy, partial(_take_away, damaged, restored))


def _kept() -> Iterator[Path]:
    """Yields the files of the cache, which lie in folders of two letters."""
    if not DVC.is_dir():
        return
    # DVC's import costs a third of a second.
    from dvc.config import Config

    folder = Path(Config(str(DVC))["cache"].get("dir", DVC / "cache"))
    for path in sorted((folder / "files" / "md5").glob("??/*")):
        # What is still being written has another name.
        if _OBJECT.fullmatch(path.name):
            yield path


def _name(path: Path) -> str:
    """Returns what a file of the cache should have as its hash."""
    return path.parent.name + path.name.removesuffix(".dir")


def _outputs() -> Iterator[Path]:
    """Yields the files here that DVC may have restored."""
    lock = YAML(typ="safe").load(LOCK) if LOCK.exists() else {}
    for stage in lock.get("stages", {}).values():
        for output in stage.get("outs", []):
            path = Path(output["path"])
            yield from (one for one in (path, *path.rglob("*")) if one.is_file())


def _take_away(damaged: list[Path], restored: list[Path]) -> None:
    DAMAGED.mkdir(parents=True, exist_ok=True)
    for path in damaged:
        shutil.copy2(path, unused(DAMAGED / f"{path.parent.name}{path.name}"))
    # First what came from it: as long as that is here, it can be told by the cache alone.
    for path in [*restored, *damaged]:
        path.unlink()


def _names(paths: Iterable[Path]) -> str:
    names = sorted(map(str, paths))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
