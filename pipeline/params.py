"""The types of params.yaml: frozen, strict, closed to unknown keys.

Nothing here reads a file, and no value has a default: the defaults are in params.yaml only.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import keras

# Keras' own names. They are listed, because checking a value must not cost the import of
# TensorFlow; a test compares the list with keras.activations.
Activation = Literal[
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu",
    "sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid",
    "squareplus", "swish", "tanh", "tanh_shrink",
]  # fmt: skip

# The arguments of each optimizer besides its name and learning rate, as Keras spells them.
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


def _checked_label(text: str) -> str:
    # Labels appear in figures, Markdown and HTML, where other characters have a meaning.
    if not re.fullmatch(r"[^\W_]([^\W_]|[ .,:;()+=/%'-]){0,39}", text):
        allowed = "at most 40 letters, digits, spaces and .,:;()+=/%'- after a letter or digit"
        raise ValueError(f"`label` must be {allowed}, got {text!r}")
    return text


Label = Annotated[str, AfterValidator(_checked_label)]


class Section(BaseModel):
    """One block of params.yaml."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Data(Section):
    """Which dataset to train on, and how many of its first examples to keep for validation."""

    dataset: str
    validation_size: Count


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# Keras' own names of initializers without further arguments, and `random_normal`, which takes a
# standard deviation.
Initializer = Literal[
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform",
    "orthogonal", "random_normal",
]  # fmt: skip


class Network(Section):
    """A stack of dense layers; input and output sizes come from the data.

    `initializer` draws the kernels; the default is that of Keras, Glorot uniform. `random_normal`
    takes a standard deviation, `stddev`.
    """

    hidden_dims: Annotated[tuple[Count, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    activation: Activation
    initializer: Initializer | None = None
    stddev: Positive | None = None

    @model_validator(mode="after")
    def _stddev_is_of_random_normal(self) -> Network:
        if (self.initializer == "random_normal") is (self.stddev is None):
            raise ValueError("give `stddev` with `initializer: random_normal`, and only there")
        return self


class Optimizer(Section):
    """An optimizer by its Keras name. A field left out has Keras' default."""

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
        allowed = OPTIMIZER_ARGUMENTS[self.name]
        for name in self.arguments:
            if name not in allowed | {"learning_rate"}:
                arguments = ", ".join(sorted(allowed))
                raise ValueError(f"remove `{name}`: {self.name} takes {arguments} only")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the Keras optimizer."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class Training(Section):
    """How a variant is trained, and on how many seeds.

    An epoch has as many steps as the examples fill whole batches, unless `steps_per_epoch` is
    given.
    """

    epochs: Count
    steps_per_epoch: Count | None = None
    batch_size: Count
    optimizer: Optimizer
    seeds: Count


class Normalization(Section, ABC):
    """The normalisation between a dense layer and its activation.

    Subclasses are in `training.normalization`. The `kind` of each is the value of `normalization:`
    in params.yaml, and its fields are the keys next to it.
    """

    kind: ClassVar[str]

    @abstractmethod
    def layer(self, name: str) -> keras.layers.Layer:
        """The layer, unbuilt."""

    @property
    def at_inference(self) -> Normalization:
        """A normalisation by Keras' own layers that, with the same weights, infers the same."""
        return self


class Variant(Section):
    """One arm of the comparison, with its `network` and `training` overrides applied."""

    label: Label
    normalization: Normalization
    network: Network
    training: Training

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that decide a run besides its seed, in the shape of params.yaml."""
        return {
            "normalization": self.normalization.kind,
            **self.normalization.model_dump(),
            "network": self.network.model_dump(mode="json", exclude_none=True),
            "training": self.training.model_dump(exclude={"seeds"}, exclude_none=True),
        }


class Comparison(Section):
    """Which variant is the baseline and which the candidate, and the confidence of intervals."""

    baseline: str
    candidate: str
    confidence: Annotated[float, Field(gt=0, lt=1)]


class Tracking(Section):
    """The experiment in MLflow that runs are recorded in."""

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
