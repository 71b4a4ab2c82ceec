"""The MLflow store: it mirrors the files, finds runs by fingerprint, and records nothing twice."""

from __future__ import annotations

import math
import platform
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import mlflow
import numpy as np
import pandas as pd
import psutil
from filelock import FileLock
from mlflow.entities import (
    Dataset,
    DatasetInput,
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
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import PendingError, one_line
from pipeline.files import missing
from pipeline.provenance.places import database, project_root, tracking_uri
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS
from pipeline.tracking.database import HalfMadeError, check, is_there, make
from pipeline.tracking.experiment_pages import NOTE
from pipeline.tracking.trained_on import TRAINED_ON, TrainedOn

# The errors of a store that is gone, locked, damaged, half made or lacks its driver.
TRACKING_ERRORS = (MlflowException, SQLAlchemyError, HalfMadeError, OSError, ImportError)
FINGERPRINT = "bnlab.fingerprint"
# How long to wait for a store that others keep locked: longer than any of them should hold it.
PATIENCE_SECONDS = 60
_LOCKED, _RETRY_SECONDS = "database is locked", 0.2
# The most points that MLflow takes in one call.
_POINTS_PER_CALL = 1000
_LINEAGE_PREFIXES = ("git.", "dvc.", "lineage.", "mlflow.source.git.")
_SERVED_MODEL = Path(__file__).with_name("served_model.py")
# Makes MLflow's UI open its pages for training, not those for chat.
_SHOWN_AS = {"mlflow.experimentKind": "custom_model_development"}
_SPLIT = "mlflow.data.context"
_MODEL_FILES = (ARCHITECTURE, WEIGHTS)
_SERVING_PACKAGES = ("keras", "numpy", "tensorflow")
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _patient(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Retries a call while others keep the database locked, for up to `PATIENCE_SECONDS`.

    With MLflow, SQLite waits up to 20 s; up to 5 s while a database is being opened; and not at all
    where two writers would wait for each other. The call must be safe to repeat: it may only add
    what is missing.
    """

    @wraps(call)
    def retry(*arguments: _P.args, **keywords: _P.kwargs) -> _T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call(*arguments, **keywords)
            except (MlflowException, SQLAlchemyError) as error:
                if _LOCKED not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_SECONDS)

    return retry


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
    """The runs of one MLflow experiment.

    If others keep the store locked, each method waits up to `PATIENCE_SECONDS`, then raises one of
    `TRACKING_ERRORS`, as it does if MLflow fails.
    """

    @_patient
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
            self._experiment_id = (
                existing.experiment_id
                if existing
                else self._client.create_experiment(experiment, _artifact_location(uri, root))
            )
            present = existing.tags if existing else {}
            wanted = {**_SHOWN_AS, **(page(self._experiment_id) if page else {})}
            for key, value in wanted.items():
                # A description may be the user's own.
                if key not in present or (present[key] != value and key != NOTE):
                    self._client.set_experiment_tag(self._experiment_id, key, value)

    def lock(self) -> AbstractContextManager[object]:
        """Returns the lock that keeps every other process from opening the store."""
        return self._lock

    @_patient
    def holds(self, run: Run, points: Collection[Point]) -> bool:
        """Returns whether the run already has all of these points."""
        return not self._missing(run, points)

    @_patient
    def open(self, record: RunRecord) -> Run:
        """Returns the run with this fingerprint: new, resumed, or as it is if it is finished."""
        with self._lock:
            matches = self._client.search_runs(
                [self._experiment_id], f"tags.`{FINGERPRINT}` = '{record.fingerprint}'"
            )
            if matches and is_finished(matches[0]):
                return matches[0]
            tags = {FINGERPRINT: record.fingerprint, **record.tags, **_this_process()}
            if record.description:
                tags[NOTE] = record.description
            if matches:
                # The run is finished here, so its lineage is that of here, not of where it was
                # interrupted.
                run_id = matches[0].info.run_id
                self._client.update_run(run_id, status="RUNNING")
                for key in matches[0].data.tags:
                    if key.startswith(_LINEAGE_PREFIXES) and key not in tags:
                        self._client.delete_tag(run_id, key)
            else:
                # It has its fingerprint from the start: without one it could not be found again.
                started = None if record.started is None else int(record.started * 1000)
                run_id = self._client.create_run(
                    self._experiment_id, started, tags, record.name
                ).info.run_id
            params = [Param(key, value) for key, value in record.params.items()]
            new_tags = [RunTag(key, value) for key, value in tags.items()] if matches else []
            self._client.log_batch(run_id, params=params, tags=new_tags)
            if record.data:
                inputs = [
                    DatasetInput(dataset, [InputTag(_SPLIT, split)])
                    for split, dataset in record.data.items()
                ]
                self._client.log_inputs(run_id, inputs)
            return self._client.get_run(run_id)

    @_patient
    def log(self, run: Run, points: Collection[Point]) -> None:
        """Adds the points that the run lacks, or has with another value.

        Infinity and nan are left out: MLflow returns the one as a number, and fails on the other.
        """
        now = int(time.time() * 1000)
        datasets = _datasets(run)
        metrics = [
            Metric(
                point.key, point.value, now, point.step, model_id=point.model_id,
                **datasets.get(point.key.partition("/")[0], {}),
            )
            for point in self._missing(run, points)
        ]  # fmt: skip
        for start in range(0, len(metrics), _POINTS_PER_CALL):
            batch = metrics[start : start + _POINTS_PER_CALL]
            self._client.log_batch(run.info.run_id, metrics=batch)

    @_patient
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
        run_id = run.info.run_id
        models = _models(self._client, run)
        if ready := _ready(models):
            return ready
        # A model that was written only in part is written again.
        partial = next(iter(models), None)
        model = partial or self._client.create_logged_model(
            self._experiment_id, run.info.run_name, source_run_id=run_id, params=run.data.params
        )
        self.write_model(model, folder, data, example)
        if partial is None or model.model_id not in self._outputs(run):
            self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        self._client.finalize_logged_model(model.model_id, "READY")
        return model.model_id

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
        with tempfile.TemporaryDirectory() as temporary:
            saved = f"{temporary}/model"
            mlflow.pyfunc.save_model(
                saved,
                mlflow_model=Model(
                    model.artifact_location,
                    model.source_run_id,
                    model_uuid=model.model_id,
                    model_id=model.model_id,
                ),
                python_model=str(_SERVED_MODEL),
                artifacts={name: str(folder / name) for name in _MODEL_FILES},
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

    @_patient
    def log_files(self, run: Run, contents: Mapping[str, bytes]) -> None:
        """Adds files to the run's artifacts: path there to content."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in contents.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._client.log_artifacts(run.info.run_id, folder)

    @_patient
    def log_folder(self, run: Run, folder: Path, name: str) -> None:
        """Adds the files of a folder to the run's artifacts, below `name`."""
        self._client.log_artifacts(run.info.run_id, str(folder), name)

    @_patient
    def describe(self, run: Run, description: str) -> None:
        """Sets the run's description, if it could not be given when the run was opened."""
        self._client.set_tag(run.info.run_id, NOTE, description)

    @_patient
    def finish(self, run: Run, ended: float | None = None) -> None:
        """Marks the run as complete; `ended` is in seconds since 1970, None means now.

        An end before the run's start counts as None: it belongs to an earlier training of the run.
        """
        end_time = None if ended is None else int(ended * 1000)
        if end_time is not None and end_time < run.info.start_time:
            end_time = None
        self._client.set_terminated(run.info.run_id, "FINISHED", end_time)

    @_patient
    def mark_interrupted(self, run: Run, status: Literal["KILLED", "FAILED"]) -> None:
        """Marks the run as incomplete with nobody at work on it, unless it is finished.

        `open` resumes it.
        """
        if not is_finished(run):
            self._client.set_terminated(run.info.run_id, status)

    def _outputs(self, run: Run) -> set[str]:
        """Returns the ids of the models that are logged as the run's outputs."""
        outputs = self._client.get_run(run.info.run_id).outputs
        return {model.model_id for model in outputs.model_outputs} if outputs else set()

    def _missing(self, run: Run, points: Collection[Point]) -> list[Point]:
        """Returns the finite points that the run, as it is now, lacks or has with another value."""
        points = [point for point in points if math.isfinite(point.value)]
        logged_keys = self._client.get_run(run.info.run_id).data.metrics.keys()
        # Of several values at one step MLflow shows the latest, so only the latest counts here.
        latest = {
            (metric.key, metric.step): metric.value
            for key in {point.key for point in points} & logged_keys
            for metric in sorted(
                self._client.get_metric_history(run.info.run_id, key), key=lambda m: m.timestamp
            )
        }
        return [point for point in points if latest.get((point.key, point.step)) != point.value]


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


def shows(run: Run, points: Iterable[Point]) -> bool:
    """Returns whether the run, as it was when opened, has these points as its latest values."""
    finite = [point for point in points if math.isfinite(point.value)]
    return all(run.data.metrics.get(point.key) == point.value for point in finite)


def model_of(client: MlflowClient, run: Run) -> str | None:
    """Returns the id of the run's model, if it has one that is complete."""
    return _ready(_models(client, run))


def store_lock() -> FileLock:
    """Returns the lock that keeps every other process from changing the store.

    Waiting for it longer than `PATIENCE_SECONDS` raises one of `TRACKING_ERRORS`.
    """
    path = database()
    # Beside the database, which checkouts may share.
    folder = path.parent if path else project_root()
    return FileLock(folder / ".mlflow.lock", timeout=PATIENCE_SECONDS)


@contextmanager
def asking() -> Iterator[None]:
    """Turns MLflow's errors into one line.

    Raises:
        PendingError: if MLflow does not answer, or fails.
    """
    try:
        yield
    except TRACKING_ERRORS as error:
        raise PendingError(f"MLflow does not answer: {one_line(error)}") from None


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
    return MlflowClient(tracking_uri())


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


def _models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    return paged(
        client.search_logged_models,
        [run.info.experiment_id],
        f"source_run_id = '{run.info.run_id}'",
    )


def _ready(models: Iterable[LoggedModel]) -> str | None:
    """Returns the id of the first model that is complete."""
    ready = (model.model_id for model in models if model.status == LoggedModelStatus.READY)
    return next(ready, None)


def _client() -> MlflowClient:
    """Returns a client; makes the database if there is none. The caller holds the store's lock."""
    path = database()
    if path is not None:
        if not is_there(path):
            make(path)
        check(path)
    return MlflowClient(tracking_uri())


def _this_process() -> dict[str, str]:
    """Returns tags by which `doctor` can tell whether this process still works on a run."""
    process = psutil.Process()
    return {
        "process.host": platform.node(),
        "process.id": str(process.pid),
        "process.started": str(process.create_time()),
    }


def _artifact_location(uri: str, root: Path) -> str | None:
    # A server decides for itself. A database would put them below the current folder.
    return None if uri.startswith("http") else (root / "mlartifacts").as_uri()
