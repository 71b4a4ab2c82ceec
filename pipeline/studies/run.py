"""Runs a study: every point of its grid on every seed, then its verdict."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from pipeline.errors import WriteError
from pipeline.examples.prepared import PREPARED_FILE, read_prepared
from pipeline.files import sha256, write_json, write_text
from pipeline.reporting.pictures import write_figure
from pipeline.runs.tables import write_table
from pipeline.studies import figures, report
from pipeline.studies.judgement import judge
from pipeline.studies.kept_trials import KeptTrials
from pipeline.studies.measures.trials import Trials
from pipeline.studies.study import STUDIES, Study, short
from pipeline.training.trainer import Task


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What came of a study.

    Attributes:
        folder: where its page, figure and tables lie.
        table: what was measured, a row a point, variant and seed.
        verdict: what `verdict.json` holds.
    """

    folder: Path
    table: pd.DataFrame
    verdict: Mapping[str, Any]


def run(study: Study, trials_folder: Path, workers: int | None = None) -> StudyResult:
    """Writes `results.csv`, `verdict.json`, `figure.png` and `README.md` into the study's folder.

    And `course.csv`, if the study follows its runs. A study at the quick scale goes into `quick`
    below it.

    Args:
        study: what to run.
        trials_folder: where runs that were measured are kept, for this study and others.
        workers: threads that train at once, by default as many as there are processors.
    """
    folder = STUDIES / study.name / ("quick" if study.is_quick else "")
    table, course = _results(study, trials_folder, workers)
    judged = judge(study, table)
    verdict = report.verdict(study, judged, course)
    write_table(folder / "results.csv", table)
    if not course.empty:
        write_table(folder / "course.csv", course)
    write_json(folder / "verdict.json", verdict)
    drawn = figures.figure(study, table, course, judged)
    write_figure(folder / "figure.png", drawn)
    write_text(folder / "README.md", report.page(study, table, judged, verdict))
    return StudyResult(folder, table, verdict)


def _results(
    study: Study, trials_folder: Path, workers: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns what was measured of each point, variant and seed, a row each, and their courses."""
    about = study.about
    kept = KeptTrials(trials_folder, sha256(PREPARED_FILE), about.probes, about.course)
    wanted = [
        (point, variant, Task(point.params.variants[variant], seed))
        for point, variant, seed in study.trials()
    ]
    trials = {task: kept.read(task) for *_, task in wanted}
    if left := [task for task, trial in trials.items() if trial is None]:
        _train(study, kept, left, workers)
        trials |= {task: kept.read(task) for task in left}
    rows, course = [], []
    for point, variant, task in wanted:
        trial = trials[task]
        if trial is None:
            raise WriteError("a run that was just measured is gone: run the study again")
        of = {short(axis): value for axis, value in point.at.items()}
        of |= {"variant": variant, "seed": task.seed}
        rows.append(of | trial.measured)
        course += [of | row for row in trial.course]
    return pd.DataFrame(rows), pd.DataFrame(course)


def _train(study: Study, kept: KeptTrials, left: list[Task], workers: int | None) -> None:
    # What compiles the same, one after the other.
    left = sorted(left, key=lambda task: task.variant.label)
    trials = Trials(read_prepared(), study.about.probes, study.about.course)

    def train(task: Task) -> None:
        # Kept at once: what is done stays done, whatever comes after.
        kept.write(task, trials(task))

    with (
        ThreadPool(workers or os.cpu_count() or 1) as pool,
        tqdm(total=len(left), desc=study.name, unit="run", mininterval=5) as bar,
    ):
        for _ in pool.imap_unordered(train, left):
            bar.update()
