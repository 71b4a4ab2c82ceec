"""A comparison in MLflow: a run of its own, described by the report, which it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from PIL import Image

from pipeline.files import damaged, missing
from pipeline.params import Comparison
from pipeline.provenance.lineage import Lineage
from pipeline.tracking.experiment_pages import DIFFERENCE, run_path
from pipeline.tracking.records import source_tags
from pipeline.tracking.store import Point, RunRecord, Store, is_finished

REPORTS = Path("reports")
REPORT = REPORTS / "report.md"
# An artifact: the ids of the runs that were compared.
COMPARED = "lineage/runs.json"
# MLflow's page shows a picture as wide as it is, and has room for this beside what it shows else.
_PICTURE_WIDTH = 760
_PICTURES = "description"
# MLflow cuts a description off after 8,000 characters; a link to a run has fewer than 100.
_LONGEST, _LINK = 7900, 100


def read_report() -> str:
    """Returns the report of the comparison.

    Raises:
        MissingInputError: if it is not there.
    """
    try:
        return REPORT.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise missing(REPORT) from None


def fingerprint(comparison: Mapping[str, Any], report: str, fingerprints: Iterable[str]) -> str:
    """Returns what tells one comparison from another: its results, its text and its runs."""
    content = "".join([json.dumps(comparison), report, *fingerprints])
    return hashlib.sha256(content.encode()).hexdigest()


def files(run_ids: Sequence[str]) -> dict[str, bytes]:
    """Returns what a comparison's run holds beside its report: which runs were compared."""
    return {COMPARED: (json.dumps(run_ids, indent=2) + "\n").encode()}


def record(
    compared: Comparison,
    comparison: Mapping[str, Any],
    report: str,
    fingerprints: Iterable[str],
    lineage: Lineage,
) -> RunRecord:
    """Returns the record of a comparison.

    Args:
        compared: which variants.
        comparison: as in `comparison.json`.
        report: its text.
        fingerprints: of the runs that were compared.
        lineage: where it comes from.
    """
    return RunRecord(
        fingerprint=fingerprint(comparison, report, fingerprints),
        name=f"{compared.candidate}-against-{compared.baseline}",
        params={key: str(value) for key, value in compared},
        tags={
            "kind": "comparison",
            "verdict": comparison["verdict"],
            **source_tags("compare"),
            **lineage.tags,
        },
    )


def points(comparison: Mapping[str, Any]) -> list[Point]:
    """Returns few points, as each gets a chart of its own in MLflow; the rest is in the report."""
    shown = {metric: comparison[key] for key, metric in DIFFERENCE.items()}
    return [Point(metric, value) for metric, value in shown.items() if value is not None]


def mirror(
    store: Store, record: RunRecord, points: Sequence[Point], report: str, compared: Sequence[Run]
) -> None:
    """Adds to MLflow what it lacks of a comparison.

    Args:
        store: where its runs are.
        record: its own.
        points: what came out.
        report: its text.
        compared: its runs.

    Raises:
        MissingInputError: if a picture of the report is not there.
        DataError: if it is damaged.
    """
    pictures = {f"{_PICTURES}/{path.name}": _smaller(path) for path in _pictures(report).values()}
    run = store.open(record)
    if is_finished(run):
        return
    store.describe(run, _description(run, report, compared))
    store.log(run, points)
    store.log_folder(run, REPORTS, "reports")
    store.log_files(run, pictures | files([one.info.run_id for one in compared]))
    store.finish(run)


def _description(run: Run, report: str, compared: Sequence[Run]) -> str:
    """Returns the report with links to its runs, its pictures from among the run's artifacts."""
    experiment_id, run_id = run.info.experiment_id, run.info.run_id
    title, _, text = report.partition("\n")
    for line, path in _pictures(report).items():
        shown = f"get-artifact?path={_PICTURES}/{path.name}&run_uuid={run_id}"
        text = text.replace(line, line.replace(path.relative_to(REPORTS).as_posix(), shown))
    whole = run_path(experiment_id, run_id, "reports/report.html")
    links: dict[str, list[str]] = {}
    for one in compared:
        tags = one.data.tags
        links.setdefault(tags["variant"], []).append(
            f"[{tags['seed']}]({run_path(experiment_id, one.info.run_id)})"
        )
    # As many as there is room for, of each variant.
    most = max(0, (_LONGEST - len(title) - len(text)) // _LINK // max(len(links), 1) - 1)
    runs = ". ".join(
        f"Runs of {variant}: {', '.join(every[:most])}" + (" …" if len(every) > most else "")
        for variant, every in links.items()
    )
    return f"{title}\n\n[The whole report, to point at and zoom]({whole}). {runs}.\n{text}"


def _smaller(path: Path) -> bytes:
    # What is wrong with a file is no fault of MLflow's.
    try:
        return smaller_png(path.read_bytes(), _PICTURE_WIDTH)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise damaged(path, error) from None


def _pictures(report: str) -> dict[str, Path]:
    """Returns the files of the report's pictures, by the line that shows them."""
    lines = [line for line in report.splitlines() if line.startswith("![")]
    return {line: REPORTS / line.rpartition("](")[2].removesuffix(")") for line in lines}


def smaller_png(content: bytes, width: int) -> bytes:
    """Returns a PNG scaled down to a width in pixels; one that is no wider as it is."""
    with Image.open(BytesIO(content)) as image:
        if image.width <= width:
            return content
        smaller = image.convert("RGB")
        smaller.thumbnail((width, image.height))
        scaled = BytesIO()
        smaller.save(scaled, format="png", optimize=True)
        return scaled.getvalue()
