"""The model as MLflow serves it: MLflow copies this file next to the weights and runs it there.

It stands alone: it can be loaded where the rest of this project is not installed.
"""

import os
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import set_model

# Imported where `mlflow models serve` runs the model. Elsewhere printing is not this file's affair.
_SERVER = "mlflow.pyfunc.scoring_server.app"


class Classifier(mlflow.pyfunc.PythonModel):
    """Raw inputs to probabilities [examples, classes].

    Inputs are images [examples, height, width] or [examples, height, width, channels], uint8, or a
    table with a column for each feature, by name.
    """

    def load_context(self, context: Any) -> None:
        """Builds the network and loads its weights."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras

        if _SERVER in sys.modules:
            _print_little()
        architecture = Path(context.artifacts["model.json"]).read_text(encoding="utf-8")
        self._model = keras.models.model_from_json(architecture)
        self._model.load_weights(context.artifacts["model.weights.h5"])

    # An array is the one annotation that MLflow does not try to derive a schema from.
    def predict(  # pyrefly: ignore[bad-override]
        self,
        context: Any,  # noqa: ARG002
        model_input: np.ndarray,
        params: Any = None,  # noqa: ARG002
    ) -> np.ndarray:
        """Returns the probability of each class."""
        import keras

        inputs = np.asarray(model_input, self._model.inputs[0].dtype)
        logits = self._model(inputs, training=False)
        return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def _print_little() -> None:
    """Has NumPy and pandas print no more than the corners of what they hold.

    MLflow refuses inputs of another shape before they come here, and begins its answer with all of
    them, twice. What it expected and what it got stands at the end.
    """
    np.set_printoptions(threshold=0, edgeitems=1)
    pd.set_option("display.max_rows", 1)
    pd.set_option("display.max_columns", 2)


set_model(Classifier())
