"""The types of params.yaml: frozen, strict, closed to unknown keys.

Nothing here reads a file and nothing here has a default: defaults stand in params.yaml alone.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import keras

# Keras' own names. A list, because checking a value must not cost the import of TensorFlow;
# a test holds it against keras.activations.
Activation = Literal[
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu",
    "sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid",
    "squareplus", "swish", "tanh", "tanh_shrink",
]  # fmt: skip

# What each optimizer takes beside its name and learning rate, as Keras spells it.
OPTIMIZER_ARGUMENTS: dict[str, frozenset[str]] = {
    "adagrad": frozenset({"initial_accumulator_value", "epsilon"}),
    "adam": frozenset({"beta_1", "beta_2", "epsilon", "amsgrad"}),
    "adamax": frozenset({"beta_1", "beta_2", "epsilon"}),
    "adamw": frozenset({"beta_1", "beta_2", "epsilon", "amsgrad", "weight_decay"}),
    "lion": frozenset({"beta_1", "beta_2", "weight_decay"}),
    "nadam": frozenset({"beta_1", "beta_2", "epsilon"}),
    "rmsprop": frozenset({"rho", "momentum", "epsilon", "centered"}),
    "sgd": frozenset({"momentum", "nesterov"}),
}

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _plain(text: str) -> str:
    # Labels are drawn, and set in Markdown and HTML, where other signs mean something.
    if not re.fullmatch(r"[^\W_]([^\W_]|[ .,:;()+=/%'-]){0,39}", text):
        allowed = "at most 40 letters, digits, spaces and .,:;()+=/%'- after a letter or digit"
        raise ValueError(f"`label` must be {allowed}, got {text!r}")
    return text


Label = Annotated[str, AfterValidator(_plain)]


class Section(BaseModel):
    """One block of params.yaml."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Data(Section):
    """Which examples are learnt from, and how many of the first are kept for validation."""

    dataset: str
    validation_size: Count


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# Keras' own names of what draws kernels without further arguments, and the one that takes a width.
Initializer = Literal[
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform",
    "orthogonal", "random_normal",
]  # fmt: skip


class Network(Section):
    """A stack of dense layers; input and output sizes come from the data.

    Kernels are drawn by `initializer`, by default Keras' own, Glorot uniform; `random_normal` takes
    a standard deviation, `stddev`.
    """

    hidden_dims: Annotated[tuple[Count, ...], BeforeValidator(_listed), Field(min_length=1)]
    activation: Activation
    initializer: Initializer | None = None
    stddev: Positive | None = None

    @model_validator(mode="after")
    def _stddev_is_of_random_normal(self) -> Network:
        if (self.initializer == "random_normal") is (self.stddev is None):
            raise ValueError("give `stddev` with `initializer: random_normal`, and only there")
        return self


class Optimizer(Section):
    """An optimizer by its Keras name. A field left out keeps Keras' own value."""

    name: Literal["adagrad", "adam", "adamax", "adamw", "lion", "nadam", "rmsprop", "sgd"]
    learning_rate: Positive
    beta_1: Fraction | None = None
    beta_2: Fraction | None = None
    epsilon: Positive | None = None
    rho: Fraction | None = None
    momentum: Fraction | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    initial_accumulator_value: Annotated[float, Field(ge=0)] | None = None
    amsgrad: bool | None = None
    centered: bool | None = None
    nesterov: bool | None = None

    @model_validator(mode="after")
    def _takes_only_its_own_arguments(self) -> Optimizer:
        takes = OPTIMIZER_ARGUMENTS[self.name]
        for name in self.arguments:
            if name not in takes | {"learning_rate"}:
                others = ", ".join(sorted(takes))
                raise ValueError(f"remove `{name}`: {self.name} takes {others} only")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """What is handed to the Keras optimizer."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class Training(Section):
    """How a variant is trained, and on how many seeds.

    An epoch has so many steps as the examples fill batches, unless `steps_per_epoch` says how many.
    """

    epochs: Count
    steps_per_epoch: Count | None = None
    batch_size: Count
    optimizer: Optimizer
    seeds: Count


class Normalization(Section, ABC):
    """What stands between a dense layer and its activation.

    Subclasses live in `training.normalization`; each names itself by `kind`, the value of
    `normalization:` in params.yaml, and its fields are the keys beside it.
    """

    kind: ClassVar[str]

    @abstractmethod
    def layer(self, name: str) -> keras.layers.Layer:
        """The layer, unbuilt."""

    @property
    def at_inference(self) -> Normalization:
        """What does the same at inference, with the same weights, in layers that Keras has."""
        return self


class Variant(Section):
    """One arm of the comparison, its own `network` and `training` overrides already applied."""

    label: Label
    normalization: Normalization
    network: Network
    training: Training

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides each run beside its seed, in the shape of params.yaml."""
        return {
            "normalization": self.normalization.kind,
            **self.normalization.model_dump(),
            "network": self.network.model_dump(mode="json", exclude_none=True),
            "training": self.training.model_dump(exclude={"seeds"}, exclude_none=True),
        }


class Comparison(Section):
    """Which variant is set against which."""

    baseline: str
    candidate: str
    confidence: Annotated[float, Field(gt=0, lt=1)]


class Tracking(Section):
    """Where runs appear in MLflow."""

    experiment: Annotated[str, Field(min_length=1)]


class Params(Section):
    """The whole of params.yaml."""

    data: Data
    network: Network
    training: Training
    variants: dict[str, Variant]
    comparison: Comparison
    tracking: Tracking


def merged(base: object, override: Mapping[str, Any]) -> object:
    """Returns `base` with the keys of `override`; a block of another `name` replaces it."""
    if not isinstance(base, Mapping) or override.get("name", base.get("name")) != base.get("name"):
        return override
    return dict(base) | {
        key: merged(base.get(key), value) if isinstance(value, Mapping) else value
        for key, value in override.items()
    }


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested blocks, named as DVC does: `training.optimizer.name`."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
