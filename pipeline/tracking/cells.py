"""How MLflow's tables and legends name a cell: a variant with its settings, whatever the seed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ParamsError
from pipeline.params import flat
from pipeline.params_file import PARAMS_FILE, read_params
from pipeline.provenance.lineage import committed
from pipeline.runs.manifest import Manifest
from pipeline.tracking.experiment_pages import CELL
from pipeline.tracking.store import Store

# The tag by which the runs of a cell are found.
SETTINGS = "settings.sha256"
# More would not fit into a legend.
_MOST_NAMED = 3
# Digits of a hash.
_SHORT = 5


def cell_tags(store: Store, manifest: Manifest) -> dict[str, str]:
    """Returns the tags that name the cell of a variant's runs.

    A cell is called by its variant and what differs from the params.yaml that is committed, such
    as `batch_norm · momentum 0.9`. If another cell of the store has that name, what differs from
    that cell is added, and a hash only where nothing else tells the two apart. Once a cell has a
    name, it stays.
    """
    settings = manifest.settings_sha256()
    named = store.find({SETTINGS: settings})
    name = named.data.tags[CELL] if named else _new_name(store, manifest)
    return {CELL: name, SETTINGS: settings}


def _new_name(store: Store, manifest: Manifest) -> str:
    own = _shown(manifest.parameters)
    changed = _changed(own, _committed(manifest.variant))
    name = _name(manifest.variant, changed)
    other = store.find({CELL: name})
    if other is None:
        return name
    theirs = {key: value for key, value in other.data.params.items() if key in own}
    longer = _name(manifest.variant, changed | _changed(own, theirs))
    if longer != name and store.find({CELL: longer}) is None:
        return longer
    return f"{name} ({manifest.settings_sha256()[:_SHORT]})"


def _name(variant: str, changed: Mapping[str, str]) -> str:
    named = [f"{key.rpartition('.')[2]} {value}" for key, value in changed.items()]
    if len(named) > _MOST_NAMED:
        named[_MOST_NAMED:] = [f"{len(named) - _MOST_NAMED} more"]
    # MLflow's queries have no way to write a quotation mark.
    return f"{variant} · {', '.join(named)}".replace("'", "") if named else variant


def _changed(own: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Returns the values of one's own that are others in theirs; none if theirs are not known."""
    return {key: value for key, value in own.items() if theirs and theirs.get(key) != value}


def _shown(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in flat(parameters)}


def _committed(variant: str) -> dict[str, str]:
    """Returns a variant's parameters as committed; none where git has none that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PARAMS_FILE)
        path.write_bytes(committed(PARAMS_FILE) or b"")
        try:
            return _shown(read_params(path).variants[variant].parameters)
        except (ParamsError, KeyError):
            return {}
