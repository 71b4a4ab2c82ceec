"""What was measured of each run of a study, kept by what the run was made from.

So a study that was killed goes on where it was, a point that is added to a grid is all that is run,
and studies share the runs that they have in common.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.adapters.files import read_json, write_json
from pipeline.adapters.provenance import measuring_code_sha256, project_root
from pipeline.adapters.runs import Manifest
from pipeline.core.replicates import Cell
from pipeline.errors import PipelineError

_CELLS = Path(".bnlab/cells")


class Cells:
    """The runs of a study that are done."""

    def __init__(self, data_sha256: str, probes: Sequence[str]) -> None:
        """Takes the hash of the prepared data, and the probes that the study measures with."""
        self._data, self._probes = data_sha256, sorted(probes)
        self._code = measuring_code_sha256(probed=bool(probes))

    def read(self, cell: Cell) -> dict[str, float] | None:
        """Returns what was measured of a run, or None if that is not known."""
        path = self._path(cell)
        try:
            return read_json(path) if path.exists() else None
        except PipelineError:
            # It costs seconds to make again.
            return None

    def write(self, cell: Cell, measured: dict[str, float]) -> None:
        """Keeps what was measured of a run."""
        finite = {name: value if _is_number(value) else None for name, value in measured.items()}
        write_json(self._path(cell), finite)

    def _path(self, cell: Cell) -> Path:
        manifest = Manifest(
            variant=json.dumps(self._probes),
            parameters=cell.variant.parameters,
            seeds=(cell.seed,),
            data_sha256=self._data,
            code_sha256=self._code,
        )
        fingerprint = manifest.fingerprint(cell.seed)
        return project_root() / _CELLS / fingerprint[:2] / f"{fingerprint}.json"


def _is_number(value: float) -> bool:
    return abs(value) < float("inf")
