"""What a model was trained on, as it is stored beside the model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import DataError, MissingInputError, one_line
from pipeline.examples.dataset import Dataset
from pipeline.files import read_json

# The name of its file.
TRAINED_ON = "trained_on.json"


@dataclass(frozen=True)
class TrainedOn:
    """What whoever serves a model has to know of its data.

    Attributes:
        dataset: its name in the catalogue, or `file`.
        shape: of an example: [height, width] or [height, width, channels] of an image, uint8, or
            [features], float32.
        classes: the names of the classes, in the order of the model's outputs.
        features: the names of the features; none of images.
    """

    dataset: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    features: tuple[str, ...]

    @classmethod
    def of(cls, name: str, dataset: Dataset) -> TrainedOn:
        """Returns what there is to know of a dataset; `name` is that of the catalogue."""
        return cls(name, dataset.train.inputs.shape[1:], dataset.classes, dataset.features)

    def to_json(self) -> str:
        """Returns the content of its file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def read_trained_on(model: str, folder: Path) -> TrainedOn:
    """Returns what is stored beside a model, which has a name and this folder.

    Raises:
        MissingInputError: if the model was stored without it.
        DataError: if it is damaged.
    """
    path = folder / TRAINED_ON
    if not path.exists():
        raise MissingInputError(
            f"{model} was stored by an earlier version, without the names of its classes: "
            "`dvc repro` and then `python -m pipeline promote` store another"
        )
    try:
        values = read_json(path)
        lists = {name: tuple(values[name]) for name in ("shape", "classes", "features")}
        return TrainedOn(str(values["dataset"]), **lists)
    except (DataError, TypeError, KeyError) as error:
        raise DataError(f"{TRAINED_ON} of {model} is damaged: {one_line(error)}") from None
