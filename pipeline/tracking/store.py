"""The MLflow store: it mirrors the files, finds runs by fingerprint, and records nothing twice."""

from __future__ import annotations

import math
import platform
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import mlflow
import numpy as np
import pandas as pd
import psutil
from filelock import FileLock
from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipeline.errors import PendingError, PipelineError
from pipeline.files import missing
from pipeline.provenance.places import database, project_root, tracking_uri
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS
from pipeline.stores.causes import in_a_line
from pipeline.stores.postgresql import UnusableAddressError, connected
from pipeline.tracking import patience
from pipeline.tracking.database import HalfMadeError, analyze, check, is_there, make
from pipeline.tracking.experiment_pages import NOTE
from pipeline.tracking.patience import TakenBackError, patient
from pipeline.tracking.trained_on import TRAINED_ON, TrainedOn


class DeletedExperimentError(PendingError):
    """The experiment was deleted in MLflow, which keeps its name and its runs."""

    def __init__(self, experiment: Experiment) -> None:
        """Says which experiment it is, and what to do."""
        super().__init__(
            f"the experiment {experiment.name} was deleted in MLflow: `python -m pipeline doctor "
            "--fix` restores it, or name another in params.yaml (tracking.experiment)"
        )


# The errors of a store that is gone, locked, damaged, half made or lacks its driver, and of one
# whose experiment or run was deleted.
TRACKING_ERRORS = (
    MlflowException, SQLAlchemyError, HalfMadeError, DeletedExperimentError, UnusableAddressError,
    TakenBackError, OSError, ImportError,
)  # fmt: skip
FINGERPRINT = "bnlab.fingerprint"
# Which process opened the run and works on it.
HOST, PROCESS, STARTED = "process.host", "process.id", "process.started"
# The most points that MLflow takes in one call.
_POINTS_PER_CALL = 1000
_LINEAGE_PREFIXES = ("git.", "dvc.", "lineage.", "mlflow.source.git.")
_SERVED_MODEL = Path(__file__).with_name("served_model.py")
# Makes MLflow's UI open its pages for training, not those for chat.
_SHOWN_AS = {"mlflow.experimentKind": "custom_model_development"}
_SPLIT = "mlflow.data.context"
_MODEL_FILES = (ARCHITECTURE, WEIGHTS)
_SERVING_PACKAGES = ("keras", "numpy", "tensorflow")


@dataclass(frozen=True)
class RunRecord:
    """A run as MLflow should record it.

    Attributes:
        fingerprint: identifies the run.
        name: as shown in the list of runs.
        params: name to value.
        tags: name to value; they include the lineage.
        description: Markdown, shown on the run's page.
        data: the data it is trained and scored on, by split.
        started: when it began, in seconds since 1970; None means now.
    """

    fingerprint: str
    name: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    data: Mapping[str, Dataset] = field(default_factory=dict)
    started: float | None = None


@dataclass(frozen=True)
class Point:
    """One value of a metric.

    Attributes:
        key: the metric's name; for a run `<split>/<score>`.
        value: may be nan or infinite.
        step: for a run the epoch, counting from 0; for a study's cell the seed.
        model_id: the logged model that got this score, if any.
    """

    key: str
    value: float
    step: int = 0
    model_id: str | None = None


class Store:
    """The runs of one MLflow experiment: each fingerprint has one that is finished, whoever writes.

    Several clones may write to one store, and MLflow has no lock for them. They agree by an order
    that all see alike (`run_order`): finished before unfinished, then by start, then by id.

    - Who makes a run looks again. The first run in order is kept; who made a later one deletes it
      and goes on with the first. Nobody deletes an unfinished run that another made.
    - Who finishes a run looks again. Of several that are finished the first is kept, and whoever
      sees the others deletes them. So if two runs of a fingerprint were finished, the one that was
      finished last was seen beside the other; and the first in order is never deleted, because
      nobody sees one before it.
    - Whose run was deleted under its hands opens it again (`patience.persistent`), and finds the
      one that was kept.

    A run's models are treated likewise, and go with their run: who deletes a run deletes its models
    afterwards, and who makes a model looks afterwards whether its run is there. Both hold as long
    as a finished run stays finished: nothing sets it back, except that of two who resume the same
    interrupted run, one may reopen it just when the other has finished it, and then finishes it
    again.

    If others keep the store locked, each method waits up to `PATIENCE_SECONDS`, then raises one of
    `TRACKING_ERRORS`, as it does if MLflow fails.
    """

    @patient
    def __init__(
        self, experiment: str, page: Callable[[str], Mapping[str, str]] | None = None
    ) -> None:
        """Opens the store; creates it and the experiment if they do not exist yet.

        Args:
            experiment: its name.
            page: returns, for the experiment's id, the tags that its page shows; see
                `experiment_pages`. By default the tags stay as they are.
        """
        root = project_root()
        uri = tracking_uri()
        # Two processes must not create the same schema, experiment or run at the same time.
        self._lock = store_lock()
        with self._lock:
            self._client = _client()
            existing = self._client.get_experiment_by_name(experiment)
            if existing is not None and existing.lifecycle_stage != "active":
                raise DeletedExperimentError(existing)
            if existing is None:
                location = _artifact_location(uri, root)
                made = self._client.create_experiment(experiment, location)
                existing = self._client.get_experiment(made)
            self._experiment_id = existing.experiment_id
            present = existing.tags
            wanted = {**_SHOWN_AS, **(page(self._experiment_id) if page else {})}
            for key, value in wanted.items():
                # A description may be the user's own.
                if key not in present or (present[key] != value and key != NOTE):
                    self._client.set_experiment_tag(self._experiment_id, key, value)

    def lock(self) -> AbstractContextManager[object]:
        """Returns the lock that keeps every other process from opening the store."""
        return self._lock

    @patient
    def holds(self, run: Run, points: Collection[Point]) -> bool:
        """Returns whether the run already has all of these points."""
        return not self._missing(run, points)

    @patient
    def find(self, tags: Mapping[str, str]) -> Run | None:
        """Returns a run of the experiment that has these tags, or None."""
        asked = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        return next(
            iter(self._client.search_runs([self._experiment_id], asked, max_results=1)), None
        )

    @patient
    def open(self, record: RunRecord) -> Run:
        """Returns the run with this fingerprint: new, resumed, or as it is if it is finished."""
        with self._lock:
            runs = self._runs(record.fingerprint)
            if not runs:
                # It has its fingerprint from the start: without one nobody could find it again.
                started = None if record.started is None else int(record.started * 1000)
                self._client.create_run(self._experiment_id, started, _tags(record), record.name)
                runs = self._runs(record.fingerprint)
            first, *others = runs
            for run in others:
                if not is_finished(run) and _are_of_this_process(run.data.tags):
                    take_back(self._client, run)
            return first if is_finished(first) else self._resumed(first, record)

    def _resumed(self, run: Run, record: RunRecord) -> Run:
        """Returns an unfinished run with its record, as far as it is known before it is trained.

        The run will be finished here, so its lineage is that of here, not of where it was begun.
        """
        run_id = run.info.run_id
        # Another writer may have finished it since it was looked at.
        if run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        tags = _tags(record)
        for key in run.data.tags:
            if key.startswith(_LINEAGE_PREFIXES) and key not in tags:
                self._without(key, run_id)
        params = [Param(key, value) for key, value in record.params.items()]
        new_tags = [
            RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value
        ]
        self._client.log_batch(run_id, params=params, tags=new_tags)
        if record.data:
            inputs = [
                DatasetInput(dataset, [InputTag(_SPLIT, split)])
                for split, dataset in record.data.items()
            ]
            self._client.log_inputs(run_id, inputs)
        return self._client.get_run(run_id)

    def _without(self, key: str, run_id: str) -> None:
        """Removes a tag, unless another writer has."""
        try:
            self._client.delete_tag(run_id, key)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    @patient
    def log(self, run: Run, points: Collection[Point]) -> None:
        """Adds the points that the run lacks, or has with another value.

        Infinity and nan are left out: MLflow returns the one as a number, and fails on the other.
        The time of a point is made from its run's start, not from the clock: MLflow keeps a point
        once that two writers log, if they give it the same time.
        """
        datasets = _datasets(run)
        metrics = [
            Metric(
                point.key, point.value, time, point.step, model_id=point.model_id,
                **datasets.get(point.key.partition("/")[0], {}),
            )
            for point, time in self._missing(run, points)
        ]  # fmt: skip
        for start in range(0, len(metrics), _POINTS_PER_CALL):
            batch = metrics[start : start + _POINTS_PER_CALL]
            self._client.log_batch(run.info.run_id, metrics=batch)

    @patient
    def log_model(
        self, run: Run, folder: Path, data: TrainedOn, example: NDArray[np.generic]
    ) -> str:
        """Logs a run's model, if it has none yet, so that `mlflow.pyfunc.load_model` loads it.

        Does not call `mlflow.pyfunc.log_model`, which would load TensorFlow and each model to try
        its example.

        Args:
            run: the model's run.
            folder: has the model's architecture and weights.
            data: what the model was trained on.
            example: [examples, ...], an example of the model's input.

        Returns:
            The model's id.
        """
        models = models_of(self._client, run)
        if not models:
            self._client.create_logged_model(
                self._experiment_id, run.info.run_name, source_run_id=run.info.run_id,
                params=run.data.params, tags=_this_process(),
            )  # fmt: skip
            models = models_of(self._client, run)
        # Who deletes a run deletes its models after it, and so sees all that were made before.
        if self._client.get_run(run.info.run_id).info.lifecycle_stage == "deleted":
            for model in models:
                self._client.delete_logged_model(model.model_id)
            raise TakenBackError(f"the run {run.info.run_name} was deleted")
        first, *others = models
        for model in others:
            if not is_ready(model) and _are_of_this_process(model.tags):
                self._client.delete_logged_model(model.model_id)
        if not is_ready(first):
            # One that was written only in part is written again.
            self.write_model(first, folder, data, example)
            first = self._ready(run, first)
        if first.model_id not in self._outputs(run):
            self._client.log_outputs(run.info.run_id, [LoggedModelOutput(first.model_id, step=0)])
        return first.model_id

    def _ready(self, run: Run, written: LoggedModel) -> LoggedModel:
        """Marks a model as complete; returns the one that is kept if another writer did so too."""
        if not any(map(is_ready, models_of(self._client, run))):
            self._client.finalize_logged_model(written.model_id, "READY")
        first, *others = models_of(self._client, run) or [written]
        if not is_ready(first):
            raise TakenBackError(f"the model of {run.info.run_name} was deleted")
        for other in others:
            # One's own is not ready where another writer's was ready before.
            if is_ready(other) or _are_of_this_process(other.tags):
                self._client.delete_logged_model(other.model_id)
        return first

    def write_model(
        self,
        model: LoggedModel,
        folder: Path,
        data: TrainedOn,
        example: NDArray[np.generic],
    ) -> None:
        """Puts the files of a logged model where MLflow looks for them; see `log_model`.

        Raises:
            MissingInputError: if the run's model is not on disk, which is not MLflow's fault.
        """
        for path in (folder / name for name in _MODEL_FILES):
            if not path.exists():
                raise missing(path)
        with moving_files(), tempfile.TemporaryDirectory() as temporary:
            saved = f"{temporary}/model"
            # MLflow does not follow links, which DVC may have made into its cache. Other files stay
            # where they are, because MLflow records that place.
            files = {
                path.name: str(shutil.copy(path, temporary) if path.is_symlink() else path)
                for path in (folder / name for name in _MODEL_FILES)
            }
            mlflow.pyfunc.save_model(
                saved,
                mlflow_model=Model(
                    model.artifact_location,
                    model.source_run_id,
                    model_uuid=model.model_id,
                    model_id=model.model_id,
                ),
                python_model=str(_SERVED_MODEL),
                artifacts=files,
                signature=ModelSignature(
                    _input_schema(data),
                    Schema([TensorSpec(np.dtype(np.float32), (-1, len(data.classes)))]),
                ),
                input_example=_input_example(data, example),
                # Listed, because MLflow would import TensorFlow to infer them.
                pip_requirements=[f"{name}=={version(name)}" for name in _SERVING_PACKAGES],
            )
            # Beside the others, but not by way of MLflow, which would record its temporary path.
            beside = Path(saved, "artifacts", TRAINED_ON)
            beside.write_text(data.to_json(), encoding="utf-8")
            self._client.log_model_artifacts(model.model_id, saved)

    @patient
    def log_files(self, run: Run, contents: Mapping[str, bytes]) -> None:
        """Adds files to the run's artifacts: path there to content."""
        with moving_files(), tempfile.TemporaryDirectory() as folder:
            for name, content in contents.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._client.log_artifacts(run.info.run_id, folder)

    @patient
    def log_folder(self, run: Run, folder: Path, name: str) -> None:
        """Adds the files of a folder to the run's artifacts, below `name`."""
        with moving_files():
            self._client.log_artifacts(run.info.run_id, str(folder), name)

    @patient
    def describe(self, run: Run, description: str) -> None:
        """Sets the run's description, if it could not be given when the run was opened."""
        self._client.set_tag(run.info.run_id, NOTE, description)

    @patient
    def finish(self, run: Run, ended: float | None = None) -> Run:
        """Marks the run as complete; `ended` is in seconds since 1970, None means now.

        An end before the run's start counts as None: it belongs to an earlier training of the run.

        Returns:
            The finished run of this fingerprint: another one, if another writer had it first.
        """
        fingerprint = run.data.tags[FINGERPRINT]
        if not any(map(is_finished, self._runs(fingerprint))):
            end_time = None if ended is None else int(ended * 1000)
            if end_time is not None and end_time < run.info.start_time:
                end_time = None
            self._client.set_terminated(run.info.run_id, "FINISHED", end_time)
        first, *others = self._runs(fingerprint) or [run]
        if not is_finished(first):
            raise TakenBackError(f"the run {run.info.run_name} was deleted")
        for other in others:
            if is_finished(other) or other.info.run_id == run.info.run_id:
                take_back(self._client, other)
        return first

    @patient
    def leave(self, run: Run, status: Literal["SCHEDULED", "KILLED", "FAILED"]) -> None:
        """Marks the run as incomplete with nobody at work on it, unless it is finished.

        `open` resumes it. It is scheduled if all is well, and only what `track` adds is lacking.
        """
        # Another writer may have finished it.
        if not is_finished(self._client.get_run(run.info.run_id)):
            self._client.set_terminated(run.info.run_id, status)

    def analyze(self) -> None:
        """Keeps searches in an SQLite file fast as it grows; other databases see to it."""
        path = database()
        if path is not None:
            with self._lock:
                analyze(path)

    def _outputs(self, run: Run) -> set[str]:
        """Returns the ids of the models that are logged as the run's outputs."""
        outputs = self._client.get_run(run.info.run_id).outputs
        return {model.model_id for model in outputs.model_outputs} if outputs else set()

    def _missing(self, run: Run, points: Collection[Point]) -> list[tuple[Point, int]]:
        """Returns the finite points that the run, as it is now, lacks or has with another value.

        Returns:
            With each the time to log it at, in milliseconds since 1970: after the value that it
            replaces, because of several values at one step MLflow shows the latest.
        """
        points = [point for point in points if math.isfinite(point.value)]
        logged_keys = self._client.get_run(run.info.run_id).data.metrics.keys()
        latest = {
            (metric.key, metric.step): metric
            for key in {point.key for point in points} & logged_keys
            for metric in sorted(
                self._client.get_metric_history(run.info.run_id, key),
                key=lambda metric: (metric.timestamp, metric.value),
            )
        }
        missing = []
        for point in points:
            before = latest.get((point.key, point.step))
            if before is None:
                missing.append((point, run.info.start_time + point.step))
            elif before.value != point.value:
                missing.append((point, before.timestamp + 1))
        return missing

    def _runs(self, fingerprint: str) -> list[Run]:
        return runs_of(self._client, [self._experiment_id], fingerprint)


def _input_schema(data: TrainedOn) -> Schema:
    """Returns what the server takes: images as an array, features as columns with their names."""
    if data.features:
        return Schema([ColSpec("double", name) for name in data.features])
    return Schema([TensorSpec(np.dtype(np.uint8), (-1, *data.shape))])


def _input_example(
    data: TrainedOn, example: NDArray[np.generic]
) -> NDArray[np.generic] | pd.DataFrame:
    if not data.features:
        return example
    # By way of text, for 0.1 as float32 is 0.10000000149 as float64.
    values = example.astype(str).astype(np.float64)
    # Of text as pandas stores it by default, MLflow asks what pandas warns of.
    return pd.DataFrame(values, columns=pd.Index(data.features, dtype=object))


def is_finished(run: Run) -> bool:
    """Returns whether everything about the run has been logged."""
    return run.info.status == "FINISHED"


def is_ready(model: LoggedModel) -> bool:
    """Returns whether a model has all its files."""
    return model.status == LoggedModelStatus.READY


def shows(run: Run, points: Iterable[Point]) -> bool:
    """Returns whether the run, as it was when opened, has these points as its latest values."""
    finite = [point for point in points if math.isfinite(point.value)]
    return all(run.data.metrics.get(point.key) == point.value for point in finite)


def runs_of(client: MlflowClient, experiments: list[str], fingerprint: str) -> list[Run]:
    """Returns the runs with this fingerprint, in the order in which writers prefer them."""
    runs = paged(client.search_runs, experiments, f"tags.`{FINGERPRINT}` = '{fingerprint}'")
    return sorted(runs, key=run_order)


def run_order(run: Run) -> tuple[bool, int, str]:
    """Returns the place of a run among those of its fingerprint; see `Store`."""
    return not is_finished(run), run.info.start_time, run.info.run_id


def models_of(client: MlflowClient, run: Run) -> list[LoggedModel]:
    """Returns a run's models, in the order in which writers prefer them."""
    models = paged(
        client.search_logged_models,
        [run.info.experiment_id],
        f"source_run_id = '{run.info.run_id}'",
    )
    return sorted(models, key=model_order)


def model_order(model: LoggedModel) -> tuple[bool, int, str]:
    """Returns the place of a model among those of its run."""
    return not is_ready(model), model.creation_timestamp, model.model_id


def take_back(client: MlflowClient, run: Run) -> None:
    """Deletes a run that is there twice, with its models. MLflow keeps it, to be restored.

    The run first: another writer who makes a model for it looks afterwards whether it is there.
    """
    client.delete_run(run.info.run_id)
    for model in models_of(client, run):
        client.delete_logged_model(model.model_id)


def model_of(client: MlflowClient, run: Run) -> str | None:
    """Returns the id of the run's model, if it has one that is complete."""
    return next((model.model_id for model in models_of(client, run) if is_ready(model)), None)


def store_lock() -> FileLock:
    """Returns the lock that keeps every other process from changing the store.

    Waiting for it longer than `PATIENCE_SECONDS` raises one of `TRACKING_ERRORS`.
    """
    path = database()
    # Beside the database, which checkouts may share.
    folder = path.parent if path else project_root()
    return FileLock(folder / ".mlflow.lock", timeout=patience.PATIENCE_SECONDS)


@contextmanager
def moving_files() -> Iterator[None]:
    """Turns what a library that moves artifacts raises into MLflow's error.

    MLflow leaves that of S3, for one, as it is, and its errors have no class in common with others.
    """
    try:
        yield
    except (PipelineError, *TRACKING_ERRORS):
        raise
    except Exception as error:
        raise MlflowException(f"artifacts cannot be read or written: {error}") from error


@contextmanager
def asking() -> Iterator[None]:
    """Turns MLflow's errors into one line.

    Raises:
        PendingError: if MLflow does not answer, or fails.
    """
    try:
        yield
    except PipelineError:
        # It says already what is wrong with the store.
        raise
    except TRACKING_ERRORS as error:
        raise PendingError(f"MLflow does not answer: {in_a_line(error)}") from None


def existing_client() -> MlflowClient:
    """Returns a client of an existing store; MLflow itself would create one that is missing.

    Raises:
        MissingInputError: if the store is a file that does not exist, or is empty.
        HalfMadeError: if MLflow was stopped while it made the file.
    """
    path = database()
    if path is not None:
        if not is_there(path):
            raise missing(path)
        check(path)
    return _answering(tracking_uri())


def made_client() -> MlflowClient:
    """Returns a client of the store, which is made if it does not exist yet.

    Raises:
        HalfMadeError: if MLflow was stopped while it made the store's file.
    """
    path = database()
    if path is None or is_there(path):
        return existing_client()
    with store_lock():
        return _client()


def paged(search: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Returns the results of one of the client's searches, from all pages."""
    page = search(*arguments)
    results = list(page)
    while page.token:
        page = search(*arguments, page_token=page.token)
        results += page
    return results


def _datasets(run: Run) -> dict[str, dict[str, str]]:
    """Returns the arguments by which a metric names its dataset, by split."""
    return {
        tag.value: {"dataset_name": used.dataset.name, "dataset_digest": used.dataset.digest}
        for used in (run.inputs.dataset_inputs if run.inputs else ())
        for tag in used.tags
        if tag.key == _SPLIT
    }


def _client() -> MlflowClient:
    """Returns a client; makes the database if there is none. The caller holds the store's lock."""
    path = database()
    if path is not None:
        if not is_there(path):
            make(path)
        check(path)
    return _answering(tracking_uri())


def _answering(uri: str) -> MlflowClient:
    """Returns a client of a store that is there.

    A database of a server is asked whether it answers. MLflow would ask it ten times, for a hundred
    seconds in all.
    """
    if uri.startswith("postgresql"):
        connected(create_engine(uri, poolclass=NullPool)).close()
    return MlflowClient(uri)


def _this_process() -> dict[str, str]:
    """Returns tags by which `doctor` can tell whether this process still works on a run."""
    process = psutil.Process()
    return {
        HOST: platform.node(),
        PROCESS: str(process.pid),
        STARTED: str(process.create_time()),
    }


def _tags(record: RunRecord) -> dict[str, str]:
    """Returns the tags of a run that this process works on."""
    tags = {FINGERPRINT: record.fingerprint, **record.tags, **_this_process()}
    return tags | {NOTE: record.description} if record.description else tags


def _are_of_this_process(tags: Mapping[str, str]) -> bool:
    """Returns whether this process made the run or model that has these tags."""
    return tags.items() >= _this_process().items()


def _artifact_location(uri: str, root: Path) -> str | None:
    # A server decides for itself. A database would put them below the current folder.
    return None if uri.startswith("http") else (root / "mlartifacts").as_uri()
