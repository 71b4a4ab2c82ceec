"""Shows runs in MLflow while they train. A view only: the stage `track` adds what it misses."""

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

# How long training waits at its end for the last epochs to be logged; less if it was interrupted.
_LAST_EPOCHS_SECONDS, _INTERRUPTED_SECONDS = 30, 10
_GATHER_SECONDS = 1.5
# How long to wait before retrying a store that failed.
_PAUSE_SECONDS = 5


class LiveView:
    """Logs epochs from a thread of its own, so that training never waits for MLflow.

    If the store goes away, it gets the epochs it missed once it is back. In the end the runs are
    marked as scheduled for `track`; if the block ends with an error, as interrupted. A training
    that resumes them opens them again.
    """

    def __init__(
        self, experiment: str, manifest: Manifest, lineage: Lineage, color: str | None = None
    ) -> None:
        """Opens nothing: the store is opened at the first epoch.

        Args:
            experiment: MLflow's, by its name.
            manifest: of the runs.
            lineage: of the training.
            color: of the runs in MLflow, as in `#0072B2`; by default MLflow chooses.
        """
        self._experiment, self._manifest, self._lineage = experiment, manifest, lineage
        self._color = color
        self._began: dict[int, float | None] = {}
        self._queue: queue.SimpleQueue[EpochScores | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._show, name="live view", daemon=True)
        # What the runs are left as. Their models and test scores are still to come.
        self._left_as: Literal["SCHEDULED", "KILLED", "FAILED"] = "SCHEDULED"
        self._warned = False

    def begin(self, seed: int, at: float | None) -> None:
        """Notes when a run began, in seconds since 1970; None if unknown."""
        self._began[seed] = at

    def tell(self, scores: EpochScores) -> None:
        """Queues one epoch and returns at once; the same epoch may be passed again."""
        self._queue.put(scores)

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
        """Waits until all queued epochs are logged, but only so long."""
        if error is not None:
            on_request = isinstance(error, (InterruptedTrainingError, SystemExit))
            self._left_as = "KILLED" if on_request else "FAILED"
        self._queue.put(None)
        self._thread.join(_LAST_EPOCHS_SECONDS if error is None else _INTERRUPTED_SECONDS)
        if self._thread.is_alive():
            self._warn("it does not answer")

    def _show(self) -> None:
        so_far: dict[int, list[EpochScores]] = {}
        store: Store | None = None
        runs: dict[int, Run] = {}
        shown: dict[str, str] = {}
        ended = False
        while not ended:
            failed = store is None and bool(so_far)
            news, ended = self._news(_PAUSE_SECONDS if failed else _GATHER_SECONDS)
            for seed, epochs in news.items():
                so_far.setdefault(seed, []).extend(epochs)
            if not so_far:
                return
            # MLflow takes seconds to import. Here they pass while other threads train.
            from pipeline.tracking.cells import cell_tags
            from pipeline.tracking.experiment_pages import COLOR, of_runs
            from pipeline.tracking.store import TRACKING_ERRORS, Store

            try:
                if store is None:
                    # After a failure, such as a deleted run, nothing is known about the store: open
                    # every run again and offer it all epochs so far.
                    store, runs, news = Store(self._experiment, of_runs), {}, so_far
                    shown = cell_tags(store, self._manifest)
                    shown |= {COLOR: self._color} if self._color else {}
                self._log(store, runs, shown, news)
                if ended:
                    for run in runs.values():
                        store.leave(run, self._left_as)
            except TRACKING_ERRORS as error:
                self._warn(one_line(error))
                store = None

    def _log(
        self,
        store: Store,
        runs: dict[int, Run],
        shown: dict[str, str],
        news: dict[int, list[EpochScores]],
    ) -> None:
        """Adds epochs to their runs; opens a run that is not in `runs` yet and puts it there."""
        from pipeline.tracking.records import epoch_points, run_record
        from pipeline.tracking.store import is_finished

        for seed, epochs in news.items():
            if seed not in runs:
                lineage = replace(self._lineage, started=self._began.get(seed))
                runs[seed] = store.open(run_record(self._manifest, seed, lineage, shown=shown))
            if not is_finished(runs[seed]):
                points = [point for scores in epochs for point in epoch_points(scores)]
                store.log(runs[seed], points)

    def _news(self, seconds: float) -> tuple[dict[int, list[EpochScores]], bool]:
        """Waits for an epoch, then gathers more for a while.

        What costs MLflow time is the number of calls, not the number of points.

        Returns:
            The new epochs by seed, and whether they are the last.
        """
        news: dict[int, list[EpochScores]] = {}
        scores = self._queue.get()
        deadline = time.monotonic() + seconds
        while scores is not None:
            news.setdefault(scores.seed, []).append(scores)
            try:
                scores = self._queue.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                return news, False
        return news, True

    def _warn(self, why: str) -> None:
        """Warns once that the view lags behind. It keeps trying, and `track` does not need it."""
        if not self._warned:
            self._warned = True
            logger.warning("no live view in MLflow: %s; the stage `track` will add these runs", why)
