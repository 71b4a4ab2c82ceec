"""What was measured of each run of a study, kept by what the run was made from.

So a study that was killed goes on where it was, a point that is added to a grid is all that is run,
and studies share the runs that they have in common.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.adapters.files import read_json, write_json
from pipeline.adapters.provenance import measuring_code_sha256, project_root
from pipeline.adapters.runs import Manifest
from pipeline.core.replicates import Cell
from pipeline.core.trials import Trial
from pipeline.errors import PipelineError

_CELLS = Path(".bnlab/cells")


class Cells:
    """The runs of a study that are done."""

    def __init__(
        self, data_sha256: str, probes: Sequence[str], course: Sequence[str] | None
    ) -> None:
        """Takes the hash of the prepared data, and what the study measures; see `Trials`."""
        self._data = data_sha256
        self._measured = json.dumps([sorted(probes), course and sorted(course)])
        self._code = measuring_code_sha256(probed=bool(probes or course))

    def read(self, cell: Cell) -> Trial | None:
        """Returns what was measured of a run, or None if that is not known."""
        path = self._path(cell)
        try:
            return Trial(**read_json(path)) if path.exists() else None
        except (PipelineError, TypeError):
            # It costs seconds to make again.
            return None

    def write(self, cell: Cell, trial: Trial) -> None:
        """Keeps what was measured of a run."""
        kept = {
            "measured": _finite(trial.measured),
            "course": [_finite(row) for row in trial.course],
        }
        write_json(self._path(cell), kept)

    def _path(self, cell: Cell) -> Path:
        manifest = Manifest(
            variant=self._measured,
            parameters=cell.variant.parameters,
            seeds=(cell.seed,),
            data_sha256=self._data,
            code_sha256=self._code,
        )
        fingerprint = manifest.fingerprint(cell.seed)
        return project_root() / _CELLS / fingerprint[:2] / f"{fingerprint}.json"


def _finite(row: Mapping[str, float]) -> dict[str, float | None]:
    """Returns the row with None in place of what JSON has no numbers for."""
    return {name: value if math.isfinite(value) else None for name, value in row.items()}
