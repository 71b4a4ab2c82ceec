"""The types of params.yaml: frozen, strict, closed to unknown keys.

Nothing here reads a file, and no value has a default: the defaults are in params.yaml only.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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
    "adamw": frozenset({"beta_1", "beta_2", "epsilon", "amsgrad"}),
    "lion": frozenset({"beta_1", "beta_2"}),
    "nadam": frozenset({"beta_1", "beta_2", "epsilon"}),
    "rmsprop": frozenset({"rho", "momentum", "epsilon", "centered"}),
    "sgd": frozenset({"momentum", "nesterov"}),
}

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
# What NumPy's and scikit-learn's generators take.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


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

    def __hash__(self) -> int:
        """Equal blocks have equal hashes, though lists in them have none."""
        return hash(self.model_dump_json())


class Data(Section):
    """The dataset, and how it is split.

    `path` is where its files are. For `dataset: file` they are the user's own, and `label` names
    the column of a table that holds the classes. Where those files have no test examples,
    `test_size` of them are drawn; which ones are held out is decided by `split_seed`. A dataset of
    the catalogue has test examples, and its first `validation_size` training examples are held out.
    """

    dataset: str
    path: Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
    validation_size: Count
    label: str | None = None
    test_size: Count | None = None
    split_seed: Seed | None = None

    @property
    def is_own(self) -> bool:
        """Whether the files are the user's own."""
        return self.dataset == "file"

    @property
    def name(self) -> str:
        """What people call the dataset: its name in the catalogue, or that of its file."""
        return Path(self.path).stem if self.is_own else self.dataset


# Keras' own names of initializers without further arguments, and `random_normal`, which takes a
# standard deviation.
Initializer = Literal[
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform",
    "orthogonal", "random_normal",
]  # fmt: skip


class Network(Section, ABC):
    """The block `network` of params.yaml: a subclass in the Python file that `code` names.

    The subclass's annotated fields are the keys beside `code`. Input and output sizes come from the
    data.
    """

    code: str

    @abstractmethod
    def hidden(
        self,
        inputs: keras.KerasTensor,
        normalize: Callable[[keras.KerasTensor], keras.KerasTensor],
    ) -> keras.KerasTensor:
        """Returns the last hidden layer [batch, units], built of Keras' layers.

        Args:
            inputs: images [batch, height, width, channels] in [0, 1], or features
                [batch, features] of mean 0 and variance 1 over the training examples.
            normalize: adds a layer with the variant's normalisation; it has statistics and weights
                of its own each time it is called.
        """

    def logits(self, classes: int) -> keras.layers.Layer | None:  # noqa: ARG002
        """Returns the layer that maps the last hidden one to logits; None for a plain dense one."""
        return None


class Optimizer(Section):
    """An optimizer by its Keras name. A field left out has Keras' default."""

    name: Literal["adagrad", "adam", "adamax", "adamw", "lion", "nadam", "rmsprop", "sgd"]
    learning_rate: Positive
    beta_1: Fraction | None = None
    beta_2: Fraction | None = None
    epsilon: Positive | None = None
    rho: Fraction | None = None
    momentum: Fraction | None = None
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


class Schedule(Section):
    """How the learning rate changes, step by step, from that of the optimizer.

    `cosine` lowers it to `final` times its value at the end of training; `step` multiplies it by
    `factor` every `every` epochs. With `warmup_epochs` it first rises from 0 in equal steps.
    """

    name: Literal["constant", "cosine", "step"]
    warmup_epochs: Count | None = None
    final: Fraction | None = None
    every: Count | None = None
    factor: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _takes_only_its_own_arguments(self) -> Schedule:
        allowed = {"constant": (), "cosine": ("final",), "step": ("every", "factor")}[self.name]
        for name in ("final", "every", "factor"):
            if name not in allowed and getattr(self, name) is not None:
                raise ValueError(f"remove `{name}`, which `{self.name}` does not take")
        if self.name == "step" and (self.every is None or self.factor is None):
            raise ValueError("`step` takes `every`, in epochs, and `factor`")
        return self


class EarlyStopping(Section):
    """Ends a run when the validation score has not improved for `patience` epochs.

    The run's network is then that of the best epoch.
    """

    monitor: Literal["loss", "accuracy"]
    patience: Count


class Augmentation(Section):
    """A layer of Keras that changes training images at random, with its arguments beside it."""

    model_config = ConfigDict(extra="allow")

    layer: Literal[
        "RandomBrightness", "RandomContrast", "RandomErasing", "RandomFlip", "RandomInvert",
        "RandomPosterization", "RandomRotation", "RandomShear", "RandomTranslation", "RandomZoom",
    ]  # fmt: skip

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the layer."""
        return self.model_dump(exclude={"layer"})


class Training(Section):
    """How a variant is trained, and on how many seeds.

    An epoch has as many steps as the examples fill whole batches, unless `steps_per_epoch` is
    given. `weight_decay` is decoupled from the gradient (Loshchilov & Hutter 2019) and applies to
    kernels, not to biases or normalisations. `trainable` leaves all weights as they start but
    those of normalisations, or two of each unit's kernel. `hidden_rate` multiplies the learning
    rate of the hidden layers' kernels, with sgd. `label_smoothing` is the share of each label that
    is spread evenly over all classes (Szegedy et al. 2016, section 7); scores do not have it.
    """

    epochs: Count
    steps_per_epoch: Count | None = None
    batch_size: Count
    optimizer: Optimizer
    schedule: Schedule | None = None
    weight_decay: Positive | None = None
    trainable: Literal["normalization", "two_per_unit"] | None = None
    hidden_rate: Positive | None = None
    label_smoothing: Annotated[float, Field(gt=0, lt=1)] | None = None
    early_stopping: EarlyStopping | None = None
    augmentation: list[Augmentation] | None = None
    seeds: Count

    @model_validator(mode="after")
    def _belongs_together(self) -> Training:
        if self.hidden_rate is not None and self.optimizer.name != "sgd":
            raise ValueError("remove `hidden_rate`, or choose sgd: other optimizers divide by it")
        others = [key for key in ("hidden_rate", "weight_decay") if getattr(self, key) is not None]
        if self.trainable is not None and others:
            raise ValueError(f"remove `{others[0]}` or `trainable`: they do not go together")
        return self


class Normalization(Section, ABC):
    """The normalisation of a variant, which its network puts where it likes.

    Subclasses are in `training.normalization`. The `kind` of each is the value of `normalization:`
    in params.yaml, and its fields are the keys next to it.
    """

    kind: ClassVar[str]

    @abstractmethod
    def layer(self, name: str) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
        """The layer, unbuilt; or a function that puts several, whose names begin with `name`."""

    def expect_batches_of(self, size: int) -> None:
        """Refuses a batch size that the layer cannot have in training, by a ValueError."""

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

    @model_validator(mode="after")
    def _normalization_takes_batches(self) -> Variant:
        self.normalization.expect_batches_of(self.training.batch_size)
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that decide a run besides its seed, in the shape of params.yaml."""
        return {
            "normalization": self.normalization.kind,
            **self.normalization.model_dump(),
            "network": self.network.model_dump(mode="json", exclude_none=True),
            "training": self.training.model_dump(exclude={"seeds"}, exclude_none=True),
        }


# The scores on the test set that can decide.
Measure = Literal[
    "accuracy", "balanced_accuracy", "expected_calibration_error", "loss", "macro_f1", "roc_auc"
]


class Comparison(Section):
    """Which variants are compared, by which score on the test set, and how sure intervals are."""

    baseline: str
    candidate: str
    measure: Measure
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
