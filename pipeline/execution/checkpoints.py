"""Checkpoints of runs in training, and the lock on training them.

They lie beside the store, where DVC deletes nothing, neither before a stage nor after a queued
experiment. They are found by fingerprint, so a run that was interrupted in one folder can be
resumed in another.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pipeline.errors import DataError, PendingError, one_line
from pipeline.files import damaged, read_arrays, write_arrays
from pipeline.provenance.lineage import present_versions
from pipeline.provenance.places import project_root
from pipeline.provenance.processor import present_processor
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest
from pipeline.training.trainer import Snapshot

logger = logging.getLogger(__name__)

_CHECKPOINTS, _LOCKS = Path(".bnlab/checkpoints"), Path(".bnlab/locks")
_FORCED = "-forced"
_KEPT = 2
_OTHERWISE = {
    "fingerprint": "it is another run's",
    "made_with": "made with other packages, or on another processor",
    "sha256": "its content is not what was written",
}
_HISTORY, _STATE, _MANIFEST = "history", "state_{}", "manifest"


class Checkpoints:
    """Stores the runs of a variant after each epoch, in files that are complete or absent.

    While its `with` block lasts, no other process trains these runs.
    """

    def __init__(self, manifest: Manifest, *, forced: bool = False) -> None:
        """Takes no lock yet.

        Args:
            manifest: of the runs that are to be trained.
            forced: whether all of them are to be trained again. Then only the checkpoints of a
                training that was forced too are used.
        """
        self._of_seed = {seed: one for one, seed in manifest.fingerprints().items()}
        self._variant = manifest.variant
        self._ending = _FORCED if forced else ""
        # Bits depend on these: a run is not begun with one TensorFlow and ended with another.
        self._made_with = {**present_versions(), **present_processor().tags}
        # Whatever the seeds: those of one training are among those of another.
        lock = project_root() / _LOCKS / f"{manifest.settings_sha256()}.lock"
        self._lock = FileLock(lock, timeout=0)

    def __enter__(self) -> Self:
        """Locks the runs for this process.

        Raises:
            PendingError: if another process trains them; the message names it.
        """
        path = Path(self._lock.lock_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise PendingError(
                f"{self._variant} is being trained by {_holder(path)}: wait for it, or end it"
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Releases the lock."""
        self._lock.release()

    def has(self, seed: int) -> bool:
        """Returns whether there is a checkpoint of a run."""
        return any(self._folder(seed).glob("[0-9]*.npz"))

    def restore(self, seed: int) -> Snapshot | None:
        """Returns the latest undamaged snapshot of a run; warns of each damaged one."""
        for path in sorted(self._folder(seed).glob("[0-9]*.npz"), reverse=True):
            try:
                return self._read(path, seed)
            except DataError as error:
                # Said without the advice that is given where a stage's file is damaged.
                reason = one_line(error.__context__ or error)
                logger.warning(
                    "%s, seed %d: a checkpoint is of no use: %s: %s; going on from the one before, "
                    "or from the start",
                    *(self._variant, seed, path.name, reason),
                )
        return None

    def keep(self, seed: int, snapshot: Snapshot) -> None:
        """Writes a snapshot, and removes all earlier ones but the last.

        Raises:
            WriteError: on a full disk; the earlier snapshots stay.
            CannotCreateError: if the folder is not writable.
        """
        folder, epochs = self._folder(seed), len(snapshot.history)
        history = [
            [score for scores in (at.train, at.validation) for score in vars(scores).values()]
            for at in snapshot.history
        ]
        arrays: dict[str, NDArray[Any]] = {_HISTORY: np.array(history, np.float64)}
        arrays |= {_STATE.format(place): value for place, value in enumerate(snapshot.state)}
        manifest = self._manifest(seed, arrays)
        write_arrays(folder / f"{epochs:06d}.npz", {**arrays, _MANIFEST: np.array(manifest)})
        for path in folder.glob("[0-9]*.npz"):
            # Also those of later epochs, which were of no use: else they would be taken for newer.
            if not epochs - _KEPT < int(path.stem) <= epochs:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes all checkpoints of these runs, once the runs are in `runs/`."""
        for fingerprint in self._of_seed.values():
            for ending in ("", _FORCED):
                shutil.rmtree(
                    project_root() / _CHECKPOINTS / f"{fingerprint}{ending}", ignore_errors=True
                )

    def _folder(self, seed: int) -> Path:
        return project_root() / _CHECKPOINTS / f"{self._of_seed[seed]}{self._ending}"

    def _manifest(self, seed: int, arrays: dict[str, NDArray[Any]]) -> str:
        hashes = {
            name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in arrays.items()
        }
        return json.dumps(
            {"fingerprint": self._of_seed[seed], "made_with": self._made_with, "sha256": hashes}
        )

    def _read(self, path: Path, seed: int) -> Snapshot:
        """Returns the snapshot in a file.

        Raises:
            DataError: if `keep` did not write it, of this run and with these packages.
        """
        try:
            told = json.loads(str(read_arrays(path, [_MANIFEST])[_MANIFEST]))
            arrays = read_arrays(path, told["sha256"])
            expected = json.loads(self._manifest(seed, arrays))
            if different := [key for key in expected if told.get(key) != expected[key]]:
                raise DataError(_OTHERWISE[different[0]])
            history = arrays.pop(_HISTORY)
        except (LookupError, TypeError, ValueError) as error:
            raise damaged(path, error) from None
        scores = [
            EpochScores(seed, epoch, Scores(*values[:2]), Scores(*values[2:]))
            for epoch, values in enumerate(history.tolist())
        ]
        state = tuple(arrays[_STATE.format(place)] for place in range(len(arrays)))
        return Snapshot(tuple(scores), state)


def _holder(lock_file: Path) -> str:
    """Names the process that holds the lock, if this user may see it."""
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            if any(Path(file.path) == lock_file for file in process.open_files()):
                return f"process {process.pid} ({' '.join(process.info['cmdline'][1:])})"
        except psutil.Error:
            continue
    return "another process"
