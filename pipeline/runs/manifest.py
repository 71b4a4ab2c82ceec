"""Manifests: from what runs were made. Their hashes are fingerprints, by which runs are found."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.files import damaged, missing, write_text
from pipeline.runs.tables import HERE, RUNS


@dataclass(frozen=True)
class Manifest:
    """From what a variant's runs were made; the same packages make the same runs from it again.

    Attributes:
        variant: its name in params.yaml.
        parameters: its normalisation, network and training, with overrides applied.
        seeds: of its runs.
        data_sha256: hash of the prepared data.
        code_sha256: hash of the code that training depends on.
    """

    variant: str
    parameters: dict[str, Any]
    seeds: tuple[int, ...]
    data_sha256: str
    code_sha256: str

    def fingerprint(self, seed: int) -> str:
        """Returns the hash that identifies one run, whatever other seeds were trained with it."""
        inputs = asdict(self) | {"seeds": seed}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def fingerprints(self) -> dict[str, int]:
        """Returns the seeds of its runs, by fingerprint."""
        return {self.fingerprint(seed): seed for seed in self.seeds}

    def settings_sha256(self) -> str:
        """Returns the hash that identifies the variant with its settings, whatever its seeds."""
        return hashlib.sha256(replace(self, seeds=()).to_json().encode()).hexdigest()

    def only(self, seed: int) -> Manifest:
        """Returns the manifest of one of its runs."""
        return replace(self, seeds=(seed,))

    def to_json(self) -> str:
        """Returns the content of its file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: object) -> Manifest:
        """Returns the manifest that `to_json` wrote; errors name `source`.

        Raises:
            DataError: if it is not a manifest.
        """
        try:
            values = json.loads(text)
            seeds = tuple(values.pop("seeds"))
            return cls(seeds=seeds, **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise damaged(source, error) from None


def write_manifest(manifest: Manifest) -> None:
    """Writes `manifest.json` into the variant's folder."""
    write_text(RUNS / manifest.variant / "manifest.json", manifest.to_json())


def read_manifest(variant: str, root: Path = HERE) -> Manifest:
    """Returns the manifest that `write_manifest` wrote.

    Raises:
        MissingInputError: if there is none.
        DataError: if it is damaged.
    """
    path = root / RUNS / variant / "manifest.json"
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, error) from None


def trained_variants() -> list[str]:
    """Returns the variants that have a manifest, whether or not params.yaml has them."""
    return sorted(path.parent.name for path in RUNS.glob("*/manifest.json"))
