import numpy as np
import pandas as pd
import pytest

from pipeline.core.normalization import NORMALIZATIONS
from pipeline.core.results import VariantResults

SETTINGS = {"momentum": 0.9, "epsilon": 0.01, "center": True, "scale": True}


@pytest.fixture(scope="session", params=NORMALIZATIONS.values(), ids=NORMALIZATIONS)
def normalization(request):
    """Every normalisation there is, for the contracts that all of them keep."""
    return request.param(**{field: SETTINGS[field] for field in request.param.model_fields})


@pytest.fixture(scope="session")
def true_labels():
    return np.tile(np.arange(4, dtype=np.uint8), 25)


@pytest.fixture(scope="session")
def variant_results(true_labels):
    """Makes the results of a variant of which each run's test accuracy is given.

    The training loss of runs that `diverged`, given by seed, is 1e30 after the last epoch.
    """

    def make(label, accuracy, diverged=(), **fields):
        rng = np.random.default_rng(len(label))
        seeds, images = len(accuracy), len(true_labels)
        wrong = np.arange(images) >= 100 * np.reshape(accuracy, (-1, 1))
        epochs = pd.MultiIndex.from_product(
            [range(seeds), range(3), ["train", "validation"]], names=["seed", "epoch", "split"]
        ).to_frame(index=False)
        loss = rng.random(len(epochs))
        last = epochs["seed"].isin(diverged) & epochs.eval("epoch == 2 and split == 'train'")
        loss[last] = 1e30
        return VariantResults(
            **{
                "label": label,
                "color": "#0072B2",
                "parameters": {"normalization": "none", "network": {"hidden_dims": [4]}},
                "history": epochs.assign(loss=loss, accuracy=rng.random(len(epochs))),
                "scores": pd.DataFrame(
                    {
                        "seed": range(seeds),
                        "loss": 1 - np.array(accuracy),
                        "accuracy": accuracy,
                        "expected_calibration_error": 0.01,
                    }
                ),
                "predicted": ((true_labels + wrong) % 4).astype(np.uint8),
            }
            | fields
        )

    return make
