"""From what runs were made: their manifests, and the fingerprints by which they are found."""

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
    """From what a variant's runs were made; with the same packages they come out the same.

    Attributes:
        variant: its name in params.yaml.
        parameters: its normalisation, network and training, overrides applied.
        seeds: of its runs.
        data_sha256: of the prepared data.
        code_sha256: of the modules that training depends on.
    """

    variant: str
    parameters: dict[str, Any]
    seeds: tuple[int, ...]
    data_sha256: str
    code_sha256: str

    def fingerprint(self, seed: int) -> str:
        """Returns what tells one run from another, whatever other seeds were trained beside it."""
        inputs = asdict(self) | {"seeds": seed}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def fingerprints(self) -> dict[str, int]:
        """Returns the seed of each of its runs, by fingerprint."""
        return {self.fingerprint(seed): seed for seed in self.seeds}

    def settings_sha256(self) -> str:
        """Returns what tells the variant, as it is set, from others, whatever its seeds."""
        return hashlib.sha256(replace(self, seeds=()).to_json().encode()).hexdigest()

    def only(self, seed: int) -> Manifest:
        """Returns the manifest of one of its runs."""
        return replace(self, seeds=(seed,))

    def to_json(self) -> str:
        """Returns it as a file has it."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, source: object) -> Manifest:
        """Returns what `to_json` gave; `source` is named where it did not.

        Raises:
            DataError: if it is no manifest.
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
    """Returns what `write_manifest` wrote."""
    path = root / RUNS / variant / "manifest.json"
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise missing(path) from None
    except ValueError as error:
        raise damaged(path, error) from None


def trained_variants() -> list[str]:
    """Returns the variants that have a manifest, in params.yaml or not."""
    return sorted(path.parent.name for path in RUNS.glob("*/manifest.json"))
