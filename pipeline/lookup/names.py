"""What a name on the command line stands for: a variant, a commit, an experiment, a run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pipeline.comparison.cells import Cell, read_cell
from pipeline.errors import ArgumentError, MissingInputError
from pipeline.lookup.sources import Source, cell_of_run
from pipeline.params import Params

WORKSPACE = "workspace"


def find(text: str, params: Params) -> Source:
    """Returns what `text` stands for, looked for here, then in git and DVC, then in MLflow.

    Raises:
        ArgumentError: if it stands for nothing.
        PipelineError: if what it stands for cannot be read.
    """
    if text in params.variants:
        told = f"variant in the {WORKSPACE}"
        return Source(text, told, (text,), whole=False, read=partial(_read_here, params=params))
    return _revision(text) or _recorded(text, params)


def _read_here(variant: str, params: Params) -> Cell:
    return read_cell(variant, params.variants[variant].label, WORKSPACE, Path())


def _revision(text: str) -> Source | None:
    # DVC takes half a second to import, which a comparison of two variants can do without.
    from pipeline.lookup import revisions

    return revisions.find(text)


def _recorded(text: str, params: Params) -> Source:
    # MLflow takes three seconds.
    from pipeline.tracking import recorded

    try:
        found = recorded.find(text)
    except MissingInputError:
        variants = ", ".join(params.variants)
        raise ArgumentError(
            f"{text!r} is no variant of params.yaml, which has {variants}; and no commit, "
            "experiment or MLflow run is called so"
        ) from None
    run = recorded.read(found)
    told = f"MLflow run {run.name}, {run.id}"
    variant = run.manifest.variant
    return Source(text, told, (variant,), whole=False, read=lambda _: cell_of_run(run))
