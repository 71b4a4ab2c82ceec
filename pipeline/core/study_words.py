"""Measures and axes of studies in the words of people."""

from __future__ import annotations

from pipeline.core.course import DRIFT, MEAN, parted

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
