"""The trials of all studies, kept on disk by the fingerprint of their runs.

A study that was killed resumes where it stopped, only points that are new in a grid are run, and
studies share the runs that they have in common.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.files import read_json, write_json
from pipeline.runs.code import TRAINING_CODE, code_sha256
from pipeline.runs.manifest import Manifest
from pipeline.studies.measures.trials import Trial
from pipeline.training.trainer import Task

TRIALS = Path(".bnlab/trials")
# The code that decides what is measured of a run.
MEASURING_CODE = (*TRAINING_CODE, "evaluation", "studies/measures")


class KeptTrials:
    """The trials on disk that measure what a study does."""

    def __init__(
        self,
        folder: Path,
        data_sha256: str,
        probes: Sequence[str],
        course: Sequence[str] | None,
        *,
        untrained: bool = False,
    ) -> None:
        """Takes the folder, the hash of the prepared data, and what the study measures.

        For `probes`, `course` and `untrained` see `Trials`.
        """
        self._folder = folder
        self._data = data_sha256
        measured = [sorted(probes), course and sorted(course)]
        self._measured = json.dumps([*measured, *(["untrained"] if untrained else [])])
        self._code: dict[str, str] = {}

    def read(self, task: Task) -> Trial | None:
        """Returns the trial of a task, or None if there is none."""
        path = self._path(task)
        try:
            return Trial(**read_json(path)) if path.exists() else None
        except (PipelineError, TypeError):
            # A damaged trial counts as missing: it takes seconds to make again.
            return None

    def write(self, task: Task, trial: Trial) -> None:
        """Writes the trial of a task."""
        record = {
            "measured": _finite(trial.measured),
            "course": [_finite(row) for row in trial.course],
        }
        write_json(self._path(task), record)

    def _path(self, task: Task) -> Path:
        network = task.variant.network.code
        if network not in self._code:
            self._code[network] = code_sha256(network, MEASURING_CODE)
        manifest = Manifest(
            variant=self._measured,
            parameters=task.variant.parameters,
            seeds=(task.seed,),
            data_sha256=self._data,
            code_sha256=self._code[network],
        )
        fingerprint = manifest.fingerprint(task.seed)
        return self._folder / fingerprint[:2] / f"{fingerprint}.json"


def _finite(row: Mapping[str, float]) -> dict[str, float | None]:
    """Returns the row with None in place of numbers that JSON does not have."""
    return {name: value if math.isfinite(value) else None for name, value in row.items()}
