"""A comparison in MLflow: a run of its own, with the report as its description and artifact."""

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
from pipeline.tracking.experiment_pages import COLOR, DIFFERENCE, run_path
from pipeline.tracking.patience import persistent
from pipeline.tracking.records import source_tags
from pipeline.tracking.store import Point, RunRecord, Store, is_finished

REPORTS = Path("reports")
REPORT = REPORTS / "report.md"
# The artifact with the ids of the runs that were compared.
COMPARED = "lineage/runs.json"
# In pixels. MLflow shows a picture at its full width, and its page leaves room for no more.
_PICTURE_WIDTH = 760
_PICTURES = "description"
# MLflow cuts off a description after 8,000 characters; a link to a run has fewer than 100.
_LONGEST, _LINK = 7900, 100
# MLflow would give a comparison the colour of some variant.
_GREY = "#7F7F7F"


def read_report() -> str:
    """Returns the comparison's report, as Markdown.

    Raises:
        MissingInputError: if there is none.
    """
    try:
        return REPORT.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise missing(REPORT) from None


def fingerprint(comparison: Mapping[str, Any], report: str, fingerprints: Iterable[str]) -> str:
    """Returns a hash that identifies a comparison by its results, its report and its runs."""
    content = "".join([json.dumps(comparison), report, *fingerprints])
    return hashlib.sha256(content.encode()).hexdigest()


def files(run_ids: Sequence[str]) -> dict[str, bytes]:
    """Returns the artifacts of a comparison besides its report: the ids of the runs compared."""
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
        compared: the candidate and the baseline.
        comparison: the content of `comparison.json`.
        report: its text.
        fingerprints: of the runs that were compared.
        lineage: of the comparison.
    """
    return RunRecord(
        fingerprint=fingerprint(comparison, report, fingerprints),
        name=f"{compared.candidate}-against-{compared.baseline}",
        params={key: str(value) for key, value in compared},
        tags={
            "kind": "comparison",
            "verdict": comparison["verdict"],
            COLOR: _GREY,
            **source_tags("compare"),
            **lineage.tags,
        },
    )


def points(comparison: Mapping[str, Any]) -> list[Point]:
    """Returns a few points only, as MLflow charts each of them; the rest is in the report."""
    metrics = {metric: comparison[key] for key, metric in DIFFERENCE.items()}
    return [Point(metric, value) for metric, value in metrics.items() if value is not None]


@persistent
def mirror(
    store: Store, record: RunRecord, points: Sequence[Point], report: str, compared: Sequence[Run]
) -> None:
    """Adds a comparison to MLflow, or whatever MLflow lacks of it.

    Args:
        store: the store that has its runs.
        record: of the comparison.
        points: its results.
        report: its text.
        compared: the runs that were compared.

    Raises:
        MissingInputError: if a picture of the report is missing.
        DataError: if a picture is damaged.
    """
    pictures = {f"{_PICTURES}/{path.name}": _smaller(path) for path in _pictures(report).values()}
    run = store.open(record)
    if is_finished(run):
        return
    store.describe(run, _description(run, report, compared))
    store.log(run, points)
    store.log_folder(run, REPORTS, "reports")
    store.log_files(run, pictures | files([trained.info.run_id for trained in compared]))
    store.finish(run)


def _description(run: Run, report: str, compared: Sequence[Run]) -> str:
    """Returns the report with links to its runs; its pictures are the run's artifacts."""
    experiment_id, run_id = run.info.experiment_id, run.info.run_id
    title, _, text = report.partition("\n")
    for line, path in _pictures(report).items():
        address = f"get-artifact?path={_PICTURES}/{path.name}&run_uuid={run_id}"
        text = text.replace(line, line.replace(path.relative_to(REPORTS).as_posix(), address))
    whole_report = run_path(experiment_id, run_id, "reports/report.html")
    links: dict[str, list[str]] = {}
    for trained in compared:
        tags = trained.data.tags
        links.setdefault(tags["variant"], []).append(
            f"[{tags['seed']}]({run_path(experiment_id, trained.info.run_id)})"
        )
    # The same number of links for each variant, as many as there is room for.
    most = max(0, (_LONGEST - len(title) - len(text)) // _LINK // max(len(links), 1) - 1)
    runs = ". ".join(
        f"Runs of {variant}: {', '.join(seeds[:most])}" + (" …" if len(seeds) > most else "")
        for variant, seeds in links.items()
    )
    return f"{title}\n\n[The whole report, interactive]({whole_report}). {runs}.\n{text}"


def _smaller(path: Path) -> bytes:
    # A bad file must not be reported as a failure of MLflow.
    try:
        return smaller_png(path.read_bytes(), _PICTURE_WIDTH)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise damaged(path, error) from None


def _pictures(report: str) -> dict[str, Path]:
    """Returns the files of the report's pictures, by the line that embeds each."""
    lines = [line for line in report.splitlines() if line.startswith("![")]
    return {line: REPORTS / line.rpartition("](")[2].removesuffix(")") for line in lines}


def smaller_png(content: bytes, width: int) -> bytes:
    """Returns a PNG scaled down to a width in pixels; a narrower one is returned unchanged."""
    with Image.open(BytesIO(content)) as image:
        if image.width <= width:
            return content
        smaller = image.convert("RGB")
        smaller.thumbnail((width, image.height))
        scaled = BytesIO()
        smaller.save(scaled, format="png", optimize=True)
        return scaled.getvalue()
