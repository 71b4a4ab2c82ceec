"""What a name on the command line stands for: a variant, a commit, an experiment, a run."""

from __future__ import annotations

from pathlib import Path

from pipeline.comparison.cells import read_cell
from pipeline.errors import ArgumentError, MissingInputError
from pipeline.lookup.sources import Source, cell_of_run
from pipeline.params import Params

WORKSPACE = "workspace"


def find(text: str, params: Params) -> Source:
    """Returns what `text` stands for: looks here first, then in git and DVC, then in MLflow.

    Raises:
        ArgumentError: if it stands for nothing.
        PipelineError: if what it stands for cannot be read.
    """
    if text in params.variants:
        label = params.variants[text].label
        return Source(
            name=text,
            description=f"variant in the {WORKSPACE}",
            variants=(text,),
            whole=False,
            read=lambda variant: read_cell(variant, label, WORKSPACE, Path()),
        )
    # DVC takes half a second to import, and comparing two variants can do without it.
    from pipeline.lookup import revisions

    if revision := revisions.find(text):
        return revision
    # MLflow takes three seconds to import.
    from pipeline.tracking import recorded

    try:
        mlflow_run = recorded.find(text)
    except MissingInputError:
        variants = ", ".join(params.variants)
        raise ArgumentError(
            f"{text!r} is not a variant of params.yaml, which has {variants}; nor is it the name "
            "of a commit, a DVC experiment or an MLflow run"
        ) from None
    run = recorded.read(mlflow_run)
    return Source(
        name=text,
        description=f"MLflow run {run.name}, {run.id}",
        variants=(run.manifest.variant,),
        whole=False,
        read=lambda _: cell_of_run(run),
    )
