"""What a variant is trained from, whether it can be, and where its runs are written."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import ParamsError
from pipeline.examples.dataset import Dataset
from pipeline.examples.prepared import PREPARED_FILE
from pipeline.files import sha256
from pipeline.params import Params, Variant
from pipeline.runs.code import code_sha256
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.runs.models import write_model
from pipeline.runs.tables import remove_runs, run_folder, write_history
from pipeline.training.trainer import TrainedRun, Trainer


def manifest_of(params: Params, variant: str) -> Manifest:
    """Returns the manifest of the runs that a variant would have now, from the present files."""
    settings = params.variants[variant]
    return Manifest(
        variant=variant,
        parameters=settings.parameters,
        seeds=tuple(range(settings.training.seeds)),
        data_sha256=sha256(PREPARED_FILE),
        code_sha256=code_sha256(settings.network.code),
    )


def check_variant(params: Params, variant: str, dataset: Dataset) -> list[str]:
    """Makes sure that a variant can be trained on a data set.

    Returns:
        The kinds of its layers whose bits may depend on the processor.

    Raises:
        ParamsError: if there are fewer examples to train on than a batch has, or the network or
            its augmentation cannot be built.
    """
    settings = params.variants[variant]
    _expect_a_batch(settings, variant, len(dataset.train))
    return Trainer(dataset).check(settings)


def write_runs(manifest: Manifest, trained: Sequence[TrainedRun]) -> None:
    """Replaces `runs/<variant>`: history, manifest, and a model for each seed."""
    remove_runs(manifest.variant)
    for run in trained:
        write_model(run_folder(manifest.variant, run.seed), run.architecture, run.weights)
    write_history(manifest.variant, [scores for run in trained for scores in run.history])
    write_manifest(manifest)


def _expect_a_batch(variant: Variant, name: str, examples: int) -> None:
    # Of files of the user's own, nobody knows before how many examples they hold.
    if (size := variant.training.batch_size) > examples:
        raise ParamsError(
            f"`batch_size` must be at most the {examples} examples trained on, got {size} "
            f"(params.yaml, variants.{name}.training)"
        )
