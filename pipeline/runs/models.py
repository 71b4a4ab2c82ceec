"""Models on disk, as architecture (JSON) and weights (HDF5): the same bytes for the same model.

Keras' single-file formats would not do: they contain dates and random names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError, first_line
from pipeline.files import missing, replacing, write_text
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS


def write_model(folder: Path, architecture: str, weights: Sequence[NDArray[np.float32]]) -> None:
    """Writes a model, given as `model.to_json()` and `model.get_weights()`."""
    model = keras.models.model_from_json(architecture)
    model.set_weights(weights)
    write_text(folder / ARCHITECTURE, architecture + "\n")
    with replacing(folder / WEIGHTS) as temporary:
        model.save_weights(temporary)


def read_model(folder: Path) -> keras.Model:
    """Returns the model that `write_model` wrote.

    Raises:
        MissingInputError: if one of its files is missing.
        DataError: if one of them is damaged.
    """
    path = folder / ARCHITECTURE
    try:
        model = keras.models.model_from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path) from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path} does not describe a model: {first_line(error)}") from None
    if not isinstance(model, keras.Model):
        raise DataError(f"{path} does not describe a model")
    read_weights(model, folder)
    return model


def read_weights(model: keras.Model, folder: Path) -> list[NDArray[np.float32]]:
    """Loads the weights in a folder into `model`, which has their architecture; returns them."""
    path = folder / WEIGHTS
    try:
        model.load_weights(path)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        raise DataError(f"{path} has no weights for its model: {first_line(error)}") from None
    return model.get_weights()
