"""Runs that are there already: of a variant with more seeds than before, only new ones are trained.

DVC removes `runs/<variant>` before it runs `train`. But dvc.lock still tells what was there, and
DVC's cache still has it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.errors import PipelineError
from pipeline.execution import under_dvc
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest, read_manifest
from pipeline.runs.models import read_model
from pipeline.runs.tables import ARCHITECTURE, RUNS, read_history, run_folder
from pipeline.training.trainer import TrainedRun

# As `dvc repro` by itself, this asks no remote: one that does not answer would hold up training.
_NO_REMOTE = {"core": {"remote": ""}}


def earlier_runs(manifest: Manifest) -> dict[int, TrainedRun]:
    """Returns those runs of a manifest, by seed, that dvc.lock has, made from the very same.

    By hand, and not as a stage of DVC, there are none. Neither is a run one of them if a file of it
    is missing from DVC's cache, or damaged there. Packages and processor are not looked at, as DVC
    does not look at them: after an upgrade `dvc repro --force` trains all.
    """
    if under_dvc.stage() is None:
        return {}
    with TemporaryDirectory() as folder:
        root = Path(folder)
        _restore(RUNS / manifest.variant, root)
        with suppress(PipelineError):
            return _read(manifest, root)
    return {}


def _restore(runs: Path, root: Path) -> None:
    """Writes what dvc.lock has of a folder, as far as it is whole in DVC's cache, below `root`."""
    # Most of a second to import, which a training by hand can do without.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.index import DataIndexDirError

    # Another DVC may have the lock of its index: then all is trained, which is no reason to fail.
    with (
        suppress(DvcException, DataIndexDirError, sqlite3.Error),
        Repo(config=_NO_REMOTE) as repo,
    ):
        files = DVCFileSystem(repo)
        for name in map(str, files.find(runs.as_posix(), dvc_only=True)):
            with suppress(OSError):
                content: bytes = files.cat_file(name)  # pyrefly: ignore[bad-assignment]
                known = files.info(name).get("md5")
                # DVC gives what it has. Damaged, it would be written anew as if it were right.
                if hashlib.md5(content, usedforsecurity=False).hexdigest() == known:
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    (root / name).write_bytes(content)


def _read(manifest: Manifest, root: Path) -> dict[int, TrainedRun]:
    """Returns those runs of a manifest, by seed, that are whole below `root`."""
    earlier = read_manifest(manifest.variant, root)
    scores = {
        (row["seed"], row["epoch"], row["split"]): Scores(row["loss"], row["accuracy"])
        for row in read_history(manifest.variant, root).to_dict("records")
    }
    runs = {}
    for _, seed in manifest.fingerprints().items() & earlier.fingerprints().items():
        folder = root / run_folder(manifest.variant, seed)
        with suppress(PipelineError, LookupError):
            history = tuple(
                EpochScores(
                    seed, epoch, scores[seed, epoch, "train"], scores[seed, epoch, "validation"]
                )
                for epoch in range(manifest.parameters["training"]["epochs"])
            )
            weights = tuple(read_model(folder).get_weights())
            architecture = (folder / ARCHITECTURE).read_text(encoding="utf-8").removesuffix("\n")
            runs[seed] = TrainedRun(seed, history, architecture, weights)
    return runs
