"""Models on disk, as architecture (JSON) and weights (HDF5): the same bytes for the same model.

Keras' one-file formats carry dates and random names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.adapters.files import replacing, write_text
from pipeline.adapters.runs import ARCHITECTURE, WEIGHTS
from pipeline.errors import DataError, MissingInputError


def write_model(folder: Path, architecture: str, weights: Sequence[NDArray[np.float32]]) -> None:
    """Writes a model, given as `model.to_json()` and `model.get_weights()`."""
    model = keras.models.model_from_json(architecture)
    model.set_weights(weights)
    write_text(folder / ARCHITECTURE, architecture + "\n")
    with replacing(folder / WEIGHTS) as temporary:
        model.save_weights(temporary)


def read_model(folder: Path) -> keras.Model:
    """Returns the model that `write_model` wrote."""
    path = folder / ARCHITECTURE
    try:
        model = keras.models.model_from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingInputError(f"{path} is not here: `dvc repro` makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} describes no model: {error}") from None
    read_weights(model, folder)
    return model


def read_weights(model: keras.Model, folder: Path) -> None:
    """Gives `model` the weights of another of the same architecture."""
    path = folder / WEIGHTS
    try:
        model.load_weights(path)
    except FileNotFoundError:
        raise MissingInputError(f"{path} is not here: `dvc repro` makes it") from None
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} holds no weights for its model: {error}") from None
