"""Runs a study: every cell of its grid on every seed, then its verdict."""

import logging
import os
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from pipeline.adapters.cells import Cells
from pipeline.adapters.datasets import PREPARED_FILE, read_prepared
from pipeline.adapters.files import replacing, sha256, write_json, write_text
from pipeline.adapters.pictures import write_figure
from pipeline.adapters.study_file import STUDIES
from pipeline.adapters.study_records import mirror
from pipeline.adapters.tracking import TRACKING_ERRORS
from pipeline.core import study_figures, study_report
from pipeline.core.judgement import judge
from pipeline.core.replicates import Cell
from pipeline.core.studies import Study, short
from pipeline.core.trials import Trials
from pipeline.errors import WriteError, one_line

logger = logging.getLogger(__name__)


def run(study: Study, workers: int | None = None) -> str:
    """Writes `results.csv`, `verdict.json`, `figure.png` and `README.md` into the study's folder.

    And `course.csv`, if the study follows its runs. A study at the quick scale goes into `quick`
    below it. MLflow mirrors both.

    Returns:
        The verdict in a few lines, and where its page is.
    """
    folder = STUDIES / study.name / ("quick" if study.is_quick else "")
    table, course = _results(study, workers)
    judged = judge(study, table)
    verdict = study_report.verdict(study, judged, course)
    _write_table(folder / "results.csv", table)
    if not course.empty:
        _write_table(folder / "course.csv", course)
    write_json(folder / "verdict.json", verdict)
    drawn = study_figures.figure(study, table, course, judged)
    write_figure(folder / "figure.png", drawn)
    page = folder / "README.md"
    write_text(page, study_report.page(study, table, judged, verdict))
    try:
        mirror(study, table, verdict, folder)
    except TRACKING_ERRORS as error:
        logger.warning(
            "MLflow does not take the study: %s; run it again to add it", one_line(error)
        )
    return f"{study_report.in_words(verdict)}\nPage: {page}"


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _results(study: Study, workers: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns what was measured of each point, variant and seed, a row each, and their courses."""
    about = study.about
    cells = Cells(sha256(PREPARED_FILE), about.probes, about.course)
    wanted = [
        (point, variant, Cell(point.params.variants[variant], seed))
        for point, variant, seed in study.trials()
    ]
    trials = {cell: cells.read(cell) for *_, cell in wanted}
    if left := [cell for cell, trial in trials.items() if trial is None]:
        _train(study, cells, left, workers)
        trials |= {cell: cells.read(cell) for cell in left}
    rows, course = [], []
    for point, variant, cell in wanted:
        trial = trials[cell]
        if trial is None:
            raise WriteError("a run that was just measured is gone: run the study again")
        of = {short(axis): value for axis, value in point.at.items()}
        of |= {"variant": variant, "seed": cell.seed}
        rows.append(of | trial.measured)
        course += [of | row for row in trial.course]
    return pd.DataFrame(rows), pd.DataFrame(course)


def _train(study: Study, cells: Cells, left: list[Cell], workers: int | None) -> None:
    # What compiles the same, one after the other.
    left = sorted(left, key=lambda cell: cell.variant.label)
    trials = Trials(read_prepared(), study.about.probes, study.about.course)

    def train(cell: Cell) -> None:
        # Kept at once: what is done stays done, whatever comes after.
        cells.write(cell, trials(cell))

    with (
        ThreadPool(workers or os.cpu_count() or 1) as pool,
        tqdm(total=len(left), desc=study.name, unit="run", mininterval=5) as bar,
    ):
        for _ in pool.imap_unordered(train, left):
            bar.update()
