"""Measures and axes of studies in the words of people."""

from __future__ import annotations

from pipeline.studies.measures.course import DRIFT, MEAN, parted

# Shown, and drawn, in per cent.
_SHARES = ("accuracy", "dead_units", "diverged")
# What is no word of everyday language, as people write it.
_NAMES = {"fgsm": "FGSM", "pgd": "PGD", "beta": "β"}
# What takes more than its name to be understood.
_WHOLE = {
    "hidden_shift": "‖G - G'‖ of hidden layers",
    "output_shift": "‖G - G'‖ of the output layer",
    "hidden_cosine": "cos(G, G') of hidden layers",
    "output_cosine": "cos(G, G') of the output layer",
    **{f"percentile_{at}": f"{at}th percentile of inputs" for at in (15, 50, 85)},
}
# What takes more than a few words: measures, and what to say of them.
EXPLAINED = {
    frozenset({"hidden_shift", "output_shift"}): (
        "G is the gradient in a layer's kernel, G' the same on the same batch once the layers "
        "below have taken their step (Santurkar et al. 2018, definition 2.1)."
    ),
    frozenset({"loss_range", "gradient_change", "effective_beta"}): (
        "All three are taken along the gradient, from half a step to four steps away (Santurkar et "
        "al. 2018, section 3.1): how far the losses lie apart, by how much the gradient changes at "
        "most, and that for the distance moved, the effective smoothness β."
    ),
    frozenset({"identity_error"}): (
        "The identity error is the largest difference between what a normalising layer gives and "
        "what it is given, once gamma and beta are set to undo it, as a share of the largest input."
    ),
    frozenset({"dead_units"}): ("A hidden unit is dead if it is 0 for every test image."),
}
_OF_COURSE = {MEAN: "mean {} over training", DRIFT: "drift of the {}"}


def is_share(measure: str) -> bool:
    """Tells whether the measure is a share, which is shown in per cent."""
    return parted(measure)[0].endswith(_SHARES)


def words(name: str) -> str:
    """Returns the name of a measure or an axis as people write it."""
    followed, end = parted(name)
    told = _WHOLE.get(followed) or " ".join(_NAMES.get(one, one) for one in followed.split("_"))
    return _OF_COURSE[end].format(told) if end else told


def headed(name: str) -> str:
    """Returns the words as a sentence begins."""
    told = words(name)
    return told if name in _WHOLE else told[0].upper() + told[1:]
