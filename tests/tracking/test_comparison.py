import json
import re
from io import BytesIO
from pathlib import Path

import mlflow
import pytest
from PIL import Image

from pipeline.colors import COLORS
from pipeline.errors import DataError, MissingInputError
from pipeline.params import Comparison
from pipeline.provenance.lineage import Lineage
from pipeline.tracking import comparison as records
from pipeline.tracking.store import RunRecord, Store

COMPARED = Comparison(
    baseline="no_norm", candidate="batch_norm", measure="accuracy", confidence=0.95
)
RESULT = {
    "mean": 0.5, "ci_low": None, "ci_high": 0.75, "wins": 2, "n": 2, "verdict": "not_settled",
    "p": 0.3,
}  # fmt: skip
REPORT = "# Not settled\n\nOver 2 runs.\n\n![Pairs](figures/pairs.png)\n\n## Settings\n"
LINEAGE = Lineage({"git.dirty": "false"})


@pytest.fixture
def mirrored(tracked_project):
    """Mirrors a comparison of some runs of each variant; returns it and the runs."""
    picture = BytesIO()
    Image.new("RGB", (1520, 760)).save(picture, format="png")
    figures = tracked_project / "reports/figures"
    figures.mkdir(parents=True)
    (figures / "pairs.png").write_bytes(picture.getvalue())
    (tracked_project / "reports/report.md").write_text(REPORT)
    client = mlflow.MlflowClient(f"sqlite:///{tracked_project}/mlflow.db")

    def mirror(seeds=2, variants=("batch_norm", "no_norm"), report=REPORT):
        store = Store("digits")
        runs = [
            store.open(
                RunRecord(f"{variant} {seed}", "r", tags={"variant": variant, "seed": str(seed)})
            )
            for variant in variants
            for seed in range(seeds)
        ]
        record = records.record(COMPARED, RESULT, report, ["f0", "f1"], LINEAGE)
        records.mirror(store, record, records.points(RESULT), report, runs)
        (run,) = client.search_runs([runs[0].info.experiment_id], "tags.kind = 'comparison'")
        return client, run, runs

    return mirror


def test_a_comparison_shows_its_variants_and_its_results(mirrored):
    _, run, _ = mirrored()

    assert run.info.run_name == "batch_norm-against-no_norm"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "baseline": "no_norm", "candidate": "batch_norm", "measure": "accuracy",
        "confidence": "0.95",
    }  # fmt: skip
    assert run.data.tags["verdict"] == "not_settled"
    assert run.data.tags["mlflow.runColor"] not in COLORS
    assert run.data.tags["mlflow.source.name"] == "compare"
    # What has no value has no point.
    assert run.data.metrics == {
        "difference/mean": 0.5, "difference/ci_high": 0.75, "difference/wins": 2, "difference/n": 2,
    }  # fmt: skip


def test_it_is_described_by_the_report_with_links_to_its_runs(mirrored):
    _, run, runs = mirrored()

    told = run.data.tags["mlflow.note.content"]
    assert told.startswith("# Not settled\n")
    assert told.endswith("## Settings\n")
    linked = re.findall(r"\[(\d)\]\(#/experiments/1/runs/(\w+)\?", told)
    assert linked == [(one.data.tags["seed"], one.info.run_id) for one in runs]
    assert f"runs/{run.info.run_id}/artifacts/reports/report.html?" in told


def test_its_pictures_fit_the_page(mirrored, tmp_path):
    client, run, _ = mirrored()

    (shown,) = re.findall(r"!\[Pairs\]\((.*)\)", run.data.tags["mlflow.note.content"])
    assert shown == f"get-artifact?path=description/pairs.png&run_uuid={run.info.run_id}"
    kept = client.download_artifacts(run.info.run_id, "description/pairs.png", str(tmp_path))
    with Image.open(kept) as picture:
        assert picture.size == (760, 380)


def test_it_holds_the_report_and_names_its_runs(mirrored, tmp_path):
    client, run, runs = mirrored()

    folder = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert (folder / "reports/report.md").read_text() == REPORT
    assert json.loads((folder / records.COMPARED).read_text()) == [one.info.run_id for one in runs]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "variants", "length"), [(45, 2, 0), (8, 6, 4000), (8, 6, 6500), (2, 2, 7400)]
)
def test_links_do_not_push_the_report_out(mirrored, seeds, variants, length):
    names = [f"variant_{number}" for number in range(variants)]
    report = REPORT.replace("Over 2 runs.", "word " * (length // 5))
    _, run, _ = mirrored(seeds, names, report)

    told = run.data.tags["mlflow.note.content"]
    # MLflow takes no more.
    assert len(told) <= 8000
    assert told.endswith("## Settings\n")
    linked = told.count("/runs/") - 1
    assert linked <= seeds * variants
    assert (told.count(" …") == variants) == (linked < seeds * variants)


@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        (None, MissingInputError, "is not here"),
        (b"no picture", DataError, "is damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0d\x01HDR", DataError, "is damaged"),
    ],
)
def test_a_bad_picture_is_reported_and_not_blamed_on_mlflow(tracked_project, content, error, told):
    if content:
        (tracked_project / "reports/figures").mkdir(parents=True)
        (tracked_project / "reports/figures/pairs.png").write_bytes(content)
    record = records.record(COMPARED, RESULT, REPORT, ["f0"], LINEAGE)

    with pytest.raises(error, match=rf"pairs\.png {told}"):
        records.mirror(Store("digits"), record, [], REPORT, [])


def test_a_comparison_is_mirrored_once(mirrored):
    _, first, _ = mirrored()
    _, again, _ = mirrored()

    assert again.info.run_id == first.info.run_id


def test_different_results_text_or_runs_make_another_comparison():
    same = records.fingerprint(RESULT, REPORT, ["f0", "f1"])

    assert same == records.fingerprint(dict(RESULT), REPORT, iter(["f0", "f1"]))
    others = [
        records.fingerprint(RESULT | {"wins": 1}, REPORT, ["f0", "f1"]),
        records.fingerprint(RESULT, REPORT + "more", ["f0", "f1"]),
        records.fingerprint(RESULT, REPORT, ["f0"]),
    ]
    assert len({same, *others}) == 4
