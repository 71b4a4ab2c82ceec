"""Results that others published, to show beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOTEBOOK_DATASET = "mnist"
_NETWORK_AND_TRAINING = {
    "network": {"code": "networks/dense.py", "hidden_dims": [32, 32], "activation": "relu"},
    "training": {
        "epochs": 10,
        "batch_size": 32,
        "optimizer": {"name": "adam", "learning_rate": 0.01, "epsilon": 1e-8},
    },
}
# TensorFlow 1's defaults: the notebook says nothing about these.
_BATCH_NORM = {"momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}


@dataclass(frozen=True, eq=False)
class PublishedCurve:
    """The single run that the notebook shows for a variant; curves are by epoch, from 0.

    `parameters` are in the shape of params.yaml; test scores were taken after the last epoch.
    """

    parameters: Mapping[str, Any]
    train_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    test_accuracy: float
    test_loss: float


NOTEBOOK = (
    PublishedCurve(
        {"normalization": "batch", **_BATCH_NORM, **_NETWORK_AND_TRAINING},
        (.18456, .10349, .11239, .07526, .07339, .08164, .05879, .05014, .04956, .04351),
        (.9410, .9648, .9630, .9712, .9696, .9652, .9730, .9758, .9748, .9766),
        test_accuracy=0.9737,
        test_loss=0.0893,
    ),
    PublishedCurve(
        {"normalization": "none", **_NETWORK_AND_TRAINING},
        (.31917, .16142, .17737, .15240, .15641, .15969, .18191, .23831, .12616, .12277),
        (.9100, .9496, .9434, .9516, .9486, .9510, .9450, .9346, .9544, .9574),
        test_accuracy=0.9513,
        test_loss=0.2073,
    ),
)  # fmt: skip


def published_curve(dataset: str, parameters: Mapping[str, Any]) -> PublishedCurve | None:
    """Returns what the notebook printed for a variant with exactly these settings, if anything."""
    if dataset != NOTEBOOK_DATASET:
        return None
    return next((curve for curve in NOTEBOOK if curve.parameters == parameters), None)
