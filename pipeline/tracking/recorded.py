"""Runs as MLflow holds them: found by what a person types, and read back."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Run

from pipeline.errors import ArgumentError, DataError, MissingInputError, one_line
from pipeline.params import Network, Training, Variant
from pipeline.provenance.places import tracking_uri
from pipeline.runs.manifest import Manifest, read_manifest, trained_variants
from pipeline.tracking import store
from pipeline.tracking.comparison import COMPARED
from pipeline.tracking.records import MANIFEST, PATCH
from pipeline.tracking.store import FINGERPRINT, asking, existing_client, paged, store_lock
from pipeline.training.normalization import NORMALIZATIONS

COMMIT = "mlflow.source.git.commit"
# How many candidates a message names.
_NAMED = 5


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A run as MLflow holds it.

    Attributes:
        id: MLflow's.
        name: as shown in the list of runs.
        manifest: from what it was made; it names this run's seed alone.
        lineage: its tags.
        history: columns `seed, epoch, split, loss, accuracy`; scores that were not finite are not
            there.
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
        """The commit it was made at, for people."""
        dirty = " with changes" if self.lineage.get("git.dirty") == "true" else ""
        return f"{self.lineage.get(COMMIT, 'unknown')[:7]}{dirty}"

    @property
    def variant(self) -> Variant:
        """The variant that it was a run of, with its seed alone.

        Raises:
            DataError: if the recorded parameters are none that this version knows.
        """
        rest = dict(self.manifest.parameters)
        try:
            normalization = NORMALIZATIONS[rest.pop("normalization")]
            network, training = rest.pop("network"), rest.pop("training")
            return Variant(
                label=self.manifest.variant.replace("_", " "),
                network=Network(**network),
                training=Training(**training, seeds=1),
                normalization=normalization(**rest),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"{self.name} has unknown parameters: {one_line(error)}") from None


def find(text: str) -> Run:
    """Returns the run of this id, name, or unique prefix of either.

    Where many runs carry a name, as they do after an ablation, that whose files are in `runs/` is
    meant.

    Raises:
        MissingInputError: if there is no such run, or no store.
        ArgumentError: if there are several.
        PendingError: if MLflow does not answer.
    """
    # Letters that would mean something in a filter are in no id and no name of ours.
    if not re.fullmatch(r"[\w.-]+", text):
        raise MissingInputError(f"no run in MLflow is called {text!r}")
    for condition in (f"attributes.run_id = '{text}'", f"attributes.run_name = '{text}'"):
        if found := _search(condition):
            return _only(found, text)
    found = {
        run.info.run_id: run
        for key in ("run_id", "run_name")
        for run in _search(f"attributes.{key} LIKE '{text}%'")
        if getattr(run.info, key).startswith(text)  # In LIKE, `_` is any letter.
    }
    if not found:
        raise MissingInputError(f"no run in MLflow has an id or name that starts with {text!r}")
    return _only(list(found.values()), text)


def find_by_fingerprint(fingerprint: str) -> Run | None:
    """Returns the finished run of this fingerprint, if there is one."""
    found = _search(f"tags.`{FINGERPRINT}` = '{fingerprint}' and attributes.status = 'FINISHED'")
    return found[0] if found else None


def read(run: Run) -> RecordedRun:
    """Returns what MLflow holds of a run.

    Raises:
        DataError: if it was recorded without its manifest, or is no run of one seed.
    """
    with asking():
        tags = run.data.tags
        name = run.info.run_name or run.info.run_id
        if tags.get("kind") != "run":
            raise ArgumentError(
                f"{name} is no trained run, but a {tags.get('kind', 'foreign run')}"
            )
        text = _read_artifact(run.info.run_id, MANIFEST)
        if text is None:
            raise DataError(f"{name} holds no {MANIFEST}: it is not finished, or of an older bnlab")
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
            raise DataError(f"{run.info.run_name} holds no {COMPARED}: it is of an older bnlab")
        return [existing_client().get_run(run_id) for run_id in json.loads(content)]


def read_patch(run: RecordedRun) -> bytes:
    """Returns what the checkout had beyond its commit when the run was made."""
    with asking():
        return _read_artifact(run.id, PATCH) or b""


def model_of(run: Run) -> str | None:
    """Returns the id of a run's model, if it has one."""
    with asking():
        return store.model_of(existing_client(), run)


@contextmanager
def model_folder(run: RecordedRun) -> Iterator[Path]:
    """Yields a folder with the run's architecture and weights, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        with asking():
            model_id = model_of(existing_client().get_run(run.id))
            if model_id is None:
                raise DataError(f"{run.name} holds no model")
            mlflow.set_tracking_uri(tracking_uri())
            mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=folder)
        yield Path(folder) / "artifacts"


def note_reproduction(run: RecordedRun, outcome: str) -> None:
    """Adds a line about a reproduction to the run's tags, and counts it."""
    with asking(), store_lock():
        client = existing_client()
        count = int(client.get_run(run.id).data.tags.get("reproductions", 0)) + 1
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        client.set_tag(run.id, f"reproduction.{count}", f"{at}: {outcome}")
        client.set_tag(run.id, "reproductions", str(count))


def _search(condition: str) -> list[Run]:
    with asking():
        client = existing_client()
        experiments = [one.experiment_id for one in paged(client.search_experiments)]
        return paged(client.search_runs, experiments, condition)


def _only(found: list[Run], text: str) -> Run:
    if len(found) == 1:
        return found[0]
    here = _fingerprints_here()
    present = [run for run in found if run.data.tags.get(FINGERPRINT) in here]
    if len(present) == 1:
        return present[0]
    named = ", ".join(f"{run.info.run_name} ({run.info.run_id[:8]})" for run in found[:_NAMED])
    more = ", …" if len(found) > _NAMED else ""
    raise ArgumentError(f"{text!r} is not one run but {len(found)}: {named}{more}; give an id")


def _fingerprints_here() -> set[str]:
    return {
        fingerprint
        for variant in trained_variants()
        for fingerprint in read_manifest(variant).fingerprints()
    }


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
    if path not in {one.path for one in client.list_artifacts(run_id, folder)}:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        return Path(client.download_artifacts(run_id, path, temporary)).read_bytes()
