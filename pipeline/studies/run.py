"""Runs a study: each point of its grid on each seed, then its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from pipeline.training.workers import worker_pool


@dataclass(frozen=True, eq=False)
class StudyResult:
    """The result of a study.

    Attributes:
        folder: that of its page, figure and tables.
        table: what was measured, one row per point, variant and seed.
        verdict: what `verdict.json` holds.
    """

    folder: Path
    table: pd.DataFrame
    verdict: Mapping[str, Any]


def run(study: Study, trials_folder: Path, workers: int | None = None) -> StudyResult:
    """Writes `results.csv`, `verdict.json`, `figure.png` and `README.md` into the study's folder.

    It also writes `course.csv` if the study follows its runs. A study at the quick scale writes
    into the subfolder `quick`.

    Args:
        study: what to run.
        trials_folder: where trials are kept, for this study and others.
        workers: how many threads train at once; by default one per processor.
    """
    folder = STUDIES / study.name / ("quick" if study.is_quick else "")
    table, course = _results(study, trials_folder, workers)
    judged = judge(study, table)
    verdict = report.verdict(study, judged, course)
    write_table(folder / "results.csv", table)
    if not course.empty:
        write_table(folder / "course.csv", course)
    write_json(folder / "verdict.json", verdict)
    write_figure(folder / "figure.png", figures.figure(study, table, course, judged))
    write_text(folder / "README.md", report.page(study, table, judged, verdict))
    return StudyResult(folder, table, verdict)


def _results(
    study: Study, trials_folder: Path, workers: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns what was measured, one row per point, variant and seed, and the course of each."""
    about = study.about
    kept = KeptTrials(trials_folder, sha256(PREPARED_FILE), about.probes, about.course)
    tasks = [
        (point, variant, Task(point.params.variants[variant], seed))
        for point, variant, seed in study.trials()
    ]
    trials = {task: kept.read(task) for *_, task in tasks}
    if missing := [task for task, trial in trials.items() if trial is None]:
        _train(study, kept, missing, workers)
        trials |= {task: kept.read(task) for task in missing}
    rows, course = [], []
    for point, variant, task in tasks:
        trial = trials[task]
        if trial is None:
            raise WriteError("a run that was just measured is gone: run the study again")
        key = {short(axis): value for axis, value in point.at.items()}
        key |= {"variant": variant, "seed": task.seed}
        rows.append(key | trial.measured)
        course += [key | row for row in trial.course]
    return pd.DataFrame(rows), pd.DataFrame(course)


def _train(study: Study, kept: KeptTrials, tasks: list[Task], workers: int | None) -> None:
    # Tasks that share a compiled function follow one another.
    tasks = sorted(tasks, key=lambda task: task.variant.label)
    trials = Trials(read_prepared(), study.about.probes, study.about.course)

    def train(task: Task) -> None:
        # Written at once, so that an interruption loses no finished trial.
        kept.write(task, trials(task))

    with (
        worker_pool(workers) as pool,
        tqdm(total=len(tasks), desc=study.name, unit="run", mininterval=5) as bar,
    ):
        for _ in pool.imap_unordered(train, tasks):
            bar.update()
