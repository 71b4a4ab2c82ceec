"""Puts a claim to the test, and shows it in MLflow."""

from __future__ import annotations

import logging

from pipeline.errors import one_line
from pipeline.execution.engines import engine
from pipeline.provenance.places import project_root
from pipeline.studies import report
from pipeline.studies.kept_trials import TRIALS
from pipeline.studies.run import run as run_study
from pipeline.studies.study import Study
from pipeline.tracking.store import TRACKING_ERRORS
from pipeline.tracking.study import mirror

logger = logging.getLogger(__name__)


def run(study: Study, workers: int | None = None, engine_name: str | None = None) -> str:
    """Runs the study; returns its verdict in a few lines, and where its page is.

    Args:
        study: what to run.
        workers: see `engines.engine`.
        engine_name: likewise.
    """
    networks = {point.params.variants[variant].network.code for point, variant, _ in study.trials()}
    result = run_study(study, project_root() / TRIALS, engine(engine_name, workers, networks))
    try:
        mirror(study, result.table, result.verdict, result.folder)
    except TRACKING_ERRORS as error:
        logger.warning(
            "MLflow does not take the study: %s; run it again to add it", one_line(error)
        )
    return f"{report.in_words(result.verdict)}\nPage: {result.folder / 'README.md'}"
