"""One variant trained on all its seeds, and what that leaves in `runs/`."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.examples.prepared import PREPARED_FILE, read_prepared
from pipeline.files import sha256
from pipeline.params import Params
from pipeline.runs.code import code_sha256
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.runs.models import write_model
from pipeline.runs.tables import remove_runs, run_folder, write_history
from pipeline.training.trainer import Hooks, Pool, TrainedRun, Trainer, train_seeds


def manifest_of(params: Params, variant: str) -> Manifest:
    """Returns from what the runs of a variant are to be made, as the files are now."""
    chosen = params.variants[variant]
    return Manifest(
        variant=variant,
        parameters=chosen.parameters,
        seeds=tuple(range(chosen.training.seeds)),
        data_sha256=sha256(PREPARED_FILE),
        code_sha256=code_sha256(),
    )


def train_variant(params: Params, manifest: Manifest, hooks: Hooks, pool: Pool) -> list[TrainedRun]:
    """Returns the runs of a manifest, trained on the prepared data.

    Args:
        params: that the manifest is of.
        manifest: as `manifest_of` gives it.
        hooks: what else happens around each run; they change no result.
        pool: where the seeds are handed out; it changes no result.
    """
    variant = params.variants[manifest.variant]
    return train_seeds(variant, manifest.seeds, Trainer(read_prepared(), hooks), pool)


def write_runs(manifest: Manifest, trained: Sequence[TrainedRun]) -> None:
    """Writes `runs/<variant>` anew: history, manifest, and a model for each seed."""
    remove_runs(manifest.variant)
    for run in trained:
        write_model(run_folder(manifest.variant, run.seed), run.architecture, run.weights)
    write_history(manifest.variant, [scores for run in trained for scores in run.history])
    write_manifest(manifest)
