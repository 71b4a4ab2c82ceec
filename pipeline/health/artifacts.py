"""Checks that MLflow still has the files of runs and models, wherever it keeps them, and whole.

They are listed and read by way of MLflow itself, so it does not matter whether they lie in a
folder, in S3 or behind a server.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from mlflow.entities import LoggedModel
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.errors import without_passwords
from pipeline.examples.prepared import read_prepared
from pipeline.health.findings import Finding, listed
from pipeline.health.run_files import is_whole
from pipeline.health.tracked_runs import TrackedExperiment
from pipeline.provenance.lineage_file import read_lineage_file
from pipeline.provenance.places import tracking_uri
from pipeline.runs.manifest import read_manifest
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS
from pipeline.tracking.records import MANIFEST
from pipeline.tracking.store import Store, asking, existing_client, is_finished, moving_files
from pipeline.tracking.trained_on import TrainedOn

# How many are asked for at once: most of the time goes into waiting for a server.
_AT_ONCE = 8


@dataclass(frozen=True)
class _Kept:
    """Files that MLflow keeps of a run or of its model.

    Attributes:
        name: as messages call it.
        run_id: of the run.
        location: where MLflow keeps them.
        needed: the files, by path there, each with its content; None where that is not known here.
        mend: writes them again; None if they are not here.
    """

    name: str
    run_id: str
    location: str
    needed: Mapping[str, bytes | None]
    mend: Callable[[Store], None] | None


def findings(experiment: TrackedExperiment, dataset: str) -> Iterator[Finding]:
    """Yields what is lost or damaged of the runs and models on disk here, and of the latest others.

    Args:
        experiment: has the runs and models.
        dataset: as in `TrainedOn`.
    """
    kept = [*_of_runs(experiment), *_of_models(experiment, dataset)]
    with asking(), ThreadPoolExecutor(_AT_ONCE) as pool:
        faults = list(pool.map(_fault, kept))
        finished = {one.run_id for one, fault in zip(kept, faults, strict=True) if fault}
        finished = set(filter(_is_finished, finished))
    for fault in ("lost", "damaged"):
        faulty = [
            one
            for one, found in zip(kept, faults, strict=True)
            if found == fault and one.run_id in finished
        ]
        if here := [one for one in faulty if one.mend]:
            remedy = "--fix writes them again, from runs/"
            mend = partial(_mend, str(experiment.name), here)
            yield Finding(f"MLflow has {fault} files of {_names(here)}", remedy, mend)
        if gone := [one for one in faulty if not one.mend]:
            remedy = "of which runs/ has no whole copy: train again, or `mlflow runs delete"
            uri = without_passwords(tracking_uri())
            yield Finding(
                f"MLflow has {fault} files of {_names(gone)}",
                f"{remedy} --run-id ...` with MLFLOW_TRACKING_URI={uri}",
            )


def _of_runs(experiment: TrackedExperiment) -> Iterator[_Kept]:
    for fingerprint, files in experiment.files.items():
        for run in experiment.runs[fingerprint][:1]:
            contents = {MANIFEST: read_manifest(files.variant).only(files.seed).to_json().encode()}
            yield _Kept(
                f"the run {run.info.run_name}",
                run.info.run_id,
                run.info.artifact_uri,
                contents,
                lambda store, run=run, contents=contents: store.log_files(run, contents),
            )


def _of_models(experiment: TrackedExperiment, dataset: str) -> Iterator[_Kept]:
    travelled = read_lineage_file()
    # What is damaged here must not replace what may be whole there.
    folders = {
        run.info.run_id: files.folder
        for fingerprint, same in experiment.runs.items()
        for run in same[:1]
        for files in [experiment.files[fingerprint]]
        if is_whole(fingerprint, files.variant, files.seed, travelled)
    }
    names = {f"artifacts/{name}": name for name in (ARCHITECTURE, WEIGHTS)}
    for model in experiment.models:
        run_id = str(model.source_run_id)
        folder = folders.get(run_id)
        needed: dict[str, bytes | None] = dict.fromkeys(["MLmodel", *names])
        mend = None
        if folder is not None:
            needed |= {path: (folder / name).read_bytes() for path, name in names.items()}
            mend = partial(_write_model, model=model, folder=folder, dataset=dataset)
        name = f"the model of {model.name} ({run_id})"
        yield _Kept(name, run_id, model.artifact_location, needed, mend)


def _fault(kept: _Kept) -> str:
    """Returns `lost`, `damaged`, or nothing if all is there as it should be."""
    with moving_files(), tempfile.TemporaryDirectory() as folder:
        repository = get_artifact_repository(kept.location, tracking_uri=tracking_uri())
        sizes = _sizes(repository, kept.needed)
        if not kept.needed.keys() <= sizes.keys():
            return "lost"
        for path, content in kept.needed.items():
            if sizes[path] == 0 or (content is not None and sizes[path] != len(content)):
                return "damaged"
        for path, content in kept.needed.items():
            if content is not None:
                copy = Path(repository.download_artifacts(path, folder))
                if copy.read_bytes() != content:
                    return "damaged"
    return ""


def _sizes(repository: ArtifactRepository, paths: Mapping[str, object]) -> dict[str, int | None]:
    """Returns the size of each file in the folders of these, in bytes."""
    folders = {str(PurePosixPath(path).parent) for path in paths}
    return {
        file.path: file.file_size
        for folder in folders
        for file in repository.list_artifacts(None if folder == "." else folder)
        if not file.is_dir
    }


def _is_finished(run_id: str) -> bool:
    """Returns whether a run has all its files, and was not deleted."""
    run = existing_client().get_run(run_id)
    return is_finished(run) and run.info.lifecycle_stage == "active"


def _names(kept: list[_Kept]) -> str:
    return listed([one.name for one in kept])


def _mend(experiment: str, kept: list[_Kept]) -> None:
    with asking():
        store = Store(experiment)
        for one in kept:
            if one.mend is not None:
                one.mend(store)


def _write_model(store: Store, model: LoggedModel, folder: Path, dataset: str) -> None:
    prepared = read_prepared()
    trained_on = TrainedOn.of(dataset, prepared)
    store.write_model(model, folder, trained_on, prepared.test.inputs[:2])
