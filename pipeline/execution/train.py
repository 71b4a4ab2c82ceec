"""Trains one variant on the seeds that have no run yet, so that it can be watched and resumed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.colors import variant_colors
from pipeline.examples.prepared import read_prepared
from pipeline.execution.checkpoints import Checkpoints
from pipeline.execution.earlier_runs import earlier_runs
from pipeline.execution.engines import Watcher, engine
from pipeline.execution.interruption import Interruption
from pipeline.execution.progress import EpochProgress
from pipeline.execution.under_dvc import is_forced
from pipeline.params import Params
from pipeline.provenance.lineage import (
    PORTABLE,
    Lineage,
    present_lineage,
    weights_sha256,
    write_journal,
)
from pipeline.provenance.processor import outside_promise, present_processor
from pipeline.runs.epochs import EpochScores
from pipeline.runs.manifest import Manifest
from pipeline.tracking.live import LiveView
from pipeline.training.train_variant import check_variant, manifest_of, write_runs
from pipeline.training.trainer import Snapshot, Task, TrainedRun, Trainer


def run(
    params: Params,
    variant: str,
    workers: int | None = None,
    interruption: Interruption | None = None,
    engine_name: str | None = None,
) -> None:
    """Writes `runs/<variant>`: history, manifest, and a model for each seed.

    Under DVC, runs that were there before are not trained again, unless it was told `--force`.

    Args:
        params: the whole of params.yaml.
        variant: its name in params.yaml.
        workers: how many runs train at once, by default as many as there are processors. Results
            do not depend on it.
        interruption: created when the process began, since DVC may have been killed meanwhile.
        engine_name: where they train, see `engines.engine`. Results do not depend on it.

    Raises:
        ParamsError: if it cannot be trained on this data; nothing is written.
        InterruptedTrainingError: if it was asked to end; every run is kept.
        PendingError: if another process trains this variant, or no cluster answers.
        WriteError: on a full disk; what was kept before stays.
    """
    dataset = read_prepared()
    not_portable = check_variant(params, variant, dataset)
    manifest = manifest_of(params, variant)
    chosen, color = params.variants[variant], variant_colors(params.variants)[variant]
    asked = interruption or Interruption()
    trains_on = engine(engine_name, workers, [chosen.network.code], asked)
    # As of now: who edits the code while it trains has not trained with what is then there.
    lineage = present_lineage(threads=trains_on.threads)

    forced = is_forced()
    with Checkpoints(manifest, forced=forced) as checkpoints:
        earlier = {} if forced else earlier_runs(manifest)
        epochs = chosen.training.epochs * (len(manifest.seeds) - len(earlier))
        with (
            asked,
            LiveView(params.tracking.experiment, manifest, lineage, color) as live,
            EpochProgress(chosen.label, epochs) as progress,
            trains_on,
        ):
            if trains_on.threads and (reason := outside_promise(present_processor())):
                progress.say(f"{reason}: these runs may differ in bits from those of others")
            if not_portable:
                progress.say(
                    f"layers of the network may differ in bits on other processors: "
                    f"{', '.join(not_portable)}"
                )
            if earlier:
                progress.say(
                    f"{len(earlier)} of {len(manifest.seeds)} runs are here already, from the same "
                    "data, code and parameters"
                )
            watched = _Watched(manifest, earlier, lineage, checkpoints, live, asked, progress)
            tasks = [Task(chosen, seed) for seed in manifest.seeds]
            results = trains_on.results(Trainer, dataset, tasks, watched)
            runs = [run for _, run in results]

        write_runs(manifest, sorted(runs, key=lambda run: run.seed))
        for seed, journal in watched.journal.items():
            made = replace(journal, weights_sha256=weights_sha256(variant, seed))
            write_journal(manifest.fingerprint(seed), made)
        # Kept any longer, they would stand in for a training that `dvc repro --force` asks for.
        checkpoints.remove()


@dataclass
class _Watched(Watcher):
    """Stores checkpoints and lineage, shows the runs, and stops them on request.

    Earlier runs are returned unchanged.
    """

    manifest: Manifest
    earlier: Mapping[int, TrainedRun]
    lineage: Lineage
    checkpoints: Checkpoints
    live: LiveView
    asked: Interruption
    progress: EpochProgress
    journal: dict[int, Lineage] = field(default_factory=dict)

    def finished(self, seed: int) -> TrainedRun | None:
        return self.earlier.get(seed)

    def begin(self, seed: int) -> Snapshot | None:
        # The thread that ended a run would begin another before the pool is closed.
        self.asked.check()
        # Of one that is gone on with, only its end is known here.
        started = None if self.checkpoints.has(seed) else time.time()
        self.live.begin(seed, started)
        self.journal[seed] = replace(self.lineage, started=started)
        if snapshot := self.checkpoints.restore(seed):
            self.progress.say(
                f"seed {seed} goes on: {len(snapshot.history)} epochs were done before"
            )
        return snapshot

    def keep(self, seed: int, snapshot: Snapshot) -> None:
        self.checkpoints.keep(seed, snapshot)

    def tell(self, scores: EpochScores) -> None:
        self.live.tell(scores)
        self.asked.check()
        self.progress.tell(scores)

    def trained_on(self, seed: int, machine: Mapping[str, str]) -> None:
        if machine[PORTABLE] == "false":
            self.progress.say(
                f"seed {seed} was trained on {machine['cpu.type']}, and may differ in bits from "
                "those of others"
            )
        self.journal[seed] = self.journal[seed].on(machine)

    def end(self, seed: int) -> None:
        self.journal[seed] = replace(self.journal[seed], ended=time.time())
        # At once: a process that goes on from here does not know where this run was trained.
        write_journal(self.manifest.fingerprint(seed), self.journal[seed])
