"""The MLflow store: a mirror of the files, found again by fingerprint, never written twice."""

from __future__ import annotations

import math
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import mlflow
import numpy as np
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
from mlflow.types import Schema, TensorSpec
from numpy.typing import NDArray
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import PendingError, one_line
from pipeline.files import missing
from pipeline.provenance.places import database, project_root, tracking_uri
from pipeline.runs.tables import ARCHITECTURE, WEIGHTS
from pipeline.tracking.experiment_pages import NOTE

# What a store that is gone, locked, damaged or without its driver may raise.
TRACKING_ERRORS = (MlflowException, SQLAlchemyError, OSError, ImportError)
FINGERPRINT = "bnlab.fingerprint"
# How long a store is waited for that others keep locked: longer than any of them should.
PATIENCE_SECONDS = 60
_LOCKED, _BREATH_SECONDS = "database is locked", 0.2
# MLflow takes no more points in one call.
_AT_ONCE = 1000
_OF_LINEAGE = ("git.", "dvc.", "lineage.", "mlflow.source.git.")
_SERVED_MODEL = Path(__file__).with_name("served_model.py")
# Which of its pages MLflow's UI opens first: those for training, not those for chat.
_SHOWN_AS = {"mlflow.experimentKind": "custom_model_development"}
_SPLIT = "mlflow.data.context"
_MODEL_FILES = (ARCHITECTURE, WEIGHTS)
_SERVED_WITH = ("keras", "numpy", "tensorflow")
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _patient(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Makes a call again as long as others keep the database locked, for `PATIENCE_SECONDS`.

    MLflow has SQLite wait for 20 s, while it opens a database for 5, and not at all where two would
    wait for each other. The call has to bear it: to add what is missing and nothing else.
    """

    @wraps(call)
    def again(*arguments: _P.args, **named: _P.kwargs) -> _T:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call(*arguments, **named)
            except (MlflowException, SQLAlchemyError) as error:
                if _LOCKED not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(_BREATH_SECONDS)

    return again


@dataclass(frozen=True)
class RunRecord:
    """A run as MLflow should show it.

    Attributes:
        fingerprint: what tells this run from every other.
        name: as shown in the list of runs.
        params: name to value.
        tags: name to value, its lineage among them.
        description: Markdown, shown on the run's page.
        data: what it learns from and is scored on, by split.
        started: when it began, in seconds since 1970; None for now.
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
        key: the metric's name: of a run `<split>/<score>`.
        value: may be nan or infinite.
        step: of a run the epoch, counting from 0; of a study's cell the seed.
        model_id: of the logged model whose score it is, if it is one's.
    """

    key: str
    value: float
    step: int = 0
    model_id: str | None = None


class Store:
    """The runs of one MLflow experiment.

    What others keep locked is waited for, up to `PATIENCE_SECONDS`; then each method raises one of
    `TRACKING_ERRORS`, as it does where MLflow fails.
    """

    @_patient
    def __init__(
        self, experiment: str, page: Callable[[str], Mapping[str, str]] | None = None
    ) -> None:
        """Opens the store, and creates it and the experiment where they are not there yet.

        Args:
            experiment: its name.
            page: of the experiment's id, what its page shows, as tags; see `experiment_pages`. By
                default that stays as it is.
        """
        root = project_root()
        uri = tracking_uri()
        # Two processes that create the same schema, experiment or run would trip over each other.
        self._lock = store_lock()
        with self._lock:
            self._client = _client(uri)
            known = self._client.get_experiment_by_name(experiment)
            self._experiment_id = (
                known.experiment_id
                if known
                else self._client.create_experiment(experiment, _artifact_location(uri, root))
            )
            shown = known.tags if known else {}
            to_show = {**_SHOWN_AS, **(page(self._experiment_id) if page else {})}
            for key, value in to_show.items():
                # A description may be somebody's own.
                if key not in shown or (shown[key] != value and key != NOTE):
                    self._client.set_experiment_tag(self._experiment_id, key, value)

    def alone(self) -> AbstractContextManager[object]:
        """Keeps every other process from opening the store while a block lasts."""
        return self._lock

    @_patient
    def holds(self, run: Run, points: Collection[Point]) -> bool:
        """Returns whether the run shows these points already, every one."""
        return not self._missing(run, points)

    @_patient
    def open(self, record: RunRecord) -> Run:
        """Returns the run of this fingerprint, created if there is none; one finished as it is."""
        with self._lock:
            found = self._client.search_runs(
                [self._experiment_id], f"tags.`{FINGERPRINT}` = '{record.fingerprint}'"
            )
            if found and is_finished(found[0]):
                return found[0]
            tags = {FINGERPRINT: record.fingerprint, **record.tags, **_this_process()}
            if record.description:
                tags[NOTE] = record.description
            if found:
                # What is going to be finished here was made here, not where it was broken off.
                run_id = found[0].info.run_id
                self._client.update_run(run_id, status="RUNNING")
                for key in found[0].data.tags:
                    if key.startswith(_OF_LINEAGE) and key not in tags:
                        self._client.delete_tag(run_id, key)
            else:
                # With its fingerprint from the first moment, or it could not be found again.
                started = None if record.started is None else int(record.started * 1000)
                run_id = self._client.create_run(
                    self._experiment_id, started, tags, record.name
                ).info.run_id
            params = [Param(key, value) for key, value in record.params.items()]
            shown = [RunTag(key, value) for key, value in tags.items()] if found else []
            self._client.log_batch(run_id, params=params, tags=shown)
            if record.data:
                used = record.data.items()
                self._client.log_inputs(
                    run_id, [DatasetInput(data, [InputTag(_SPLIT, split)]) for split, data in used]
                )
            return self._client.get_run(run_id)

    @_patient
    def log(self, run: Run, points: Collection[Point]) -> None:
        """Adds the points that the run does not have so.

        Infinity and nan stay away: MLflow gives the one back as a number, and trips over the other.
        """
        now = int(time.time() * 1000)
        used = _datasets(run)
        lacking = [
            Metric(
                point.key, point.value, now, point.step, model_id=point.model_id,
                **used.get(point.key.partition("/")[0], {}),
            )
            for point in self._missing(run, points)
        ]  # fmt: skip
        for start in range(0, len(lacking), _AT_ONCE):
            self._client.log_batch(run.info.run_id, metrics=lacking[start : start + _AT_ONCE])

    @_patient
    def log_model(self, run: Run, folder: Path, images: NDArray[np.uint8], classes: int) -> str:
        """Logs a run's model, if it has none yet, to be loaded by `mlflow.pyfunc.load_model`.

        Goes step by step where `mlflow.pyfunc.log_model` would load each model to try its example,
        and TensorFlow with it.

        Args:
            run: whose model it is.
            folder: where its architecture and weights lie.
            images: [examples, height, width], an example of what it takes.
            classes: number of probabilities that it returns for each image.

        Returns:
            The model's id.
        """
        run_id = run.info.run_id
        models = _models(self._client, run)
        if ready := _ready(models):
            return ready
        # One of which only a part was written is written again.
        broken_off = next(iter(models), None)
        model = broken_off or self._client.create_logged_model(
            self._experiment_id, run.info.run_name, source_run_id=run_id, params=run.data.params
        )
        self.write_model(model, folder, images, classes)
        if broken_off is None or model.model_id not in self._outputs(run):
            self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        self._client.finalize_logged_model(model.model_id, "READY")
        return model.model_id

    def write_model(
        self,
        model: LoggedModel,
        folder: Path,
        images: NDArray[np.uint8],
        classes: int,
    ) -> None:
        """Puts the files of a logged model where MLflow looks for them; see `log_model`.

        Raises:
            MissingInputError: if the run's are not there, which is not MLflow's fault.
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
                    Schema([TensorSpec(np.dtype(np.uint8), (-1, *images.shape[1:]))]),
                    Schema([TensorSpec(np.dtype(np.float32), (-1, classes))]),
                ),
                input_example=images,
                # Named, or MLflow would import TensorFlow to find out.
                pip_requirements=[f"{name}=={version(name)}" for name in _SERVED_WITH],
            )
            self._client.log_model_artifacts(model.model_id, saved)

    @_patient
    def log_files(self, run: Run, contents: Mapping[str, bytes]) -> None:
        """Adds files to the run's artifacts, given by their path there."""
        with _folder_of(contents) as folder:
            self._client.log_artifacts(run.info.run_id, folder)

    @_patient
    def log_folder(self, run: Run, folder: Path, name: str) -> None:
        """Adds the files of a folder to the run's artifacts, below `name`."""
        self._client.log_artifacts(run.info.run_id, str(folder), name)

    @_patient
    def describe(self, run: Run, description: str) -> None:
        """Gives the run a description that could not be told before it was opened."""
        self._client.set_tag(run.info.run_id, NOTE, description)

    @_patient
    def finish(self, run: Run, ended: float | None = None) -> None:
        """Marks the run as complete, ended in seconds since 1970; None for now.

        An end before the run's start counts as None: it is of an earlier training of the same.
        """
        at = None if ended is None else int(ended * 1000)
        if at is not None and at < run.info.start_time:
            at = None
        self._client.set_terminated(run.info.run_id, "FINISHED", at)

    @_patient
    def break_off(self, run: Run, status: Literal["KILLED", "FAILED"]) -> None:
        """Marks the run as not complete, and nobody at work on it; `open` takes it up again."""
        if not is_finished(run):
            self._client.set_terminated(run.info.run_id, status)

    def _outputs(self, run: Run) -> set[str]:
        """Returns the ids of the models that the run's page names."""
        outputs = self._client.get_run(run.info.run_id).outputs
        return {model.model_id for model in outputs.model_outputs} if outputs else set()

    def _missing(self, run: Run, points: Collection[Point]) -> list[Point]:
        """Returns the finite points that the run, as it is now, does not show so."""
        points = [point for point in points if math.isfinite(point.value)]
        known = self._client.get_run(run.info.run_id).data.metrics.keys()
        # Of several at one step the latest is shown: a value that comes back is missing again.
        shown = {
            (metric.key, metric.step): metric.value
            for key in {point.key for point in points} & known
            for metric in sorted(
                self._client.get_metric_history(run.info.run_id, key), key=lambda m: m.timestamp
            )
        }
        return [point for point in points if shown.get((point.key, point.step)) != point.value]


def is_finished(run: Run) -> bool:
    """Returns whether everything about the run has been logged."""
    return run.info.status == "FINISHED"


def shows(run: Run, points: Iterable[Point]) -> bool:
    """Returns whether the run, as it was when opened, has these as its latest values."""
    finite = [point for point in points if math.isfinite(point.value)]
    return all(run.data.metrics.get(point.key) == point.value for point in finite)


def model_of(client: MlflowClient, run: Run) -> str | None:
    """Returns the id of the run's model, if it has one with all its files."""
    return _ready(_models(client, run))


def store_lock() -> FileLock:
    """Returns what keeps every other process from changing the store while it is held.

    Whoever waits for it longer than `PATIENCE_SECONDS` gets one of `TRACKING_ERRORS`.
    """
    return FileLock(project_root() / ".mlflow.lock", timeout=PATIENCE_SECONDS)


@contextmanager
def asking() -> Iterator[None]:
    """Turns what MLflow raises into one line.

    Raises:
        PendingError: if it does not answer, or not as it should.
    """
    try:
        yield
    except TRACKING_ERRORS as error:
        raise PendingError(f"MLflow does not answer: {one_line(error)}") from None


def existing_client() -> MlflowClient:
    """Returns a client of the store that is there; asked for another, MLflow would make one.

    Raises:
        MissingInputError: if it is a file, and not there.
    """
    path = database()
    if path is not None and not path.exists():
        raise missing(path)
    return MlflowClient(tracking_uri())


def paged(search: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Returns what one of the client's searches finds, on all its pages."""
    page = search(*arguments)
    found = list(page)
    while page.token:
        page = search(*arguments, page_token=page.token)
        found += page
    return found


def _datasets(run: Run) -> dict[str, dict[str, str]]:
    """Returns how a metric names the data that it is of, by split."""
    return {
        tag.value: {"dataset_name": one.dataset.name, "dataset_digest": one.dataset.digest}
        for one in (run.inputs.dataset_inputs if run.inputs else ())
        for tag in one.tags
        if tag.key == _SPLIT
    }


def _models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    return paged(
        client.search_logged_models,
        [run.info.experiment_id],
        f"source_run_id = '{run.info.run_id}'",
    )


def _ready(models: Iterable[LoggedModel]) -> str | None:
    """Returns the id of the first model that has all its files."""
    ready = (model.model_id for model in models if model.status == LoggedModelStatus.READY)
    return next(ready, None)


def _client(uri: str) -> MlflowClient:
    """Returns a client, the database made where there is none yet.

    Hundreds of statements make its schema. That each waits for the disk would take a second and
    save nothing; the first that writes something to be kept brings the whole file there.
    """
    path = database()
    if path is None or path.exists():
        return MlflowClient(uri)
    opened: list[sqlite3.Connection] = []

    def hurry(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        opened.append(connection)

    event.listen(Engine, "connect", hurry)
    try:
        return MlflowClient(uri)
    finally:
        event.remove(Engine, "connect", hurry)
        for connection in opened:
            with suppress(sqlite3.ProgrammingError):  # Some are closed by now.
                connection.execute("PRAGMA synchronous = FULL")


@contextmanager
def _folder_of(contents: Mapping[str, bytes]) -> Iterator[str]:
    """Yields a folder with these files, given by their path there, for as long as a block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield folder


def _this_process() -> dict[str, str]:
    """Returns by what to tell whether somebody still works on a run; see `pipeline doctor`."""
    process = psutil.Process()
    return {
        "process.host": platform.node(),
        "process.id": str(process.pid),
        "process.started": str(process.create_time()),
    }


def _artifact_location(uri: str, root: Path) -> str | None:
    # A server decides for itself; a database would put them below the current folder, wherever.
    return None if uri.startswith("http") else (root / "mlartifacts").as_uri()
