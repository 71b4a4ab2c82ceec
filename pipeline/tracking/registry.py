"""MLflow's model registry: versions of a model, and which of them is the champion."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion

from pipeline.errors import MissingInputError, ParamsError
from pipeline.provenance.places import tracking_uri
from pipeline.tracking.patience import persistent
from pipeline.tracking.store import asking, existing_client, moving_files, paged, store_lock

CHAMPION = "champion"


class Registry:
    """The versions of one registered model."""

    def __init__(self, name: str) -> None:
        """Opens the store.

        Raises:
            MissingInputError: if it is a file that does not exist.
            PendingError: if MLflow does not answer.
        """
        with asking():
            self._client = existing_client()
        self.name = name
        # MLflow needs this to resolve the `models:/` address of a version.
        mlflow.set_tracking_uri(tracking_uri())
        self._lock = store_lock()

    def champion(self) -> ModelVersion | None:
        """Returns the version that has the alias `champion`, if there is one."""
        with asking():
            if self.name not in self._names():
                return None
            number = self._client.get_registered_model(self.name).aliases.get(CHAMPION)
            return self._client.get_model_version(self.name, number) if number else None

    @contextmanager
    def champion_folder(self) -> Iterator[tuple[str, Path]]:
        """Yields the champion's name and version, and a folder with its architecture and weights.

        Raises:
            MissingInputError: if there is no champion, or its files are lost.
            PendingError: if MLflow does not answer.
        """
        version = self.champion()
        if version is None:
            raise MissingInputError(
                f"{self.name} has no {CHAMPION} in MLflow's registry: "
                "`python -m pipeline promote` makes one"
            )
        with tempfile.TemporaryDirectory() as folder:
            with asking(), moving_files():
                mlflow.artifacts.download_artifacts(
                    f"models:/{self.name}/{version.version}", dst_path=folder
                )
            name = f"{self.name}@{CHAMPION}, version {version.version}"
            files = Path(folder, "artifacts")
            # If the files were moved or deleted, MLflow downloads nothing and does not complain.
            if not files.is_dir():
                raise MissingInputError(
                    f"the files of {name} are not in MLflow: run `python -m pipeline doctor`"
                )
            yield name, files

    def crown(
        self, model_id: str, run_id: str, tags: Mapping[str, str], description: str
    ) -> ModelVersion:
        """Gives the alias to a logged model, registering it if need be; returns its version.

        Args:
            model_id: of the logged model.
            run_id: of the run that made the model.
            tags: of the version; earlier values are replaced.
            description: of the version, likewise.

        Raises:
            ParamsError: if MLflow takes no model of this name.
            PendingError: if MLflow does not answer.
        """
        if {"/", ":"} & set(self.name):
            raise ParamsError(
                f"MLflow takes no model with a / or : in its name: rename `experiment`, which is "
                f"{self.name!r}, before a model is promoted (params.yaml, tracking)"
            )
        with asking(), self._lock:
            return self._crowned(model_id, run_id, tags, description)

    @persistent
    def _crowned(
        self, model_id: str, run_id: str, tags: Mapping[str, str], description: str
    ) -> ModelVersion:
        if self.name not in self._names():
            self._client.create_registered_model(self.name)
        if not self._versions(run_id):
            made = self._client.create_model_version(
                self.name, f"models:/{model_id}", run_id, model_id=model_id
            )
            # MLflow gives each number once, so of several who register the same model all but the
            # first see a lower one than theirs.
            if self._versions(run_id)[0].version != made.version:
                self._client.delete_model_version(self.name, made.version)
        version = self._versions(run_id)[0]
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, version.version, key, value)
        self._client.update_model_version(self.name, version.version, description)
        self._client.set_registered_model_alias(self.name, CHAMPION, version.version)
        return self._client.get_model_version(self.name, version.version)

    def _versions(self, run_id: str) -> list[ModelVersion]:
        """Returns the versions of a run, by number."""
        versions = paged(self._client.search_model_versions, f"run_id = '{run_id}'")
        return sorted(
            (version for version in versions if version.name == self.name),
            key=lambda version: int(version.version),
        )

    def _names(self) -> set[str]:
        # Without a filter: a quotation mark in the name would break it.
        return {model.name for model in paged(self._client.search_registered_models)}
