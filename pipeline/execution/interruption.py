"""Ending a training where nothing is lost: between two epochs."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

import psutil

from pipeline.errors import InterruptedTrainingError
from pipeline.execution.under_dvc import dvc_process

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_GOES_ON = "what was done is kept, and the same command goes on from there"
_SAYS = b"ending after this epoch; once more ends it at once\n"


class Interruption:
    """Takes note of TERM and INT while a `with` block lasts, and of the end of DVC.

    A second signal ends the process at once, which loses the epochs under way. DVC that is killed
    leaves its stage running, and the next DVC would start a second one.
    """

    def __init__(self) -> None:
        """Notes the DVC process that started this one, if one did: to be called early."""
        self._dvc = dvc_process()
        self._failed = False
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Begins to listen."""
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves signals to whoever had them before.

        Raises:
            InterruptedTrainingError: for one that came after the last `check`.
        """
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None:
            self.check()

    def fail(self) -> None:
        """Has all work end, because some of it failed."""
        self._failed = True

    def check(self) -> None:
        """Returns if work may go on; may be called from any thread.

        Raises:
            InterruptedTrainingError: if it may not.
        """
        if self._failed:
            raise InterruptedTrainingError("other work failed", signal.SIGTERM)
        if self._signal is not None:
            name = signal.Signals(self._signal).name
            raise InterruptedTrainingError(f"ended by {name}; {_GOES_ON}", self._signal)
        if self._dvc and not _lives(self._dvc):
            message = f"DVC, which started this, is gone; {_GOES_ON}"
            raise InterruptedTrainingError(message, signal.SIGTERM)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None:
            # Threads that are at work would be waited for; files are whole or not there.
            os._exit(128 + number)
        self._signal = number
        with suppress(OSError):
            os.write(2, _SAYS)


def _lives(process: psutil.Process) -> bool:
    try:
        # One that nobody has waited for yet still has its number.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
