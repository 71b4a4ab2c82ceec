"""Runs a study: each point of its grid on each seed, then its verdict."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from tqdm import tqdm

from pipeline.errors import WriteError
from pipeline.examples.dataset import Dataset
from pipeline.examples.prepared import PREPARED_FILE, read_prepared
from pipeline.files import missing, sha256, write_json, write_text
from pipeline.reporting.pictures import write_figure
from pipeline.runs.tables import write_table
from pipeline.studies import figures, report
from pipeline.studies.judgement import judge
from pipeline.studies.kept_trials import KeptTrials
from pipeline.studies.measures.trials import Trial, Trials
from pipeline.studies.study import STUDIES, Study, short
from pipeline.training.trainer import Hooks, Task


class Engine(Protocol):
    """Trains tasks; `pipeline.execution.engines` has some."""

    def results(
        self,
        make: Callable[[Dataset, Hooks], Callable[[Task], Trial]],
        dataset: Dataset,
        tasks: Iterable[Task],
    ) -> Iterator[tuple[Task, Trial]]:
        """Yields each task with what `make(dataset, hooks)` returns for it, as they finish."""


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


def run(study: Study, trials_folder: Path, engine: AbstractContextManager[Engine]) -> StudyResult:
    """Writes `results.csv`, `verdict.json`, `figure.png` and `README.md` into the study's folder.

    It also writes `course.csv` if the study follows its runs. A study at the quick scale writes
    into the subfolder `quick`.

    Args:
        study: what to run.
        trials_folder: where trials are kept, for this study and others.
        engine: opened if there is anything to train.
    """
    folder = STUDIES / study.name / ("quick" if study.is_quick else "")
    table, course = _results(study, trials_folder, engine)
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
    study: Study, trials_folder: Path, engine: AbstractContextManager[Engine]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns what was measured, one row per point, variant and seed, and the course of each."""
    about = study.about
    if not PREPARED_FILE.exists():
        raise missing(PREPARED_FILE)
    kept = KeptTrials(
        trials_folder, sha256(PREPARED_FILE), about.probes, about.course, untrained=about.untrained
    )
    tasks = [
        (point, variant, Task(point.params.variants[variant], seed))
        for point, variant, seed in study.trials()
    ]
    trials = {task: kept.read(task) for *_, task in tasks}
    if missing_tasks := [task for task, trial in trials.items() if trial is None]:
        _train(study, kept, missing_tasks, engine)
        trials |= {task: kept.read(task) for task in missing_tasks}
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


def _train(
    study: Study, kept: KeptTrials, tasks: list[Task], engine: AbstractContextManager[Engine]
) -> None:
    # Tasks that share a compiled function follow one another.
    tasks = sorted(tasks, key=lambda task: task.variant.label)
    about = study.about
    make = functools.partial(
        _trials, probes=about.probes, followed=about.course, untrained=about.untrained
    )
    with (
        engine as opened,
        tqdm(total=len(tasks), desc=study.name, unit="run", mininterval=5) as bar,
    ):
        for task, trial in opened.results(make, read_prepared(), tasks):
            # At once, so that an interruption loses no finished trial.
            kept.write(task, trial)
            bar.update()


def _trials(
    dataset: Dataset,
    _: Hooks,
    *,
    probes: tuple[str, ...],
    followed: tuple[str, ...] | None,
    untrained: bool,
) -> Trials:
    return Trials(dataset, probes, followed, untrained=untrained)
