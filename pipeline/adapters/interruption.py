"""Ending a training where nothing is lost: between two epochs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import psutil

from pipeline.errors import InterruptedTrainingError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_GOES_ON = "`dvc repro` goes on after the last epoch"


class Interruption:
    """Takes note of TERM and INT while a `with` block lasts, and of the end of DVC.

    A second signal ends the process at once.
    """

    def __init__(self) -> None:
        """Notes the DVC process that started this one, if one did."""
        self._dvc = _dvc()
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
        """Leaves signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Returns if work may go on; may be called from any thread.

        Raises:
            InterruptedTrainingError: if it may not.
        """
        if self._signal is not None:
            name = signal.Signals(self._signal).name
            raise InterruptedTrainingError(f"ended by {name}; {_GOES_ON}", self._signal)
        if self._dvc and not _lives(self._dvc):
            message = f"DVC, which started this, is gone; {_GOES_ON}"
            raise InterruptedTrainingError(message, signal.SIGTERM)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None:
            raise SystemExit(128 + number)
        self._signal = number


def _dvc() -> psutil.Process | None:
    """Returns the process of DVC that runs this one as a stage.

    DVC that is killed leaves its stage running, and the next DVC would start a second one.
    """
    if "DVC_STAGE" not in os.environ:
        return None
    for process in psutil.Process().parents():
        try:
            if any(Path(part).name == "dvc" for part in process.cmdline()):
                return process
        except psutil.Error:
            continue
    return None


def _lives(process: psutil.Process) -> bool:
    try:
        # One that nobody has waited for yet still has its number.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
