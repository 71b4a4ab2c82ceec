"""The names of measures and axes, as people write them."""

from __future__ import annotations

from pipeline.comparison.measures import MEASURES
from pipeline.studies.measures.course import DRIFT, MEAN, parted

# The endings of measures that are shown and drawn in per cent.
_SHARES = (
    *(name for name, measure in MEASURES.items() if measure.is_share), "dead_units", "diverged",
    "small_gammas", "whole_set_gain", "ablation_area",
)  # fmt: skip
_SMALLER_IS_BETTER = tuple(name for name, measure in MEASURES.items() if measure.smaller_is_better)
# Parts of names that are not everyday words, as people write them.
_NAMES = {
    "fgsm": "FGSM", "pgd": "PGD", "beta": "β", "f1": "F1", "roc": "ROC", "auc": "AUC",
}  # fmt: skip
_PERCENTILES = (15, 50, 85)
# Measures whose name is not enough to understand them.
_WHOLE = {
    "hidden_shift": "‖G - G'‖ of hidden layers",
    "output_shift": "‖G - G'‖ of the output layer",
    "hidden_cosine": "cos(G, G') of hidden layers",
    "output_cosine": "cos(G, G') of the output layer",
    **{f"percentile_{at}": f"{at}th percentile of inputs" for at in _PERCENTILES},
}
# Measures that need an explanation, and the explanation.
EXPLAINED = {
    frozenset({"hidden_shift", "output_shift"}): (
        "G is the gradient in a layer's kernel, G' the same on the same batch once the layers "
        "below have taken their step (Santurkar et al. 2018, definition 2.1)."
    ),
    frozenset({"loss_range", "gradient_change", "effective_beta"}): (
        "All three are taken along the gradient, from half a step to four steps away (Santurkar et "
        "al. 2018, section 3.1): the range of the losses, the largest change of the gradient, and "
        "the largest change per distance moved, which is the effective smoothness β."
    ),
    frozenset({"identity_error"}): (
        "The identity error is the largest difference between the output and the input of a "
        "normalising layer once gamma and beta are set to undo it, as a share of the largest "
        "input; a layer that was trained without them is given both."
    ),
    frozenset(f"percentile_{at}{DRIFT}" for at in _PERCENTILES): (
        "The drift of a percentile is its mean distance from its last value, over training and all "
        "units."
    ),
    frozenset({"gradient_growth"}): (
        "The gradient growth is the factor of the squared norm of a kernel's gradient from a "
        "hidden layer to the one below it."
    ),
    frozenset({"stable_rank"}): (
        "The stable rank is that of what the last hidden layer makes of a batch: the squared "
        "Frobenius norm over the squared largest singular value."
    ),
    frozenset({"small_gammas"}): ("A gamma is small between -0.01 and 0.01."),
    frozenset({"effective_rate"}): (
        "Where the loss does not depend on the norm of a kernel w, the learning rate over ‖w‖² is "
        "the effective rate; it is averaged over hidden layers."
    ),
    frozenset({"variance_ratio"}): (
        "The variance ratio is that of a unit's input over the test images and the moving one, "
        "the larger over the smaller, averaged over units and layers."
    ),
    frozenset({"whole_set_gain", "whole_set_accuracy"}): (
        "The whole set accuracy is test accuracy with the statistics of the whole training set in "
        "place of moving averages, the weights being as they are; the whole set gain is what that "
        "adds."
    ),
    frozenset({"ablation_area"}): (
        "The ablation area is the accuracy averaged while more and more hidden units are set "
        "to 0, from none to all in three random orders, as a share of the accuracy with all."
    ),
    frozenset({"dead_units"}): ("A hidden unit is dead if it is 0 for every test image."),
}
_OF_COURSE = {MEAN: "mean {} over training", DRIFT: "drift of the {}"}


def is_share(measure: str) -> bool:
    """Returns whether a measure is a share, which is shown in per cent."""
    return parted(measure)[0].endswith(_SHARES)


def smaller_is_better(measure: str) -> bool:
    """Returns whether smaller values of a measure are better, as of a loss."""
    return parted(measure)[0].endswith(_SMALLER_IS_BETTER)


def words(name: str) -> str:
    """Returns the name of a measure or an axis as people write it."""
    followed, end = parted(name)
    parts = followed.split("_")
    phrase = _WHOLE.get(followed) or " ".join(_NAMES.get(part, part) for part in parts)
    return _OF_COURSE[end].format(phrase) if end else phrase


def headed(name: str) -> str:
    """Returns the words as they begin a sentence."""
    phrase = words(name)
    return phrase if name in _WHOLE else phrase[0].upper() + phrase[1:]
