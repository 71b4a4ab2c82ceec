"""What training and evaluation leave for the stages after them: tables, manifests, predictions."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.adapters.files import (
    damaged,
    missing,
    read_arrays,
    replacing,
    write_arrays,
    write_text,
)

if TYPE_CHECKING:
    from pipeline.core.replicates import EpochScores

RUNS = Path("runs")
EVALUATION = Path("evaluation")
CURVES = Path("reports/curves")
# Readers take another root where the files of another commit lie.
_HERE = Path()
# The two files of a model, in a run's folder.
ARCHITECTURE, WEIGHTS = "model.json", "model.weights.h5"


@dataclass(frozen=True)
class Manifest:
    """From what a variant's runs were made; with the same packages they come out the same.

    Attributes:
        variant: its name in params.yaml.
        parameters: its normalisation, network and training, overrides applied.
        seeds: of its runs.
        data_sha256: of the prepared data.
        code_sha256: of the modules that training depends on.
    """

    variant: str
    parameters: dict[str, Any]
    seeds: tuple[int, ...]
    data_sha256: str
    code_sha256: str

    def fingerprint(self, seed: int) -> str:
        """Returns what tells one run from another, whatever other seeds were trained beside it."""
        inputs = asdict(self) | {"seeds": seed}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def fingerprints(self) -> dict[str, int]:
        """Returns the seed of each of its runs, by fingerprint."""
        return {self.fingerprint(seed): seed for seed in self.seeds}

    def settings_sha256(self) -> str:
        """Returns what tells the variant, as it is set, from others, whatever its seeds."""
        return hashlib.sha256(replace(self, seeds=()).to_json().encode()).hexdigest()

    def only(self, seed: int) -> Manifest:
        """Returns the manifest of one of its runs."""
        return replace(self, seeds=(seed,))

    def to_json(self) -> str:
        """Returns it as a file has it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: object) -> Manifest:
        """Returns what `to_json` gave; `source` is named where it did not.

        Raises:
            DataError: if it is no manifest.
        """
        try:
            values = json.loads(text)
            seeds = tuple(values.pop("seeds"))
            return cls(seeds=seeds, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise damaged(source, error) from None


@dataclass(frozen=True, eq=False)
class Predictions:
    """What each run made of each test image.

    Attributes:
        predicted: [runs, images], the most probable class.
        confidence: [runs, images], its probability.
    """

    predicted: NDArray[np.uint8]
    confidence: NDArray[np.float32]


def run_folder(variant: str, seed: int) -> Path:
    """Returns where a run's model lies."""
    return RUNS / variant / f"seed-{seed:02d}"


def write_history(variant: str, scores: Iterable[EpochScores]) -> None:
    """Writes `history.csv`, a row for each seed, epoch and split."""
    _write_table(RUNS / variant / "history.csv", history_table(scores))


def history_table(scores: Iterable[EpochScores]) -> pd.DataFrame:
    """Returns the columns `seed, epoch, split, loss, accuracy`."""
    rows = [
        {"seed": at.seed, "epoch": at.epoch, "split": split, **asdict(getattr(at, split))}
        for at in scores
        for split in ("train", "validation")
    ]
    return pd.DataFrame(rows)


def read_history(variant: str, root: Path = _HERE) -> pd.DataFrame:
    """Returns the columns `seed, epoch, split, loss, accuracy`."""
    columns = ("seed", "epoch", "split", "loss", "accuracy")
    return _read_table(root / RUNS / variant / "history.csv", columns)


def write_curves(histories: Mapping[str, pd.DataFrame]) -> None:
    """Writes the means over seeds by epoch, a file a split, for `dvc plots`.

    Args:
        histories: what `read_history` gives, by the variant's label.
    """
    means = pd.concat(
        history.groupby(["split", "epoch"], as_index=False)[["loss", "accuracy"]]
        .mean()
        .assign(variant=label)
        for label, history in histories.items()
    ).round(6)
    for split, table in means.groupby("split"):
        columns = ["variant", "epoch", "loss", "accuracy"]
        _write_table(CURVES / f"{split}.csv", table[columns])


def write_manifest(manifest: Manifest) -> None:
    """Writes `manifest.json` into the variant's folder."""
    write_text(RUNS / manifest.variant / "manifest.json", manifest.to_json())


def read_manifest(variant: str, root: Path = _HERE) -> Manifest:
    """Returns what `write_manifest` wrote."""
    path = root / RUNS / variant / "manifest.json"
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, error) from None


def trained_variants() -> list[str]:
    """Returns the variants that have a manifest, in params.yaml or not."""
    return sorted(path.parent.name for path in RUNS.glob("*/manifest.json"))


def write_test_scores(variant: str, scores: pd.DataFrame) -> None:
    """Writes `test.csv`, a row a seed: loss, accuracy, calibration, recall of each class."""
    _write_table(EVALUATION / variant / "test.csv", scores)


def read_test_scores(variant: str, root: Path = _HERE) -> pd.DataFrame:
    """Returns what `write_test_scores` wrote."""
    columns = ("seed", "loss", "accuracy", "expected_calibration_error")
    return _read_table(root / EVALUATION / variant / "test.csv", columns)


def write_predictions(variant: str, predictions: Predictions) -> None:
    """Writes `predictions.npz`."""
    write_arrays(EVALUATION / variant / "predictions.npz", vars(predictions))


def read_predictions(variant: str, root: Path = _HERE) -> Predictions:
    """Returns what `write_predictions` wrote."""
    path = root / EVALUATION / variant / "predictions.npz"
    return Predictions(**read_arrays(path, ("predicted", "confidence")))


def remove(variant: str) -> None:
    """Removes all runs of a variant, so that none is left of more seeds than there are now."""
    shutil.rmtree(RUNS / variant, ignore_errors=True)


def remove_undeclared(variants: Collection[str]) -> None:
    """Removes the runs of variants that params.yaml no longer has.

    DVC leaves the outputs of a stage that is gone; they would change the hash of `runs`, on which
    later stages depend. They stay in DVC's cache.
    """
    for folder in RUNS.glob("*/"):
        if folder.name not in variants:
            remove(folder.name)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, error) from None
    if absent := set(columns) - set(table.columns):
        raise damaged(path, f"it has no column {min(absent)}")
    return table
