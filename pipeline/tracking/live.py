"""Runs in MLflow while they train: a view, and nothing else. What it misses, `track` adds."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from pipeline.errors import InterruptedTrainingError, one_line
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import Manifest

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.runs.epochs import EpochScores
    from pipeline.tracking.store import Store

logger = logging.getLogger(__name__)

# How long the end of training waits for what is still to be shown; who was asked to end, less.
_LAST_WORDS_SECONDS, _BROKEN_OFF_SECONDS = 30, 10
_GATHER_SECONDS = 1.5
# How long a store that failed is left alone.
_PAUSE_SECONDS = 5


class LiveView:
    """Logs epochs from a thread of its own, so that training never waits for MLflow.

    A store that is gone gets what it missed once it is back. Where the block ends with an error,
    the runs are marked as broken off: a training that goes on with them takes them up again.
    """

    def __init__(self, experiment: str, manifest: Manifest, lineage: Lineage) -> None:
        """Nothing is opened before the first epoch."""
        self._experiment, self._manifest, self._lineage = experiment, manifest, lineage
        self._began: dict[int, float | None] = {}
        self._told: queue.SimpleQueue[EpochScores | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._show, name="live view", daemon=True)
        self._broken_off: Literal["KILLED", "FAILED"] | None = None
        self._warned = False

    def begin(self, seed: int, at: float | None) -> None:
        """Notes when a run began, in seconds since 1970, if that is known."""
        self._began[seed] = at

    def tell(self, scores: EpochScores) -> None:
        """Hands over one epoch, which may have been told before; returns at once."""
        self._told.put(scores)

    def __enter__(self) -> Self:
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits until all that was told is shown, but not for ever."""
        if error is not None:
            asked_to = isinstance(error, (InterruptedTrainingError, SystemExit))
            self._broken_off = "KILLED" if asked_to else "FAILED"
        self._told.put(None)
        self._thread.join(_BROKEN_OFF_SECONDS if self._broken_off else _LAST_WORDS_SECONDS)
        if self._thread.is_alive():
            self._warn("it does not answer")

    def _show(self) -> None:
        told: dict[int, list[EpochScores]] = {}
        store: Store | None = None
        runs: dict[int, Run] = {}
        ended = False
        while not ended:
            failed = store is None and bool(told)
            news, ended = self._news(_PAUSE_SECONDS if failed else _GATHER_SECONDS)
            for seed, epochs in news.items():
                told.setdefault(seed, []).extend(epochs)
            if not told:
                return
            # MLflow takes seconds to import: here they pass while others train.
            from pipeline.tracking.experiment_pages import of_runs
            from pipeline.tracking.store import TRACKING_ERRORS, Store

            try:
                if store is None:
                    # Whatever failed, a run that was deleted for one: what is there is not known.
                    store, runs, news = Store(self._experiment, of_runs), {}, told
                self._log(store, runs, news)
                if ended and self._broken_off:
                    for run in runs.values():
                        store.break_off(run, self._broken_off)
            except TRACKING_ERRORS as error:
                self._warn(one_line(error))
                store = None

    def _log(self, store: Store, runs: dict[int, Run], news: dict[int, list[EpochScores]]) -> None:
        """Adds epochs to their runs; opens those that are not among `runs`, and puts them there."""
        from pipeline.tracking.records import epoch_points, run_record
        from pipeline.tracking.store import is_finished

        for seed, epochs in news.items():
            if seed not in runs:
                lineage = replace(self._lineage, started=self._began.get(seed))
                runs[seed] = store.open(run_record(self._manifest, seed, lineage))
            if not is_finished(runs[seed]):
                store.log(runs[seed], [point for at in epochs for point in epoch_points(at)])

    def _news(self, seconds: float) -> tuple[dict[int, list[EpochScores]], bool]:
        """Waits for an epoch, and gathers those after it for a while.

        To MLflow it matters how often something is logged, not how much.

        Returns:
            Epochs by seed, and whether they are the last.
        """
        news: dict[int, list[EpochScores]] = {}
        scores = self._told.get()
        until = time.monotonic() + seconds
        while scores is not None:
            news.setdefault(scores.seed, []).append(scores)
            try:
                scores = self._told.get(timeout=max(0, until - time.monotonic()))
            except queue.Empty:
                return news, False
        return news, True

    def _warn(self, why: str) -> None:
        """Says once that the view is behind: it goes on trying, and `track` does not need it."""
        if not self._warned:
            self._warned = True
            logger.warning("no live view in MLflow: %s; the stage `track` will add these runs", why)
