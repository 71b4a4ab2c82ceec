"""What the name of a metric or parameter says, and what a parameter's values look like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Role = Literal["seed", "fold", "data", "repeat", "provenance", "identity", "label", "setting"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
# What f1score, r2 and top5 say is lost when they are split at the digit.
_WITH_DIGIT = re.compile(r"[^\W_]+")

_TIMES = frozenset(
    [
        "time",
        "times",
        "duration",
        "durations",
        "runtime",
        "walltime",
        "elapsed",
        "latency",
        "delay",
        "ms",
        "millis",
        "milliseconds",
        "s",
        "sec",
        "secs",
        "second",
        "seconds",
        "min",
        "mins",
        "minute",
        "minutes",
        "hour",
        "hours",
    ]
)
_SHORT_UNITS = frozenset({"s", "min", "mins"})
_SMALLER = frozenset(
    [
        "loss",
        "losses",
        "error",
        "errors",
        "err",
        "rmse",
        "mae",
        "mse",
        "mape",
        "smape",
        "rmsle",
        "msle",
        "nll",
        "nde",
        "perplexity",
        "ppl",
        "wer",
        "cer",
        "fid",
        "brier",
        "ece",
        "regret",
        "cost",
        "costs",
        "divergence",
        "residual",
        "rmsd",
        "logloss",
        "crossentropy",
        "fpr",
        "fnr",
        "eer",
        "elapsed",
    ]
)
_LARGER = frozenset(
    [
        "accuracy",
        "acc",
        "f1",
        "f1score",
        "auc",
        "auroc",
        "auprc",
        "roc",
        "precision",
        "recall",
        "sensitivity",
        "specificity",
        "r2",
        "reward",
        "rewards",
        "return",
        "returns",
        "iou",
        "miou",
        "dice",
        "map",
        "bleu",
        "rouge",
        "psnr",
        "ssim",
        "throughput",
        "correlation",
        "spearman",
        "pearson",
        "kappa",
        "matthews",
        "mcc",
        "tpr",
        "tnr",
        "hits",
        "ndcg",
        "mrr",
        "elbo",
        "likelihood",
    ]
)
_NEGATED = frozenset({"neg", "negative"})

_SEED = frozenset({"seed", "seeds", "randomstate"})
_DATA = frozenset(
    [
        "data",
        "dataset",
        "datasets",
        "task",
        "tasks",
        "env",
        "environment",
        "benchmark",
        "corpus",
        "domain",
        "game",
    ]
)
_FILLERS = frozenset(["name", "id", "key", "set", "path", "dir", "file", "train", "test", "type"])
_REPEAT = frozenset(["repeat", "repeats", "repetition", "rep", "replicate", "trial", "replica"])
_PROVENANCE = frozenset(
    ["git", "commit", "hash", "sha", "sha1", "sha256", "md5", "version", "versions", "checkpoint"]
)
_IDENTITY = frozenset(
    [
        "id",
        "uuid",
        "guid",
        "path",
        "paths",
        "dir",
        "directory",
        "folder",
        "file",
        "filename",
        "url",
        "uri",
        "date",
        "datetime",
        "timestamp",
        "host",
        "hostname",
        "machine",
        "user",
        "username",
        "pid",
        "logdir",
    ]
)
_RUN = frozenset({"exp", "experiment", "run", "job", "project"})
_COUNT = frozenset({"n", "k", "num", "number", "count"})

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_IDENTIFYING = re.compile(
    r"[a-zA-Z][\w+.-]*://.*"  # a URL
    r"|(~|\.{1,2})?[/\\].*|[a-zA-Z]:[/\\].*|[^\s,()\[\]{}]+[/\\][^\s,()\[\]{}]+\.\w{1,5}"  # a path
    r"|(?=[0-9a-fA-F]*[a-fA-F])(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{7,}"  # a hash
    r"|[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # a UUID
    r"|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T _].*)?|\d{8}[-_T]\d{4,6}|1\d{9}(\d{3})?(\.\d+)?"  # a date
    r"|v?\d+\.\d+\.\d+\S*"  # a version
)


def words(name: str) -> tuple[str, ...]:
    """Returns the words of a name, in lower case: `valLoss`, `val_loss`, `val loss` have the same.

    A word with a digit is there whole and in parts: `f1score` gives `f1score`, `f`, `1`, `score`.
    """
    found: list[str] = []
    for piece in _WITH_DIGIT.findall(name):
        parts = _WORD.findall(piece)
        if len(parts) > 1 and any(character.isdigit() for character in piece):
            found.append(piece.lower())
        found += [part.lower() for part in parts]
    return tuple(found)


def is_time(name: str) -> bool:
    """Whether a metric's name says that it is a time, not a rate such as `images_per_second`."""
    of = words(name)
    if not {"step", "steps", "series"}.isdisjoint(of):
        return False
    return any(
        word in _TIMES
        and (place == 0 or of[place - 1] != "per")
        # `min` is the smallest more often than minutes, unless it comes last: `duration_min`.
        and (word not in _SHORT_UNITS or place == len(of) - 1 > 0)
        for place, word in enumerate(of)
    )


def direction(name: str) -> bool | None:
    """Returns whether a metric's name says that smaller is better; None if it says neither."""
    of = words(name)
    said = is_time(name) or None
    for word in of:
        if word in _SMALLER or word in _LARGER:
            said = word in _SMALLER
    if said is not None and not _NEGATED.isdisjoint(of):
        return not said
    return said


def role(name: str, values: Sequence[str], runs: int) -> Role:
    """Returns what a parameter is for; a `label` is a different text in each run.

    Args:
        name: of the parameter.
        values: the different ones, at least one.
        runs: how many have one.
    """
    of = words(name)
    if said := _said(of, frozenset(of)):
        return said
    told = [value for value in values if value]
    if told and all(_IDENTIFYING.fullmatch(value) for value in told):
        return "identity"
    own = len(told) == runs > 2 and not any(is_number(value) for value in told)
    return "label" if own else "setting"


def _said(of: tuple[str, ...], known: frozenset[str]) -> Role | None:
    """Returns the role that a name's words say; None if they say none."""
    beside = _FILLERS | _COUNT | {"index", "idx"}
    roles: dict[Role, bool] = {
        "seed": bool(known & _SEED) or of[-2:] == ("random", "state"),
        "fold": "fold" in known and not known & _COUNT,
        "provenance": bool(known & _PROVENANCE),
        "data": bool(known & _DATA) and known <= _DATA | _FILLERS,
        "repeat": bool(known & _REPEAT) and known <= _REPEAT | beside,
        "identity": bool(known & _IDENTITY) or (bool(known & _RUN) and known <= _RUN | beside),
    }
    return next((role for role, holds in roles.items() if holds), None)


def is_number(text: str) -> bool:
    """Whether a text is a finite decimal number."""
    return _NUMBER.fullmatch(text) is not None
