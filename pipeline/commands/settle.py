"""Adds pairs of runs until the comparison is settled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.comparison.verdict import Looks, fewest_together
from pipeline.errors import ArgumentError, PipelineError

# How many pairs are added between two looks: starting the stages costs about as much as a few runs.
BLOCK = 4
_REPORTS = Path("reports")


@click.command()
@click.option(
    "--at-most",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    metavar="N",
    help="End with so many pairs, settled or not.",
)
def command(at_most: int) -> None:
    """Add pairs of runs until the candidate or the baseline is better.

    \b
    Example:
      python -m pipeline settle --at-most 30

    Looks at the comparison of params.yaml, and while it is not settled raises training.seeds and
    lets DVC train the runs that are missing. Whoever looks repeatedly finds a difference by chance
    more easily, so comparison.looks becomes `repeated`, for good: the rule then holds each look to
    a stricter level (docs/verdict.md). Interrupted, the same command goes on from there.
    """
    from pipeline.comparison.looks import looks_of
    from pipeline.params_file import read_params

    params = read_params()
    pairs, looks = params.training.seeds, looks_of(params.comparison)
    repeated = looks if looks.repeated else Looks(repeated=True, before=pairs)
    fewest = fewest_together(params.comparison.confidence, 1, repeated)
    if at_most < pairs:
        raise ArgumentError(
            f"--at-most {at_most} is fewer than the {pairs} pairs that params.yaml asks for "
            "(training.seeds)"
        )
    if at_most < fewest:
        raise ArgumentError(
            f"--at-most {at_most} settles nothing: with repeated looks a verdict takes {fewest} "
            f"pairs at {params.comparison.confidence:g} confidence"
        )
    while True:
        _repro()
        if _is_settled(pairs, looks):
            return
        if pairs == at_most:
            click.echo("Not settled. How many more pairs could settle it: reports/report.html")
            return
        pairs, looks = min(at_most, max(fewest, pairs + BLOCK)), repeated
        _change(
            {
                "training": {"seeds": pairs},
                "comparison": {"looks": "repeated", "looked_at": looks.before},
            }
        )


def _is_settled(pairs: int, looks: Looks) -> bool:
    """Prints what a look at the report shows; returns whether it is a verdict."""
    from pipeline.files import read_json

    verdict = read_json(_REPORTS / "comparison.json")["verdict"]
    first_line, *_ = (_REPORTS / "report.md").read_text(encoding="utf-8").splitlines()
    rule = "the rule for repeated looks" if looks.repeated else "the rule for one look"
    click.echo(f"\nWith {pairs} pairs, by {rule}: {first_line.removeprefix('# ')}\n")
    return verdict in ("candidate_better", "baseline_better")


def _change(changes: dict[str, dict[str, Any]]) -> None:
    """Writes values into params.yaml, and leaves its comments as they are."""
    from io import StringIO

    from ruamel.yaml import YAML

    from pipeline.files import write_text
    from pipeline.params_file import PARAMS_FILE

    yaml = YAML()
    tree = yaml.load(PARAMS_FILE)
    for block, values in changes.items():
        tree[block].update(values)
    text = StringIO()
    yaml.dump(tree, text)
    write_text(PARAMS_FILE, text.getvalue())


def _repro() -> None:
    """Lets DVC bring everything up to date.

    Raises:
        PipelineError: if a stage fails, or another DVC is at work.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], env={**os.environ, "PATH": path}
    ) as dvc:
        try:
            code = dvc.wait()
        except SystemExit as asked:
            # Ctrl-C reached DVC too, whose stage ends after its epoch. TERM reached this process
            # alone; once DVC is gone, the stage ends likewise.
            if asked.code != 128 + 2:
                dvc.terminate()
            raise
    if code != 0:
        raise PipelineError(
            "settle stopped in `dvc repro`: see the error above; then the same command goes on"
        )
