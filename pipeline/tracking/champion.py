"""The champion that travels: `reports/champion.json`, which git takes from clone to clone.

`promote` writes it. Where the registry of a store has no champion yet, `track` makes it that one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Run

from pipeline.errors import DataError, MissingInputError
from pipeline.files import read_json, write_json
from pipeline.tracking.registry import CHAMPION, Registry
from pipeline.tracking.store import existing_client, model_of

logger = logging.getLogger(__name__)

CHAMPION_FILE = Path("reports/champion.json")
_ANOTHER = (
    "MLflow's %s is not the run that %s names, and stays: `python -m pipeline promote` makes the "
    "best of these runs champion"
)


def write_champion(fingerprint: str, tags: Mapping[str, str], description: str) -> None:
    """Writes which run is the champion, and what the registry says of its version."""
    content = {"fingerprint": fingerprint, "tags": dict(tags), "description": description}
    write_json(CHAMPION_FILE, content)


def crown_from_file(name: str, runs: Mapping[str, Run]) -> None:
    """Makes the file's champion that of the registry, if that has none; if it has another, says so.

    Nothing is done where there is no file, or its run is not here, as in the middle of an ablation.

    Args:
        name: of the registered model.
        runs: those that MLflow has, by fingerprint.

    Raises:
        DataError: if the file is damaged.
        ParamsError: if MLflow takes no model of that name.
        PendingError: if MLflow does not answer.
    """
    try:
        fingerprint, tags, description = _read()
    except MissingInputError:
        return
    run = runs.get(fingerprint)
    if run is None or (model_id := model_of(existing_client(), run)) is None:
        return
    registry = Registry(name)
    present = registry.champion()
    if present is None:
        registry.crown(model_id, run.info.run_id, tags, description)
    elif present.run_id != run.info.run_id:
        logger.warning(_ANOTHER, CHAMPION, CHAMPION_FILE)


def _read() -> tuple[str, dict[str, str], str]:
    try:
        content = read_json(CHAMPION_FILE)
        tags = {str(key): str(value) for key, value in content["tags"].items()}
        return str(content["fingerprint"]), tags, str(content.get("description", ""))
    except (DataError, LookupError, TypeError, AttributeError):
        raise DataError(
            f"{CHAMPION_FILE} is damaged, or has conflicts of a merge: "
            f"`git restore {CHAMPION_FILE}`, or `python -m pipeline promote` writes it anew"
        ) from None
