"""Predicts the digits in images, by the models of all variants or by the registered model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArgumentError, DataError
from pipeline.params import Params
from pipeline.reporting import pages
from pipeline.runs.models import read_model
from pipeline.runs.tables import run_folder
from pipeline.serving.drawings import as_example
from pipeline.serving.given_images import GivenImages, printable_path

# Below this confidence, the second guess is shown as well.
_SURE = 0.9


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model with its name.

    Attributes:
        name: in JSON.
        label: for people.
        source: where it was read from.
        model: gives logits [images, digits].
    """

    name: str
    label: str
    source: str
    model: keras.Model

    def probabilities(self, given: GivenImages) -> NDArray[np.float32]:
        """Returns the probability of each digit, [images, digits]; nan if training diverged."""
        images = _examples(given, self.model.input_shape[1:])
        logits = self.model(images, training=False)
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


# The probabilities [images, digits] of one file, by the name of the predictor.
_Predictions = dict[str, NDArray[np.float32]]


def predictors_of_runs(params: Params, seed: int) -> list[Predictor]:
    """Returns the models of all variants that were trained with this seed.

    Raises:
        ArgumentError: if a variant has no such seed.
        MissingInputError: if one is not trained yet.
    """
    for name, variant in params.variants.items():
        if seed >= variant.training.seeds:
            last = variant.training.seeds - 1
            raise ArgumentError(f"{name} has no seed {seed}: its last is {last} (params.yaml)")
    folders = {name: run_folder(name, seed) for name in params.variants}
    return [
        Predictor(name, params.variants[name].label, str(folder), read_model(folder))
        for name, folder in folders.items()
    ]


def champion_predictor(params: Params) -> Predictor:
    """Returns the registered model.

    Raises:
        MissingInputError: if there is none.
        PendingError: if MLflow does not answer.
    """
    # MLflow takes three seconds to import.
    from pipeline.tracking.registry import CHAMPION, Registry

    with Registry(params.tracking.experiment).champion_folder() as (source, folder):
        return Predictor(CHAMPION, source, source, read_model(folder))


def run(predictors: Sequence[Predictor], given: Sequence[GivenImages], *, as_json: bool) -> None:
    """Prints the digit that each predictor sees in each image, and its confidence.

    Raises:
        DataError: if all predictors diverged in training, or cannot take images of this size.
    """
    predictions = [{one.name: one.probabilities(file) for one in predictors} for file in given]
    if not any(_is_finite(array) for of_file in predictions for array in of_file.values()):
        sources = " and ".join(predictor.source for predictor in predictors)
        raise DataError(
            f"nothing can be predicted: training diverged in {sources}; choose another --seed"
        )
    print((_json if as_json else _text)(predictors, given, predictions), end="")


def _examples(given: GivenImages, shape: tuple[int, int]) -> NDArray[np.uint8]:
    if given.is_picture:
        return np.stack([as_example(picture, shape) for picture in given.images])
    if given.images.shape[1:] != shape:
        has, takes = (" by ".join(map(str, sides)) for sides in (given.images.shape[1:], shape))
        raise DataError(
            f"{printable_path(given.path)} has images of {has} pixels, the model takes {takes}: "
            "give another file, or single pictures, which are scaled"
        )
    return given.images


def _text(
    predictors: Sequence[Predictor],
    given: Sequence[GivenImages],
    predictions: Sequence[_Predictions],
) -> str:
    rows = [
        [name, *(_guess(of_file[predictor.name][i]) for predictor in predictors)]
        for file, of_file in zip(given, predictions, strict=True)
        for i, name in enumerate(file.names)
    ]
    head = ["image", *(predictor.label for predictor in predictors)]
    page: list[pages.Block] = [pages.Table(head, rows)]
    page += [
        pages.Paragraph(
            f"{printable_path(file.path)}: {file.left_out:,} more left out; --first shows them."
        )
        for file in given
        if file.left_out
    ]
    return pages.text(page)


def _is_finite(probabilities: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(probabilities).all())


def _guess(probabilities: NDArray[np.float32]) -> str:
    if not _is_finite(probabilities):
        return "diverged"
    second, first = (int(digit) for digit in np.argsort(probabilities, kind="stable")[-2:])
    guess = f"{first}  {_percent(probabilities[first])}"
    if probabilities[first] < _SURE:
        guess += f", or {second}  {_percent(probabilities[second])}"
    return guess


def _percent(probability: float) -> str:
    percent = f"{100 * probability:.1f}"
    # No model is certain; float32 just has no more digits.
    return ">99.9 %" if percent == "100.0" else f"{percent} %"


def _json(
    predictors: Sequence[Predictor],
    given: Sequence[GivenImages],
    predictions: Sequence[_Predictions],
) -> str:
    record = {
        "models": {one.name: {"label": one.label, "from": one.source} for one in predictors},
        "images": [
            {
                "file": str(file.path),
                "place": None if file.is_picture else i,
                "predictions": {name: _record(array[i]) for name, array in of_file.items()},
            }
            for file, of_file in zip(given, predictions, strict=True)
            for i in range(len(file.images))
        ],
        "left_out": {str(file.path): file.left_out for file in given if file.left_out},
    }
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def _record(probabilities: NDArray[np.float32]) -> dict[str, Any] | None:
    if not _is_finite(probabilities):
        return None
    digit = int(probabilities.argmax())
    return {
        "digit": digit,
        "confidence": float(probabilities[digit]),
        "probabilities": [float(probability) for probability in probabilities],
    }
