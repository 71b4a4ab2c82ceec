"""Ending training between two epochs, where nothing is lost."""

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
    """Notices TERM and INT while its `with` block lasts, and the end of DVC.

    A second signal ends the process at once, which loses the current epochs. The end of DVC matters
    because a killed DVC leaves its stage running, and the next one would start a second process.
    """

    def __init__(self) -> None:
        """Looks up the DVC process that started this one, if any: create it early."""
        self._dvc = dvc_process()
        self._failed = False
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Installs the signal handlers."""
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restores the previous signal handlers.

        Raises:
            InterruptedTrainingError: if a signal came after the last `check`.
        """
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None:
            self.check()

    def fail(self) -> None:
        """Makes every later `check` fail, because other work has failed."""
        self._failed = True

    def check(self) -> None:
        """Returns if training may continue. Callable from any thread.

        Raises:
            InterruptedTrainingError: if it may not continue.
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
