"""Runs a study: every cell of its grid on every seed, then its verdict."""

import logging
import os
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool

import pandas as pd
from tqdm import tqdm

from pipeline.adapters.cells import Cells
from pipeline.adapters.datasets import PREPARED_FILE, read_prepared
from pipeline.adapters.files import replacing, sha256, write_json, write_text
from pipeline.adapters.pictures import write_figure
from pipeline.adapters.study_file import STUDIES
from pipeline.adapters.study_records import mirror
from pipeline.adapters.tracking import TRACKING_ERRORS
from pipeline.core import study_report
from pipeline.core.judgement import judge
from pipeline.core.replicates import Cell
from pipeline.core.studies import Point, Study, short
from pipeline.core.trials import Trials
from pipeline.errors import one_line

logger = logging.getLogger(__name__)


def run(study: Study, workers: int | None = None) -> None:
    """Writes `results.csv`, `verdict.json`, `figure.png` and `README.md` into the study's folder.

    A study at the quick scale goes into `quick` below it. MLflow mirrors both.
    """
    folder = STUDIES / study.name / ("quick" if study.is_quick else "")
    table = _results(study, workers)
    judged = judge(study, table)
    with replacing(folder / "results.csv") as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    verdict = study_report.verdict(study, judged)
    write_json(folder / "verdict.json", verdict)
    write_figure(folder / "figure.png", study_report.figure(study, table, judged))
    write_text(folder / "README.md", study_report.page(study, table, judged))
    try:
        mirror(study, table, verdict, folder)
    except TRACKING_ERRORS as error:
        logger.warning(
            "MLflow does not take the study: %s; run it again to add it", one_line(error)
        )


def _results(study: Study, workers: int | None) -> pd.DataFrame:
    """Returns a row for each point, variant and seed: what was measured of the run."""
    cells = Cells(sha256(PREPARED_FILE), study.about.probes)
    wanted = list(_wanted(study))
    left = [cell for cell in dict.fromkeys(cell for *_, cell in wanted) if cells.read(cell) is None]
    if left:
        _train(study, cells, left, workers)
    rows = [
        {short(axis): value for axis, value in point.at.items()}
        | {"variant": variant, "seed": cell.seed}
        | (cells.read(cell) or {})
        for point, variant, cell in wanted
    ]
    order = [*map(short, study.axes), "variant", "seed"]
    return pd.DataFrame(rows).sort_values(order, kind="stable", ignore_index=True)


def _wanted(study: Study) -> Iterator[tuple[Point, str, Cell]]:
    for point, name, variant, seed in study.trials():
        yield point, name, Cell(variant, seed)


def _train(study: Study, cells: Cells, left: list[Cell], workers: int | None) -> None:
    trials = Trials(read_prepared(), study.about.probes)

    def train(cell: Cell) -> None:
        # Kept at once: what is done stays done, whatever comes after.
        cells.write(cell, trials(cell))

    with (
        ThreadPool(workers or os.cpu_count() or 1) as pool,
        tqdm(total=len(left), desc=study.name, unit="run", mininterval=5) as bar,
    ):
        for _ in pool.imap_unordered(train, left):
            bar.update()
