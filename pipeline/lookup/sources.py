"""What a name on the command line may stand for, and how its runs are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.cells import Cell
from pipeline.comparison.measures import MEASURES
from pipeline.errors import ArgumentError, MissingInputError
from pipeline.examples.prepared import PREPARED_FILE
from pipeline.files import read_arrays, sha256

if TYPE_CHECKING:
    from pipeline.tracking.recorded import RecordedRun


@dataclass(frozen=True)
class Source:
    """What a name stands for.

    Attributes:
        name: as it was typed.
        description: what it turned out to be, as in `DVC experiment wide, commit 1234567`.
        variants: names of the variants that it has.
        whole: whether it stands for all of them, as a commit does.
        read: returns the cell of one of its variants.
    """

    name: str
    description: str
    variants: tuple[str, ...]
    whole: bool
    read: Callable[[str], Cell]

    def only(self, variant: str) -> Source:
        """Returns one variant of this source.

        Raises:
            ArgumentError: if it has no such variant.
        """
        if variant not in self.variants:
            variants = ", ".join(self.variants)
            raise ArgumentError(f"{self.name!r} has no variant {variant!r}; it has {variants}")
        name = f"{self.name}:{variant}"
        return Source(
            name, f"variant of {self.description}", (variant,), whole=False, read=self.read
        )


def cell_of_run(run: RecordedRun) -> Cell:
    """Returns a run that MLflow has as a cell of one seed.

    Raises:
        MissingInputError: if it has no test scores yet.
    """
    manifest = run.manifest
    if "accuracy" not in run.test:
        raise MissingInputError(f"the MLflow run {run.name} has no test scores yet")
    # MLflow stores no nan, so a score that was nan is missing, unless an older version left it out.
    # Infinity becomes nan here, because it has no difference from itself.
    known = MEASURES if "epoch" in run.test else ("loss",)
    row = {"seed": manifest.seeds[0]} | dict.fromkeys(known, np.nan) | run.test
    return Cell(
        variant=manifest.variant,
        label=run.name,
        origin=f"run {run.id[:8]}",
        parameters=manifest.parameters,
        data_sha256=manifest.data_sha256,
        code_sha256=manifest.code_sha256,
        history=run.history,
        scores=pd.DataFrame([row]).replace([np.inf, -np.inf], np.nan),
        predicted=np.empty((1, 0), np.uint8),
    )


def true_labels(data_sha256: str) -> NDArray[np.uint8] | None:
    """Returns the true classes of the test images, or None if other data are prepared here."""
    if not PREPARED_FILE.is_file() or sha256(PREPARED_FILE) != data_sha256:
        return None
    return read_arrays(PREPARED_FILE, ["test_labels"])["test_labels"]
