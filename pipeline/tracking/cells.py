"""How MLflow's tables and legends name a cell: a variant with its settings, whatever the seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.params import flat, merged
from pipeline.provenance.lineage import committed
from pipeline.runs.manifest import Manifest
from pipeline.tracking.experiment_pages import CELL
from pipeline.tracking.store import Store

# The tag by which the runs of a cell are found.
SETTINGS = "settings.sha256"
_PARAMS = Path("params.yaml")
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
    own, known = dict(flat(manifest.parameters)), _committed(manifest.variant)
    changed = {key for key, value in own.items() if known and _differs(key, value, known)}
    name = _name(manifest.variant, own, changed)
    other = store.find({CELL: name})
    if other is None:
        return name
    theirs = other.data.params
    changed |= {key for key, value in own.items() if theirs.get(key) != str(value)}
    longer = _name(manifest.variant, own, changed)
    if longer != name and store.find({CELL: longer}) is None:
        return longer
    return f"{name} ({manifest.settings_sha256()[:_SHORT]})"


def _differs(key: str, value: object, known: Mapping[str, object]) -> bool:
    # A field of a network that has a default may be left out.
    return known[key] != value if key in known else not key.startswith("network.")


def _name(variant: str, own: Mapping[str, object], changed: Collection[str]) -> str:
    named = [f"{key.rpartition('.')[2]} {value}" for key, value in own.items() if key in changed]
    if len(named) > _MOST_NAMED:
        named[_MOST_NAMED:] = [f"{len(named) - _MOST_NAMED} more"]
    # MLflow's queries have no way to write a quotation mark.
    return f"{variant} · {', '.join(named)}".replace("'", "") if named else variant


def _committed(variant: str) -> dict[str, Any]:
    """Returns a variant's parameters as committed; none where git has none that can be read."""
    try:
        tree = YAML(typ="safe", pure=True).load(committed(_PARAMS) or b"")
        block = tree["variants"][variant]
        shared = {name: merged(tree[name], block.get(name, {})) for name in ("network", "training")}
        return dict(flat({**block, **shared}))
    except (YAMLError, LookupError, TypeError, AttributeError, ValueError):
        return {}
