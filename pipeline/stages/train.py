"""Trains one variant on all its seeds."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.pool import ThreadPool

from pipeline.adapters import runs
from pipeline.adapters.checkpoints import Checkpoints
from pipeline.adapters.datasets import PREPARED_FILE, read_prepared
from pipeline.adapters.files import sha256
from pipeline.adapters.interruption import Interruption
from pipeline.adapters.lineage import Lineage, present_lineage, write_journal
from pipeline.adapters.live import LiveView
from pipeline.adapters.models import write_model
from pipeline.adapters.progress import EpochProgress
from pipeline.adapters.provenance import training_code_sha256
from pipeline.core.replicates import Cell, EpochScores, TrainedRun, Training, train_variant
from pipeline.params import Params


def run(
    params: Params,
    variant: str,
    workers: int | None = None,
    interruption: Interruption | None = None,
) -> None:
    """Writes `runs/<variant>`: history, manifest, and a model for each seed.

    Args:
        params: of the whole experiment.
        variant: its name in params.yaml.
        workers: threads that train at once, by default as many as there are processors. Results
            do not depend on it.
        interruption: made when the process began; DVC may have been killed since.

    Raises:
        InterruptedTrainingError: if it was asked to end; every run is kept.
        PendingError: if another process trains this variant.
        WriteError: on a full disk; what was kept before stays.
    """
    dataset = read_prepared()
    chosen = params.variants[variant]
    manifest = runs.Manifest(
        variant=variant,
        parameters=chosen.parameters,
        seeds=tuple(range(chosen.training.seeds)),
        data_sha256=sha256(PREPARED_FILE),
        code_sha256=training_code_sha256(),
    )
    workers = workers or os.cpu_count() or 1
    # As of now: who edits the code while it trains has not trained with what is then there.
    lineage = present_lineage(threads=workers)
    journal: dict[int, Lineage] = {}

    epochs = chosen.training.epochs * chosen.training.seeds
    with Checkpoints(manifest) as checkpoints:
        with (
            interruption or Interruption() as asked,
            LiveView(params.tracking.experiment, manifest, lineage) as live,
            EpochProgress(chosen.label, epochs) as progress,
            _threads(workers, asked) as pool,
        ):

            def tell(scores: EpochScores) -> None:
                live.tell(scores)
                asked.check()
                progress.tell(scores)

            training = Training(dataset, tell, checkpoints)

            def train(cell: Cell) -> TrainedRun:
                # The thread that ended a run would begin another before the pool is closed.
                asked.check()
                # Of one that is gone on with, only its end is known here.
                started = None if checkpoints.has(cell.seed) else time.time()
                live.begin(cell.seed, started)
                one = training(cell)
                journal[cell.seed] = replace(lineage, started=started, ended=time.time())
                return one

            trained = train_variant(chosen, manifest.seeds, train, pool)

        runs.remove(variant)
        for one in trained:
            write_model(runs.run_folder(variant, one.seed), one.architecture, one.weights)
        runs.write_history(variant, [scores for one in trained for scores in one.history])
        runs.write_manifest(manifest)
        for fingerprint, seed in manifest.fingerprints().items():
            write_journal(fingerprint, journal[seed])
        # Kept any longer, they would stand in for a training that `dvc repro --force` asks for.
        checkpoints.remove()


@contextmanager
def _threads(workers: int, asked: Interruption) -> Iterator[ThreadPool]:
    """Yields a pool; if the block fails, what is under way ends its epoch, and nothing begins."""
    pool = ThreadPool(workers)
    try:
        yield pool
    except BaseException:
        asked.fail()
        raise
    finally:
        pool.terminate()
        pool.join()
