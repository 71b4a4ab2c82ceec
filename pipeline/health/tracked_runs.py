"""Checks MLflow's runs against the processes that train them and the files that they mirror."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from mlflow.entities import LoggedModel, Run
from mlflow.tracking import MlflowClient

from pipeline.errors import without_passwords
from pipeline.examples.prepared import read_prepared
from pipeline.health.findings import Finding, Note
from pipeline.health.places import local_path
from pipeline.health.store import is_made
from pipeline.provenance.places import tracking_uri
from pipeline.runs.manifest import read_manifest, trained_variants
from pipeline.runs.tables import run_folder
from pipeline.tracking.store import FINGERPRINT, Store, asking, paged
from pipeline.tracking.trained_on import TrainedOn

# Tags that say which process opened the run and works on it.
HOST, PROCESS, STARTED = "process.host", "process.id", "process.started"
_SHOWN = 5


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

    Attributes:
        name: of the experiment; None if it is not known.
        dataset: as in `TrainedOn`; None if it is not known.
        files: the trained runs on disk, by fingerprint.
    """

    name: str | None
    dataset: str | None
    files: Mapping[str, RunFiles]

    def abandoned(self) -> Iterator[Finding | Note]:
        """Yields the runs marked as running whose process is dead, or cannot be checked here."""
        if not is_made():
            return
        with asking():
            client = MlflowClient(tracking_uri())
            experiment_id = self._experiment_id(client)
            everywhere = [
                experiment.experiment_id for experiment in paged(client.search_experiments)
            ]
            running = _runs(client, everywhere, "RUNNING")
        for run in running:
            # A run whose files are on disk is only waiting for `track`.
            is_own = experiment_id in {None, run.info.experiment_id}
            if not (is_own and self._files_of(run) is not None):
                yield from _abandoned(client, run)

    def missing(self) -> Counter[str]:
        """Returns, by variant, how many runs on disk are missing or incomplete in MLflow."""
        with asking():
            tracked = {run.data.tags.get(FINGERPRINT) for run in self._finished()}
        return Counter(
            files.variant for fingerprint, files in self.files.items() if fingerprint not in tracked
        )

    def lost_models(self) -> Iterator[Finding]:
        """Yields the finished runs whose model has lost its files in MLflow."""
        with asking():
            lost = [(run, model) for run, model in self._models() if _is_lost(model)]
        restorable = [(files, model) for run, model in lost if (files := self._files_of(run))]
        gone = [run for run, _ in lost if not self._files_of(run)]
        if restorable:
            names = [str(model.name) for _, model in restorable]
            what = f"the models of {_listed(names)} have lost their files in MLflow"
            remedy = "--fix restores them from runs/"
            yield Finding(what, remedy, lambda: self._write_models(restorable))
        if gone:
            names = [f"{run.info.run_name} ({run.info.run_id})" for run in gone]
            what = f"the models of {_listed(names)} have lost their files, which runs/ lacks too"
            remedy = "train them again, or delete each: `mlflow runs delete --run-id ...` with "
            yield Finding(what, f"{remedy}MLFLOW_TRACKING_URI={without_passwords(tracking_uri())}")

    def _write_models(self, lost: list[tuple[RunFiles, LoggedModel]]) -> None:
        dataset = read_prepared()
        trained_on = TrainedOn.of(str(self.dataset), dataset)
        with asking():
            store = Store(str(self.name))
            for files, model in lost:
                store.write_model(model, files.folder, trained_on, dataset.test.inputs[:2])

    def _experiment_id(self, client: MlflowClient) -> str | None:
        experiment = client.get_experiment_by_name(self.name) if self.name else None
        return experiment.experiment_id if experiment else None

    def _finished(self) -> list[Run]:
        if not is_made():
            return []
        client = MlflowClient(tracking_uri())
        experiment_id = self._experiment_id(client)
        return _runs(client, [experiment_id], "FINISHED") if experiment_id else []

    def _models(self) -> Iterator[tuple[Run, LoggedModel]]:
        finished = {run.info.run_id: run for run in self._finished()}
        if finished:
            client = MlflowClient(tracking_uri())
            experiments = list({run.info.experiment_id for run in finished.values()})
            for model in paged(client.search_logged_models, experiments):
                run = finished.get(model.source_run_id)
                if run is not None and run.data.tags.get("kind") == "run":
                    yield run, model

    def _files_of(self, run: Run) -> RunFiles | None:
        return self.files.get(run.data.tags.get(FINGERPRINT, ""))


def _runs(client: MlflowClient, experiments: list[str], status: str) -> list[Run]:
    return paged(client.search_runs, experiments, f"attributes.status = '{status}'")


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


def _is_lost(model: LoggedModel) -> bool:
    folder = local_path(model.artifact_location)
    return folder is not None and not (folder / "MLmodel").is_file()


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
