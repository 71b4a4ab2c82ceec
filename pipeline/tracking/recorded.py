"""Runs recorded in MLflow: finds the run a user names, and reads it back."""

from __future__ import annotations

import json
import re
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Run, ViewType

from pipeline.errors import ArgumentError, DataError, MissingInputError, one_line
from pipeline.params import Training, Variant
from pipeline.provenance.places import tracking_uri
from pipeline.runs.manifest import Manifest, read_manifest, trained_variants
from pipeline.tracking import store
from pipeline.tracking.comparison import COMPARED
from pipeline.tracking.patience import patient
from pipeline.tracking.records import MANIFEST, PATCH, run_name
from pipeline.tracking.store import (
    FINGERPRINT,
    DeletedExperimentError,
    asking,
    existing_client,
    moving_files,
    paged,
    run_order,
    store_lock,
)
from pipeline.training.network_file import network_class
from pipeline.training.normalization import NORMALIZATIONS

COMMIT = "mlflow.source.git.commit"
# A tag for each reproduction of a run, and the tag that counts them.
_REPRODUCTION, _REPRODUCTIONS = "reproduction.", "reproductions"
# How many candidates a message names.
_NAMED = 5


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A run as recorded in MLflow.

    Attributes:
        id: MLflow's id of the run.
        name: as shown in the list of runs.
        manifest: of this run; it names this run's seed only.
        lineage: the run's tags.
        history: columns `seed, epoch, split, loss, accuracy`, without scores that were not finite.
        test: scores on the test set, by name.
    """

    id: str
    name: str
    manifest: Manifest
    lineage: dict[str, str]
    history: pd.DataFrame
    test: dict[str, float]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.manifest.seeds[0]

    @property
    def commit(self) -> str:
        """The commit it was made at, in short and readable form."""
        dirty = " with changes" if self.lineage.get("git.dirty") == "true" else ""
        return f"{self.lineage.get(COMMIT, 'unknown')[:7]}{dirty}"

    @property
    def variant(self) -> Variant:
        """The variant that it was a run of, with one seed.

        Raises:
            DataError: if this version does not know the recorded parameters.
        """
        rest = dict(self.manifest.parameters)
        try:
            normalization = NORMALIZATIONS[rest.pop("normalization")]
            network, training = rest.pop("network"), rest.pop("training")
            return Variant(
                label=self.manifest.variant.replace("_", " "),
                network=network_class(network["code"])(**network),
                training=Training(**training, seeds=1),
                normalization=normalization(**rest),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"{self.name} has unknown parameters: {one_line(error)}") from None


def find(text: str) -> Run:
    """Returns the run with this id or name, or with a unique prefix of either.

    If several runs match, as they do after an ablation, the one whose files are in `runs/` is
    returned.

    Raises:
        MissingInputError: if there is no such run, or no store.
        ArgumentError: if several runs match.
        PendingError: if MLflow does not answer.
    """
    # No id or name of ours has characters that mean something in a filter.
    if not re.fullmatch(r"[\w.-]+", text):
        raise MissingInputError(f"no run in MLflow is called {text!r}")
    conditions = [f"attributes.{key} = '{text}'" for key in ("run_id", "run_name")]
    for condition in conditions:
        if matches := _search(condition):
            return _only(matches, text)
    by_id = {
        run.info.run_id: run
        for key in ("run_id", "run_name")
        for run in _search(f"attributes.{key} LIKE '{text}%'", key, text)
    }
    if by_id:
        return _only(list(by_id.values()), text)
    for condition in conditions:
        _expect_none_deleted(condition)
    raise MissingInputError(f"no run in MLflow has an id or name that starts with {text!r}")


def find_by_fingerprint(fingerprint: str) -> Run | None:
    """Returns the finished run with this fingerprint, if there is one.

    Raises:
        DeletedExperimentError: if its experiment was deleted.
        PendingError: if MLflow does not answer.
    """
    condition = f"tags.`{FINGERPRINT}` = '{fingerprint}' and attributes.status = 'FINISHED'"
    runs = sorted(_search(condition), key=run_order)
    if not runs:
        _expect_none_deleted(condition)
    return runs[0] if runs else None


def read(run: Run) -> RecordedRun:
    """Returns a run as recorded in MLflow.

    Raises:
        ArgumentError: if it is not a trained run, but a comparison, say.
        DataError: if it was recorded without its manifest.
    """
    with asking():
        tags = run.data.tags
        name = run.info.run_name or run.info.run_id
        if tags.get("kind") != "run":
            raise ArgumentError(
                f"{name} is not a trained run, but a {tags.get('kind', 'foreign run')}"
            )
        text = _read_artifact(run.info.run_id, MANIFEST)
        if text is None:
            raise DataError(
                f"{name} holds no {MANIFEST}: it is of an older bnlab, or unfinished, and then "
                "`python -m pipeline track` where it was trained finishes it"
            )
        manifest = Manifest.from_json(text.decode(), f"{MANIFEST} of {name}")
        metrics = run.data.metrics.items()
        return RecordedRun(
            id=run.info.run_id,
            name=name,
            manifest=manifest,
            lineage=tags,
            history=_history(run, manifest.seeds[0]),
            test={key[5:]: value for key, value in metrics if key.startswith("test/")},
        )


def read_compared(run: Run) -> list[Run]:
    """Returns the runs that a comparison compared."""
    with asking():
        content = _read_artifact(run.info.run_id, COMPARED)
        if content is None:
            raise DataError(
                f"{run.info.run_name} holds no {COMPARED}: it was recorded by an older bnlab"
            )
        return [existing_client().get_run(run_id) for run_id in json.loads(content)]


def read_patch(run: RecordedRun) -> bytes:
    """Returns the checkout's uncommitted changes when the run was made, as a patch."""
    with asking():
        return _read_artifact(run.id, PATCH) or b""


def model_of(run: Run) -> str | None:
    """Returns the id of a run's model, if it has one."""
    with asking():
        return store.model_of(existing_client(), run)


@contextmanager
def model_folder(run: RecordedRun) -> Iterator[Path]:
    """Yields a temporary folder with the run's architecture and weights."""
    with tempfile.TemporaryDirectory() as folder:
        with asking():
            model_id = model_of(existing_client().get_run(run.id))
            if model_id is None:
                raise DataError(f"{run.name} holds no model")
            # The argument `tracking_uri` does not reach what resolves `models:/`.
            mlflow.set_tracking_uri(tracking_uri())
            with moving_files():
                mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=folder)
        yield Path(folder) / "artifacts"


def note_reproduction(run: RecordedRun, outcome: str) -> None:
    """Adds a line about a reproduction to the run's tags, and counts it.

    Another clone may do so at the same time, so the line has a name that nobody else gives, and who
    has counted looks again.
    """
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    with asking(), store_lock():
        _note(run.id, f"{_REPRODUCTION}{now} {uuid.uuid4().hex[:6]}", outcome)


@patient
def _note(run_id: str, name: str, outcome: str) -> None:
    client = existing_client()
    client.set_tag(run_id, name, outcome)
    counted = None
    while counted != (count := _reproductions(client.get_run(run_id).data.tags)):
        client.set_tag(run_id, _REPRODUCTIONS, str(count))
        counted = count


def _reproductions(tags: Mapping[str, str]) -> int:
    return sum(name.startswith(_REPRODUCTION) for name in tags)


def _search(condition: str, key: str = "run_id", start: str = "") -> list[Run]:
    """Returns the first few runs that match; there may be thousands of one name.

    Args:
        condition: a filter of MLflow.
        key: an attribute of runs.
        start: how it has to start. In LIKE, `_` matches any character.
    """
    with asking():
        client = existing_client()
        experiments = [experiment.experiment_id for experiment in paged(client.search_experiments)]
        runs, token = [], None
        while len(runs) <= _NAMED:
            page = client.search_runs(
                experiments, condition, max_results=_NAMED + 1, page_token=token
            )
            runs += [run for run in page if getattr(run.info, key).startswith(start)]
            token = page.token
            if not token:
                break
        return runs


def _expect_none_deleted(condition: str) -> None:
    """Makes sure that no run that matches is in an experiment that was deleted.

    Raises:
        DeletedExperimentError: if one is.
    """
    with asking():
        client = existing_client()
        deleted = {
            experiment.experiment_id: experiment
            for experiment in paged(client.search_experiments, ViewType.DELETED_ONLY)
        }
        if deleted:
            runs = client.search_runs(list(deleted), condition, ViewType.ALL, max_results=1)
            for run in runs:
                raise DeletedExperimentError(deleted[run.info.experiment_id])


def _only(matches: list[Run], text: str) -> Run:
    """Returns the only run, or the only one of that name whose files are in `runs/`."""
    if len(matches) == 1:
        return matches[0]
    here = [
        fingerprint
        for variant in trained_variants()
        for fingerprint, seed in read_manifest(variant).fingerprints().items()
        if run_name(variant, seed).startswith(text)
    ]
    if len(here) == 1 and (runs := _search(f"tags.`{FINGERPRINT}` = '{here[0]}'")):
        return min(runs, key=run_order)
    names = ", ".join(f"{run.info.run_name} ({run.info.run_id[:8]})" for run in matches[:_NAMED])
    more = ", …" if len(matches) > _NAMED else ""
    raise ArgumentError(f"{text!r} is not one run but several: {names}{more}; give an id")


def _history(run: Run, seed: int) -> pd.DataFrame:
    client, scores = existing_client(), {}
    for key in run.data.metrics:
        split, _, score = key.partition("/")
        if split in ("train", "validation"):
            for point in client.get_metric_history(run.info.run_id, key):
                scores.setdefault((point.step, split), {})[score] = point.value
    rows = [
        {"seed": seed, "epoch": epoch, "split": split, **values}
        for (epoch, split), values in sorted(scores.items())
    ]
    return pd.DataFrame(rows, columns=["seed", "epoch", "split", "loss", "accuracy"])


def _read_artifact(run_id: str, path: str) -> bytes | None:
    client, folder = existing_client(), str(Path(path).parent)
    with moving_files(), tempfile.TemporaryDirectory() as temporary:
        if path not in {artifact.path for artifact in client.list_artifacts(run_id, folder)}:
            return None
        return Path(client.download_artifacts(run_id, path, temporary)).read_bytes()
