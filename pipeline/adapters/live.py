"""Runs in MLflow while they train: a view, and nothing else. What it misses, `track` adds."""

from __future__ import annotations

import logging
import queue
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.adapters.lineage import Lineage
from pipeline.adapters.runs import Manifest
from pipeline.errors import one_line

if TYPE_CHECKING:
    from pipeline.core.replicates import EpochScores

logger = logging.getLogger(__name__)

# How long the end of training waits for what is still to be shown.
_LAST_WORDS_SECONDS = 30
_WILL_BE_ADDED = "the stage `track` will add these runs"
_GATHER_SECONDS = 1.5


class LiveView:
    """Logs epochs from a thread of its own, so that training never waits for MLflow."""

    def __init__(self, experiment: str, manifest: Manifest, lineage: Lineage) -> None:
        """Nothing is opened before the first epoch."""
        self._experiment, self._manifest, self._lineage = experiment, manifest, lineage
        self._told: queue.SimpleQueue[EpochScores | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._show, name="live view", daemon=True)

    def tell(self, scores: EpochScores) -> None:
        """Hands over one epoch; returns at once."""
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
        self._told.put(None)
        if error is None:
            self._thread.join(_LAST_WORDS_SECONDS)
            if self._thread.is_alive():
                logger.warning("no live view in MLflow: it does not answer; %s", _WILL_BE_ADDED)

    def _show(self) -> None:
        news = self._news()
        if not news:
            return
        # MLflow takes seconds to import: here they pass while others train.
        from pipeline.adapters.records import epoch_points, run_record
        from pipeline.adapters.tracking import TRACKING_ERRORS, Store, is_finished

        try:
            store, runs = Store(self._experiment), {}
            while news:
                for seed, epochs in news.items():
                    if seed not in runs:
                        runs[seed] = store.open(run_record(self._manifest, seed, self._lineage))
                    if not is_finished(runs[seed]):
                        points = [point for scores in epochs for point in epoch_points(scores)]
                        store.log(runs[seed], points)
                news = self._news()
        except TRACKING_ERRORS as error:
            logger.warning("no live view in MLflow: %s; %s", one_line(error), _WILL_BE_ADDED)

    def _news(self) -> dict[int, list[EpochScores]]:
        """Waits for an epoch, gathers those after it for a while; empty when all has been told.

        To MLflow it matters how often something is logged, not how much.
        """
        news: dict[int, list[EpochScores]] = {}
        scores = self._told.get()
        until = time.monotonic() + _GATHER_SECONDS
        while scores is not None:
            news.setdefault(scores.seed, []).append(scores)
            try:
                scores = self._told.get(timeout=max(0, until - time.monotonic()))
            except queue.Empty:
                return news
        # What comes after the end is nothing: leave a mark for the next call.
        self._told.put(None)
        return news
