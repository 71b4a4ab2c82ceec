"""Runs in MLflow while they train: a view, and nothing else. What it misses, `track` adds."""

from __future__ import annotations

import logging
import queue
import threading
from types import TracebackType
from typing import TYPE_CHECKING

from pipeline.adapters.runs import Manifest

if TYPE_CHECKING:
    from pipeline.core.replicates import EpochScores

logger = logging.getLogger(__name__)

# How long the end of training waits for what is still to be shown.
_LAST_WORDS_SECONDS = 60


class LiveView:
    """Logs epochs from a thread of its own, so that training never waits for MLflow."""

    def __init__(self, experiment: str, manifest: Manifest) -> None:
        """Nothing is opened before the first epoch."""
        self._experiment, self._manifest = experiment, manifest
        self._told: queue.SimpleQueue[EpochScores | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._show, name="live view", daemon=True)

    def tell(self, scores: EpochScores) -> None:
        """Hands over one epoch; returns at once."""
        self._told.put(scores)

    def __enter__(self) -> LiveView:
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
        self._thread.join(_LAST_WORDS_SECONDS if error is None else 0)

    def _show(self) -> None:
        first = self._told.get()
        if first is None:
            return
        # MLflow takes seconds to import: here they pass while others train.
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        from pipeline.adapters.records import epoch_points, run_record
        from pipeline.adapters.tracking import Store, is_finished

        try:
            store, runs = Store(self._experiment), {}
            for scores in (first, *iter(self._told.get, None)):
                if scores.seed not in runs:
                    runs[scores.seed] = store.open(run_record(self._manifest, scores.seed))
                if not is_finished(runs[scores.seed]):
                    store.log(runs[scores.seed], epoch_points(scores))
        except (MlflowException, SQLAlchemyError, OSError) as error:
            told = " ".join(str(error).split())[:200]
            logger.warning("no live view in MLflow: %s; the stage `track` will add these runs", told)
