"""Measures how long one waits from Enter to the verdict, now and before: by stage, in turn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.pipeline_time import fresh_clone, stage_seconds
from benchmarks.results import spread

REPRO, ABLATION = "dvc repro", "an ablation of one variant"
_COMMANDS = {
    REPRO: ("dvc", "repro"),
    ABLATION: (
        "dvc", "exp", "run", "--set-param", "variants.batch_norm.momentum=0.9",
    ),
}  # fmt: skip
WHOLE = "from Enter to the verdict"


def run(before: str, *, quick: bool) -> dict[str, Any]:
    """Returns the seconds of each command and its stages at a commit and at the last one.

    Args:
        before: the commit to compare the last one with. It is run with the packages of today.
        quick: measure one round, else three.
    """
    rounds = []
    for place in range(1 if quick else 3):
        print(f"round {place}", file=sys.stderr)
        rounds.append({"before": _seconds(before), "now": _seconds("HEAD")})
    commands = {
        name: [{when: measured[name] for when, measured in both.items()} for both in rounds]
        for name in _COMMANDS
    }
    return {
        "before": before,
        "commands": {name: compared(measured) for name, measured in commands.items()},
    }


def compared(rounds: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Returns for each stage the seconds before and now, and the ratio of each round's two.

    Args:
        rounds: for each, `before` and `now`, each the seconds by stage. A stage that is not in all
            of them is left out.
    """
    everywhere = [one[when] for one in rounds for when in ("before", "now")]
    stages = [name for name in rounds[0]["now"] if all(name in one for one in everywhere)]
    return {
        name: {
            "before": spread([one["before"][name] for one in rounds]),
            "now": spread([one["now"][name] for one in rounds]),
            "times": spread([one["now"][name] / one["before"][name] for one in rounds]),
        }
        for name in stages
    }


def _seconds(commit: str) -> dict[str, dict[str, float]]:
    """Returns, of each command in a fresh clone, the seconds of each stage and of the whole."""
    with fresh_clone(commit) as clone:
        clone.run("dvc", "repro", "prepare")
        # It is committed and up to date, so `compare` would be skipped.
        (clone.folder / "reports/comparison.json").unlink()
        watched = {name: clone.run(*command) for name, command in _COMMANDS.items()}
    return {name: {WHOLE: one.seconds, **stage_seconds(one)} for name, one in watched.items()}
