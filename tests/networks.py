"""Networks for tests."""

from pathlib import Path

from pipeline.params import Training
from pipeline.training.network_file import network_class

_ROOT = Path(__file__).parents[1]
DENSE = str(_ROOT / "networks/dense.py")
# The shipped params.yaml, for projects in folders that have no networks.
PARAMS = (_ROOT / "params.yaml").read_text(encoding="utf-8").replace("networks/dense.py", DENSE)


def dense(**fields):
    """Returns a stack of dense layers; fields as in params.yaml."""
    if "hidden_dims" in fields:
        fields["hidden_dims"] = list(fields["hidden_dims"])
    return network_class(DENSE)(code=DENSE, **fields)


def training_with(optimizer):
    """Returns what a solver needs to know of training, with this optimizer."""
    return Training(epochs=1, batch_size=1, optimizer=optimizer, seeds=1)
