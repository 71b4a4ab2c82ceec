"""What others printed, to lay beside ours."""

from __future__ import annotations

from dataclasses import dataclass

NOTEBOOK_DATASET = "mnist"


@dataclass(frozen=True)
class PublishedCurve:
    """The one draw that the notebook shows of a variant, by epoch from 0.

    A split that it printed no figures of is empty. Test accuracy and loss are after the last epoch.
    """

    train_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    test_accuracy: float
    test_loss: float


# By normalisation: 784-32-32-10, ReLU, Adam 0.01, batches of 32.
NOTEBOOK = {
    "batch": PublishedCurve(
        (.18456, .10349, .11239, .07526, .07339, .08164, .05879, .05014, .04956, .04351),
        (.9410, .9648, .9630, .9712, .9696, .9652, .9730, .9758, .9748, .9766),
        test_accuracy=0.9737,
        test_loss=0.0893,
    ),
    "none": PublishedCurve(
        (.31917, .16142, .17737, .15240, .15641, .15969, .18191, .23831, .12616, .12277),
        (.9100, .9496, .9434, .9516, .9486, .9510, .9450, .9346, .9544, .9574),
        test_accuracy=0.9513,
        test_loss=0.2073,
    ),
}  # fmt: skip
