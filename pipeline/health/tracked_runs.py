"""Checks MLflow's runs against the processes that train them and the files that they mirror."""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil
from mlflow.entities import Experiment, LoggedModel, Run
from mlflow.tracking import MlflowClient

from pipeline.health.findings import Finding, Note, listed
from pipeline.health.store import is_made
from pipeline.runs.manifest import read_manifest, trained_variants
from pipeline.runs.tables import run_folder
from pipeline.tracking.store import (
    FINGERPRINT,
    HOST,
    PROCESS,
    STARTED,
    asking,
    existing_client,
    is_finished,
    is_ready,
    model_order,
    models_of,
    paged,
    run_order,
    runs_of,
    take_back,
)

# How many of the latest runs and models are looked at whose files are not here.
_LATEST = 100


@dataclass(frozen=True)
class RunFiles:
    """A trained run on disk."""

    variant: str
    seed: int

    @property
    def folder(self) -> Path:
        """The folder of its model."""
        return run_folder(self.variant, self.seed)


def files_by_fingerprint(variants: Collection[str]) -> dict[str, RunFiles]:
    """Returns the trained runs of these variants in `runs/`, by fingerprint.

    Raises:
        DataError: if a manifest is damaged.
    """
    manifests = [read_manifest(name) for name in trained_variants() if name in variants]
    return {
        fingerprint: RunFiles(manifest.variant, seed)
        for manifest in manifests
        for fingerprint, seed in manifest.fingerprints().items()
    }


@dataclass(frozen=True)
class TrackedExperiment:
    """An experiment in MLflow, compared with the runs on disk.

    Asks by fingerprint, or for the latest few: a store may have very many runs of other code.

    Attributes:
        name: of the experiment; None if it is not known.
        files: the trained runs on disk, by fingerprint.
    """

    name: str | None
    files: Mapping[str, RunFiles]

    def deleted(self) -> Iterator[Finding]:
        """Yields the experiment if it was deleted: nothing else can be asked of it then."""
        experiment = self.experiment
        if experiment is not None and experiment.lifecycle_stage != "active":
            yield Finding(
                f"the experiment {experiment.name} was deleted in MLflow, with all its runs",
                "--fix restores them; or name another in params.yaml (tracking.experiment)",
                lambda: _restore(experiment),
            )

    def abandoned(self) -> Iterator[Finding | Note]:
        """Yields the runs marked as running whose process is dead, or cannot be checked here."""
        if not is_made():
            return
        with asking():
            client = self._client
            everywhere = [
                experiment.experiment_id for experiment in paged(client.search_experiments)
            ]
            running = paged(client.search_runs, everywhere, "attributes.status = 'RUNNING'")
        own = self.experiment and self.experiment.experiment_id
        for run in running:
            # A run whose files are on disk is only waiting for `track`.
            is_own = own in {None, run.info.experiment_id}
            if not (is_own and run.data.tags.get(FINGERPRINT) in self.files):
                yield from _abandoned(client, run)

    def missing(self) -> Counter[str]:
        """Returns, by variant, how many runs on disk are missing or incomplete in MLflow."""
        return Counter(
            files.variant
            for fingerprint, files in self.files.items()
            if not any(map(is_finished, self.runs[fingerprint]))
        )

    def doubles(self) -> Iterator[Finding]:
        """Yields the runs that are there twice, and the runs that have two models.

        Writers take back what they have twice (see `Store`), unless they were killed in between.
        """
        runs = [
            double
            for same in [*self.runs.values(), *self._latest_runs()]
            for double in same[1:]
            if is_finished(double) or not _may_be_at_work(double)
        ]
        models = [double for same in self._models() for double in same[1:]]
        if runs or models:
            names = [f"{run.info.run_name} ({run.info.run_id})" for run in runs]
            names += [f"the model {model.name} ({model.model_id})" for model in models]
            yield Finding(
                f"MLflow has more than once: {listed(names)}",
                "--fix deletes all but the first, and MLflow can restore what is deleted",
                lambda: _delete(runs, models),
            )

    @cached_property
    def experiment(self) -> Experiment | None:
        """The experiment, which may be deleted; None if there is none of this name."""
        if self.name is None or not is_made():
            return None
        with asking():
            return self._client.get_experiment_by_name(self.name)

    @cached_property
    def runs(self) -> Mapping[str, list[Run]]:
        """What MLflow has of each run on disk, the one first that writers prefer."""
        client = self._client if self._ids else None
        with asking():
            return {
                fingerprint: runs_of(client, self._ids, fingerprint) if client else []
                for fingerprint in self.files
            }

    @cached_property
    def models(self) -> Sequence[LoggedModel]:
        """The complete models of the runs on disk, and the latest others."""
        if not self._ids:
            return []
        client = self._client
        with asking():
            of_runs = [models_of(client, run) for same in self.runs.values() for run in same[:1]]
            latest = client.search_logged_models(self._ids, max_results=_LATEST)
        by_id = {model.model_id: model for models in [*of_runs, latest] for model in models}
        return sorted(filter(is_ready, by_id.values()), key=model_order)

    @cached_property
    def _client(self) -> MlflowClient:
        """A client of the store, which exists."""
        return existing_client()

    @property
    def _ids(self) -> list[str]:
        """The experiment, as searches take it."""
        return [self.experiment.experiment_id] if self.experiment else []

    def _models(self) -> Iterable[list[LoggedModel]]:
        """Returns the models of each run, those of one name together."""
        of_runs: defaultdict[tuple[str | None, str], list[LoggedModel]] = defaultdict(list)
        for model in self.models:
            of_runs[model.source_run_id, model.name].append(model)
        return of_runs.values()

    def _latest_runs(self) -> Iterable[list[Run]]:
        """Returns the latest runs that are not on disk, those of one fingerprint together."""
        if not self._ids:
            return []
        finished = "attributes.status = 'FINISHED'"
        with asking():
            latest = self._client.search_runs(self._ids, finished, max_results=_LATEST)
        same: defaultdict[str, list[Run]] = defaultdict(list)
        for run in sorted(latest, key=run_order):
            fingerprint = run.data.tags.get(FINGERPRINT)
            if fingerprint is not None and fingerprint not in self.files:
                same[fingerprint].append(run)
        return same.values()


def _restore(experiment: Experiment) -> None:
    with asking():
        existing_client().restore_experiment(experiment.experiment_id)


def _delete(runs: Iterable[Run], models: Iterable[LoggedModel]) -> None:
    with asking():
        client = existing_client()
        for run in runs:
            take_back(client, run)
        for model in models:
            client.delete_logged_model(model.model_id)


def _may_be_at_work(run: Run) -> bool:
    """Returns whether somebody may still finish a run."""
    return run.info.status == "RUNNING" and (
        run.data.tags.get(HOST) != platform.node() or _is_alive(run) is not False
    )


def _abandoned(client: MlflowClient, run: Run) -> Iterator[Finding | Note]:
    what = f"the run {run.info.run_name} ({run.info.run_id}) is RUNNING in MLflow"
    host = run.data.tags.get(HOST)
    alive = _is_alive(run) if host == platform.node() else None
    if alive is None:
        where = (
            f"on another machine, {host}" if host not in {None, platform.node()} else "somewhere"
        )
        yield Note(f"{what}, {where}: its process cannot be checked from here")
    elif not alive:
        yield Finding(
            f"{what}, but its process is dead",
            "--fix marks it as KILLED",
            lambda: _kill(client, run),
        )


def _is_alive(run: Run) -> bool | None:
    """Returns whether the process that opened the run is alive; None if its tags do not tell."""
    try:
        number = int(run.data.tags[PROCESS])
        started = float(run.data.tags[STARTED])
        process = psutil.Process(number)
        # Process ids are reused: the same id with another start time is another process.
        same = abs(process.create_time() - started) <= 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except (LookupError, ValueError, psutil.Error):
        return None


def _kill(client: MlflowClient, run: Run) -> None:
    with asking():
        client.set_terminated(run.info.run_id, "KILLED")
