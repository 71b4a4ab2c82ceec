"""The progress of training: a bar on a terminal, elsewhere a line after each quarter of it."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

if TYPE_CHECKING:
    from pipeline.runs.epochs import EpochScores

_LINES = 4


class EpochProgress:
    """Counts the epochs of all seeds of a variant."""

    def __init__(self, label: str, epochs: int) -> None:
        """Expects `epochs` calls of `tell`; there is no bar for none."""
        self._label, self._total, self._done = label, epochs, 0
        self._lock = threading.Lock()
        is_hidden = True if epochs == 0 else None
        self._bar = tqdm(total=epochs, desc=label, unit="epoch", disable=is_hidden)

    def say(self, text: str) -> None:
        """Shows a line of text above the bar."""
        tqdm.write(f"{self._label}: {text}", file=sys.stderr)

    def tell(self, scores: EpochScores) -> None:
        """Counts one more epoch, and shows it, if it is its turn. Callable from any thread."""
        text = (
            f"seed {scores.seed} epoch {scores.epoch}: train loss {scores.train.loss:.4f}, "
            f"validation accuracy {scores.validation.accuracy:.4f}"
        )
        with self._lock:
            self._done += 1
            if self._bar.disable:
                if self._ends_a_part():
                    line = f"{self._label}: {text} ({self._done} of {self._total})"
                    print(line, file=sys.stderr, flush=True)
            else:
                self._bar.set_postfix_str(text, refresh=False)
                self._bar.update()

    def _ends_a_part(self) -> bool:
        parts, before = (_LINES * done // self._total for done in (self._done, self._done - 1))
        # One too many would be a fault, and is not to be hidden.
        return parts > before or self._done > self._total

    def __enter__(self) -> Self:
        """Starts the bar's clock when training starts."""
        self._bar.unpause()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the bar and leaves it on the screen."""
        self._bar.close()
