"""Predicts the classes of examples, by the models of all variants or by the registered model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.picture_file import printable_path
from pipeline.errors import ArgumentError, DataError, PendingError, one_line
from pipeline.examples.dataset import Dataset
from pipeline.examples.prepared import PREPARED_FILE
from pipeline.files import sha256
from pipeline.params import Params
from pipeline.reporting import pages
from pipeline.runs.manifest import read_manifest
from pipeline.runs.models import read_model
from pipeline.runs.tables import run_folder
from pipeline.serving.given import Given
from pipeline.serving.given_rows import listed
from pipeline.serving.likeness import RARE, Likeness
from pipeline.tracking.trained_on import TrainedOn

# Below this confidence, the second guess is shown as well.
_SURE = 0.9
_DIGITS = tuple("0123456789")
# From black to white.
_SHADES = " .:-=+*#%@"


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model with its name.

    Attributes:
        name: in JSON.
        label: for people.
        source: where it was read from.
        model: gives logits [examples, classes].
    """

    name: str
    label: str
    source: str
    model: keras.Model

    def probabilities(self, given: Given) -> NDArray[np.float32]:
        """Returns the probability of each class, [examples, classes]; nan if training diverged."""
        logits = self.model(given.inputs, training=False)
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


# The probabilities [examples, classes] of one file, by the name of the predictor.
_Predictions = dict[str, NDArray[np.float32]]
# For the images of each file, the share of test images that are less like the training images.
_Likeness = Mapping[Path, NDArray[np.float64]]


def predictors_of_runs(params: Params, seed: int) -> list[Predictor]:
    """Returns the models of all variants that were trained with this seed.

    Raises:
        ArgumentError: if a variant has no such seed.
        MissingInputError: if one is not trained yet.
        PendingError: if one was trained on other data than are prepared now.
    """
    for name, variant in params.variants.items():
        if seed >= variant.training.seeds:
            last = variant.training.seeds - 1
            raise ArgumentError(f"{name} has no seed {seed}: its last is {last} (params.yaml)")
    prepared = sha256(PREPARED_FILE)
    for name in params.variants:
        if read_manifest(name).data_sha256 != prepared:
            raise PendingError(
                f"{name} was trained on other data than {PREPARED_FILE} holds: `dvc repro` trains "
                "it again"
            )
    folders = {name: run_folder(name, seed) for name in params.variants}
    return [
        Predictor(name, params.variants[name].label, str(folder), read_model(folder))
        for name, folder in folders.items()
    ]


def champion_predictor(source: str, folder: Path) -> Predictor:
    """Returns the registered model, which is in this folder."""
    return Predictor("champion", source, source, read_model(folder))


def run(  # noqa: PLR0913
    predictors: Sequence[Predictor],
    data: TrainedOn,
    given: Sequence[Given],
    dataset: Dataset | None,
    *,
    show: bool,
    as_json: bool,
) -> None:
    """Prints the class that each predictor takes each example for, and its confidence.

    Names images that are unlike those trained on, if these are here.

    Args:
        predictors: the models.
        data: what they were trained on.
        given: the examples of each file.
        dataset: the prepared data, if they are here.
        show: whether to draw images, too.
        as_json: whether to print one JSON object, instead of text.

    Raises:
        DataError: if all predictors diverged in training.
    """
    predictions = [{one.name: one.probabilities(file) for one in predictors} for file in given]
    if not any(_is_finite(array) for of_file in predictions for array in of_file.values()):
        sources = " and ".join(predictor.source for predictor in predictors)
        raise DataError(
            f"nothing can be predicted: training diverged in {sources}; choose another --seed"
        )
    likeness = _likeness(data, given, dataset)
    print((_json if as_json else _text)(predictors, data, given, predictions, likeness), end="")
    if show and not data.features:
        print("".join(f"\n{name}\n{drawn}\n" for name, drawn in _drawn(given)), end="")


def _likeness(data: TrainedOn, given: Sequence[Given], dataset: Dataset | None) -> _Likeness:
    """Returns what `Likeness` tells of each file's images; nothing of tables, or of other data."""
    if data.features or dataset is None or TrainedOn.of(data.dataset, dataset) != data:
        return {}
    likeness = Likeness(dataset)
    return {file.path: likeness.share_less_alike(file.inputs) for file in given}


def _drawn(given: Sequence[Given]) -> Iterator[tuple[str, str]]:
    """Yields the name of each image, and the image in characters, two to a pixel."""
    for file in given:
        for name, image in zip(file.names, file.inputs, strict=True):
            grey = image.reshape(*image.shape[:2], -1).mean(axis=2)
            levels = (grey / 256 * len(_SHADES)).astype(int)
            yield name, "\n".join("".join(2 * _SHADES[i] for i in row).rstrip() for row in levels)


def _share(share: float) -> str:
    some = f"{100 * share:.1g} % of the test images are"
    return some if share > 0 else "none of the test images is"


def _text(
    predictors: Sequence[Predictor],
    data: TrainedOn,
    given: Sequence[Given],
    predictions: Sequence[_Predictions],
    likeness: _Likeness,
) -> str:
    rows = [
        [name, *(_guess(of_file[predictor.name][i], data.classes) for predictor in predictors)]
        for file, of_file in zip(given, predictions, strict=True)
        for i, name in enumerate(file.names)
    ]
    head = ["row" if data.features else "image", *(predictor.label for predictor in predictors)]
    page: list[pages.Block] = [pages.Table(head, rows)]
    page += [
        pages.Paragraph(
            f"{printable_path(file.path)}: {file.left_out:,} more left out; --first shows them."
        )
        for file in given
        if file.left_out
    ]
    page += [
        pages.Paragraph(
            f"{printable_path(file.path)}: columns that the model does not know are left aside: "
            f"{listed(file.unknown)}."
        )
        for file in given
        if file.unknown
    ]
    page += [
        pages.Paragraph(
            f"{name} is unlike the images trained on: {_share(share)} as unlike them, so do "
            "not rely on the answers."
        )
        for file in given
        if file.path in likeness
        for name, share in zip(file.names, likeness[file.path], strict=True)
        if share < RARE
    ]
    return pages.text(page)


def _is_finite(probabilities: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(probabilities).all())


def _guess(probabilities: NDArray[np.float32], classes: Sequence[str]) -> str:
    if not _is_finite(probabilities):
        return "diverged"
    second, first = np.argsort(probabilities, kind="stable")[-2:]
    told = [f"{one_line(classes[i])}  {_percent(probabilities[i])}" for i in (first, second)]
    return ", or ".join(told if probabilities[first] < _SURE else told[:1])


def _percent(probability: float) -> str:
    percent = f"{100 * probability:.1f}"
    # No model is certain; float32 just has no more digits.
    return ">99.9 %" if percent == "100.0" else f"{percent} %"


def _json(
    predictors: Sequence[Predictor],
    data: TrainedOn,
    given: Sequence[Given],
    predictions: Sequence[_Predictions],
    likeness: _Likeness,
) -> str:
    record = {
        "models": {one.name: {"label": one.label, "from": one.source} for one in predictors},
        "classes": data.classes,
        "rows" if data.features else "images": [
            {
                "file": str(file.path),
                "place": None if file.is_single else i,
                **({"share_less_alike": likeness[file.path][i]} if likeness else {}),
                "predictions": {
                    name: _record(array[i], data.classes) for name, array in of_file.items()
                },
            }
            for file, of_file in zip(given, predictions, strict=True)
            for i in range(len(file.inputs))
        ],
        "left_out": {str(file.path): file.left_out for file in given if file.left_out},
        "unknown": {str(file.path): file.unknown for file in given if file.unknown},
    }
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def _record(probabilities: NDArray[np.float32], classes: Sequence[str]) -> dict[str, Any] | None:
    if not _is_finite(probabilities):
        return None
    place = int(probabilities.argmax())
    # What programs read before there were other classes.
    digit = {"digit": place} if tuple(classes) == _DIGITS else {}
    return {
        "class": classes[place],
        **digit,
        "confidence": float(probabilities[place]),
        "probabilities": [float(probability) for probability in probabilities],
    }
