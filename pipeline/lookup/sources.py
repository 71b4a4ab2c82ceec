"""What a name on the command line may stand for, and how its runs are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.contrast import Side
from pipeline.comparison.results import VariantResults
from pipeline.errors import ArgumentError, MissingInputError
from pipeline.evaluation.test_scores import EVALUATION, read_predictions, read_test_scores
from pipeline.examples.prepared import PREPARED_FILE
from pipeline.files import damaged, read_arrays, sha256
from pipeline.runs.manifest import read_manifest
from pipeline.runs.tables import read_history

if TYPE_CHECKING:
    from pipeline.tracking.recorded import RecordedRun

# A figure gives each its own.
_NO_COLOR = "black"


@dataclass(frozen=True)
class Source:
    """What a name stands for.

    Attributes:
        name: as it was typed.
        told: what it was found to be.
        variants: names of those that it has.
        whole: whether it stands for all of them, as a commit does.
        read: gives the runs of one of them.
    """

    name: str
    told: str
    variants: tuple[str, ...]
    whole: bool
    read: Callable[[str], Side]

    def only(self, variant: str, told: str) -> Source:
        """Returns one variant of this source.

        Raises:
            ArgumentError: if it has no such variant.
        """
        if variant not in self.variants:
            known = ", ".join(self.variants)
            raise ArgumentError(f"{self.name!r} has no variant {variant!r}; it has {known}")
        return Source(f"{self.name}:{variant}", told, (variant,), whole=False, read=self.read)


def side_of_files(variant: str, label: str, origin: str, root: Path) -> Side:
    """Returns the runs whose files lie below `root` as the stages leave them."""
    manifest = read_manifest(variant, root)
    scores = read_test_scores(variant, root)
    results = VariantResults(
        label=label,
        color=_NO_COLOR,
        parameters=manifest.parameters,
        history=read_history(variant, root),
        scores=_finite(scores),
        predicted=_predicted(variant, len(scores), root),
    )
    return Side(results, variant, origin, manifest.data_sha256, manifest.code_sha256)


def side_of_run(run: RecordedRun) -> Side:
    """Returns a run as MLflow has it."""
    manifest = run.manifest
    if "accuracy" not in run.test:
        raise MissingInputError(f"the MLflow run {run.name} has no test scores yet")
    # MLflow holds no loss that is nan.
    row = {"seed": manifest.seeds[0], "loss": np.nan} | run.test
    results = VariantResults(
        label=run.name,
        color=_NO_COLOR,
        parameters=manifest.parameters,
        history=run.history,
        scores=_finite(pd.DataFrame([row])),
        predicted=np.empty((1, 0), np.uint8),
    )
    origin = f"run {run.id[:8]}"
    return Side(results, manifest.variant, origin, manifest.data_sha256, manifest.code_sha256)


def true_labels(data_sha256: str) -> NDArray[np.uint8] | None:
    """Returns the true classes of the test images, if the prepared data here are these."""
    if not PREPARED_FILE.is_file() or sha256(PREPARED_FILE) != data_sha256:
        return None
    return read_arrays(PREPARED_FILE, ["test_labels"])["test_labels"]


def _finite(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns the scores with nan for infinity, which has no difference from itself."""
    return scores.replace([np.inf, -np.inf], np.nan)


def _predicted(variant: str, count: int, root: Path) -> NDArray[np.uint8]:
    """Returns what each run predicted; of no images where that was not kept."""
    try:
        predicted = read_predictions(variant, root).predicted
    except MissingInputError:
        return np.empty((count, 0), np.uint8)
    if len(predicted) != count:
        path = root / EVALUATION / variant / "predictions.npz"
        raise damaged(path, f"it has {len(predicted)} runs, test.csv {count}")
    return predicted
