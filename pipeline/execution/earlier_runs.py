"""Earlier runs of a variant, which need not be trained again when seeds are added.

DVC removes `runs/<variant>` before it runs `train`, but dvc.lock still lists what was there, and
DVC's cache still has the files.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.errors import PipelineError
from pipeline.execution import under_dvc
from pipeline.params import EarlyStopping
from pipeline.runs.epochs import is_over
from pipeline.runs.manifest import Manifest, read_manifest
from pipeline.runs.models import read_model
from pipeline.runs.tables import ARCHITECTURE, RUNS, epochs_of, read_history, run_folder
from pipeline.training.trainer import TrainedRun

# Like `dvc repro` without `--pull`, this asks no remote: one that is down would delay training.
_NO_REMOTE = {"core": {"remote": ""}}


def earlier_runs(manifest: Manifest) -> dict[int, TrainedRun]:
    """Returns the runs of a manifest that dvc.lock lists with the same fingerprint, by seed.

    A run with a file that is missing from DVC's cache, or damaged there, is left out. Outside of
    DVC there are no earlier runs. Like DVC, this ignores the versions of packages: after an upgrade
    `dvc repro --force` trains all runs again.
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
    """Writes the files that dvc.lock lists in a folder below `root`; undamaged ones only."""
    # DVC takes most of a second to import, which training by hand can do without.
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.index import DataIndexDirError

    # DVC's index may be locked by another DVC: to train every run is better than to fail.
    with (
        suppress(DvcException, DataIndexDirError, sqlite3.Error),
        Repo(config=_NO_REMOTE) as repo,
    ):
        files = DVCFileSystem(repo)
        for name in map(str, files.find(runs.as_posix(), dvc_only=True)):
            with suppress(OSError):
                content: bytes = files.cat_file(name)  # pyrefly: ignore[bad-assignment]
                known = files.info(name).get("md5")
                # DVC does not verify what it reads; a damaged file would get a valid hash.
                if hashlib.md5(content, usedforsecurity=False).hexdigest() == known:
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    (root / name).write_bytes(content)


def _read(manifest: Manifest, root: Path) -> dict[int, TrainedRun]:
    """Returns the runs below `root` that are complete and have a fingerprint of the manifest."""
    earlier = read_manifest(manifest.variant, root)
    history, training = read_history(manifest.variant, root), manifest.parameters["training"]
    stopping = training.get("early_stopping")
    runs = {}
    for _, seed in manifest.fingerprints().items() & earlier.fingerprints().items():
        folder = root / run_folder(manifest.variant, seed)
        with suppress(PipelineError, LookupError):
            epochs = epochs_of(history, seed)
            is_stopped = is_over(epochs, EarlyStopping(**stopping) if stopping else None)
            if len(epochs) < training["epochs"] and not is_stopped:
                continue
            weights = tuple(read_model(folder).get_weights())
            architecture = (folder / ARCHITECTURE).read_text(encoding="utf-8").removesuffix("\n")
            runs[seed] = TrainedRun(seed, tuple(epochs), architecture, weights)
    return runs
