"""Says which digits images show, by the models of all variants or by the registered one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
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
from pipeline.serving.given_images import GivenImages, shown

# Below this, the second guess is told as well.
_SURE = 0.9


@dataclass(frozen=True, eq=False)
class Reader:
    """A model, what to call it, and where it is from."""

    name: str
    label: str
    source: str
    model: keras.Model

    def probabilities(self, given: GivenImages) -> NDArray[np.float32]:
        """Returns the probability of each digit, [images, digits]; nan if training diverged."""
        images = _examples(given, self.model.input_shape[1:])
        logits = self.model(images, training=False)
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def readers_of_runs(params: Params, seed: int) -> list[Reader]:
    """Returns the models of all variants that were trained with this seed.

    Raises:
        ArgumentError: if a variant has no such seed.
        MissingInputError: if it is not trained.
    """
    for name, variant in params.variants.items():
        if seed >= variant.training.seeds:
            last = variant.training.seeds - 1
            raise ArgumentError(f"{name} has no seed {seed}: its last is {last} (params.yaml)")
    folders = {name: run_folder(name, seed) for name in params.variants}
    return [
        Reader(name, params.variants[name].label, str(folder), read_model(folder))
        for name, folder in folders.items()
    ]


def reader_of_champion(params: Params) -> Reader:
    """Returns the registered model.

    Raises:
        MissingInputError: if there is none.
        PendingError: if MLflow does not answer.
    """
    # MLflow takes three seconds.
    from pipeline.tracking.registry import CHAMPION, Registry

    with Registry(params.tracking.experiment).champion_folder() as (source, folder):
        return Reader(CHAMPION, source, source, read_model(folder))


def run(readers: Sequence[Reader], given: Sequence[GivenImages], *, as_json: bool) -> None:
    """Prints digit and confidence of each image, by each reader.

    Raises:
        DataError: if all readers diverged in training, or the images are not as they take them.
    """
    found = [{one.name: one.probabilities(file) for one in readers} for file in given]
    if not any(_is_known(one) for each in found for one in each.values()):
        sources = " and ".join(one.source for one in readers)
        raise DataError(f"{sources}: training diverged, they tell nothing; name another --seed")
    print(_json(readers, given, found) if as_json else _text(readers, given, found), end="")


def _examples(given: GivenImages, shape: tuple[int, int]) -> NDArray[np.uint8]:
    if given.drawn:
        return np.stack([as_example(picture, shape) for picture in given.images])
    if given.images.shape[1:] != shape:
        has, takes = (" by ".join(map(str, one)) for one in (given.images.shape[1:], shape))
        raise DataError(
            f"{shown(given.path)} has images of {has} pixels, the model takes {takes}: "
            "give another file, or single pictures, which are scaled"
        )
    return given.images


_Found = dict[str, NDArray[np.float32]]


def _text(readers: Sequence[Reader], given: Sequence[GivenImages], found: Sequence[_Found]) -> str:
    rows = [
        [name, *(_guess(each[reader.name][place]) for reader in readers)]
        for file, each in zip(given, found, strict=True)
        for place, name in enumerate(file.names)
    ]
    page: list[pages.Block] = [pages.Table(["image", *(one.label for one in readers)], rows)]
    page += [
        pages.Paragraph(f"{shown(file.path)}: {file.left_out:,} more left out; --first shows them.")
        for file in given
        if file.left_out
    ]
    return pages.text(page)


def _is_known(probabilities: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(probabilities).all())


def _guess(probabilities: NDArray[np.float32]) -> str:
    if not _is_known(probabilities):
        return "diverged"
    second, first = (int(digit) for digit in np.argsort(probabilities, kind="stable")[-2:])
    told = f"{first}  {_percent(probabilities[first])}"
    if probabilities[first] < _SURE:
        told += f", or {second}  {_percent(probabilities[second])}"
    return told


def _percent(probability: float) -> str:
    told = f"{100 * probability:.1f}"
    # No model is certain; it is float32 that has no more digits.
    return ">99.9 %" if told == "100.0" else f"{told} %"


def _json(readers: Sequence[Reader], given: Sequence[GivenImages], found: Sequence[_Found]) -> str:
    whole = {
        "models": {one.name: {"label": one.label, "from": one.source} for one in readers},
        "images": [
            one for file, each in zip(given, found, strict=True) for one in _records(file, each)
        ],
        "left_out": {str(file.path): file.left_out for file in given if file.left_out},
    }
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"


def _records(file: GivenImages, found: _Found) -> Iterator[dict[str, Any]]:
    for place in range(len(file.images)):
        yield {
            "file": str(file.path),
            "place": None if file.drawn else place,
            "predictions": {name: _record(each[place]) for name, each in found.items()},
        }


def _record(probabilities: NDArray[np.float32]) -> dict[str, Any] | None:
    if not _is_known(probabilities):
        return None
    digit = int(probabilities.argmax())
    return {
        "digit": digit,
        "confidence": float(probabilities[digit]),
        "probabilities": [float(one) for one in probabilities],
    }
