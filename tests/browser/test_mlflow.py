"""MLflow's UI as a person sees it who follows what `python -m pipeline ui` prints."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import Comparison
from pipeline.provenance.lineage import Lineage
from pipeline.runs.epochs import EpochScores, Scores
from pipeline.runs.manifest import Manifest
from pipeline.tracking import comparison
from pipeline.tracking.cells import cell_tags
from pipeline.tracking.experiment_pages import COLOR, of_runs
from pipeline.tracking.records import data_of, epoch_points, run_description, run_record
from pipeline.tracking.store import Point, Store
from tests.networks import PARAMS

CHECKOUT = Path(__file__).parents[2]
DESKTOP = {"width": 1500, "height": 1100}

EPOCHS, SEEDS = 3, 2
LINEAGE = Lineage({"mlflow.source.git.commit": "0123456789", "git.dirty": "false"})
COLORS = {"batch_norm": "#0072B2", "no_norm": "#D55E00"}
REPORT = "# With BN is better\n\nOver 2 runs.\n\n![Pairs](figures/pairs.png)\n"
pytestmark = pytest.mark.slow


def made_from(variant):
    return Manifest(variant, {"normalization": "none"}, (0, 1), "da7a" * 16, "c0de")


def tracked_runs(store):
    """What `track` makes of two variants' runs."""
    images = np.zeros((4, 8, 8), np.uint8)
    examples = Examples(images, images[:, 0, 0])
    data = data_of(
        "digits", "da7a" * 16, Dataset(examples, examples, examples, tuple("0123456789"))
    )
    for variant, better in (("batch_norm", 0.05), ("no_norm", 0)):
        manifest = made_from(variant)
        for seed in manifest.seeds:
            test = [
                Point("test/accuracy", round(0.9 + better + seed / 100, 2)),
                Point("test/loss", 0.25),
            ]
            color = {COLOR: COLORS[variant]}
            shown = cell_tags(store, manifest) | color
            record = run_record(manifest, seed, LINEAGE, shown=shown)
            shown = {"description": run_description(test, diverged=False), "data": data}
            run = store.open(type(record)(**vars(record) | shown))
            for epoch in range(EPOCHS):
                scores = Scores(1 / (2 + epoch), 0.8 + better + epoch / 100)
                store.log(run, epoch_points(EpochScores(seed, epoch, scores, scores)))
            store.log(run, test)
            store.finish(run)
            yield run


def write_report(folder):
    (folder / "reports/figures").mkdir(parents=True)
    (folder / "reports/report.md").write_text(REPORT)
    (folder / "reports/report.html").write_text("<h1>The whole report</h1>")
    picture = BytesIO()
    Image.new("RGB", (900, 300), "red").save(picture, format="png")
    (folder / "reports/figures/pairs.png").write_bytes(picture.getvalue())


@pytest.fixture(scope="module")
def places(tmp_path_factory, empty_store):
    """What is to be seen, and where, as the served UI's own command prints it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        write_report(folder)
        store = Store("mnist-batch-norm", of_runs)
        runs = list(tracked_runs(store))
        result = {"mean": 0.05, "ci_low": 0.04, "ci_high": 0.06, "wins": 2, "n": 2}
        result["verdict"] = "candidate_better"
        compared = Comparison(
            baseline="no_norm", candidate="batch_norm", measure="accuracy", confidence=0.95
        )
        record = comparison.record(compared, result, REPORT, ["f"], LINEAGE)
        points = comparison.points(result)
        comparison.mirror(store, record, points, REPORT, runs)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "ui", "--port", str(port)],
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            # MLflow prints lines of its own, before and between.
            lines = iter(server.stdout.readline, "")
            printed = list(itertools.islice((line for line in lines if "/#/" in line), 2))
            assert len(printed) == 2, "MLflow's UI does not answer"
            yield dict(line.rsplit(maxsplit=1) for line in printed) | {"folder": folder}
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)
            server.stdout.close()


@pytest.fixture
def visit(chromium):
    """Opens one of the places, and waits until a text is there."""
    page = chromium.new_page(viewport=DESKTOP)
    page.set_default_timeout(30_000)

    def visit(place, text):
        page.goto(place)
        page.get_by_text(text, exact=True).first.wait_for()
        return page

    yield visit
    page.close()


def test_a_table_of_runs_tells_them_apart_without_opening_one(places, visit):
    page = visit(places["Runs"], "no_norm-seed-01")

    for text in (
        "batch_norm-seed-00", "batch_norm-seed-01", "no_norm-seed-00",
        "test/accuracy", "test/loss", "cell", "verdict",
        "0.96", "0.91", "batch_norm", "no_norm", "candidate_better",
    ):  # fmt: skip
        page.get_by_text(text, exact=True).first.wait_for(state="attached")


def test_a_table_shows_what_counts_beside_mlflows_assistant(places, visit):
    page = visit(places["Runs"], "no_norm-seed-01")
    page.set_viewport_size({"width": 1440, "height": 900})

    for column in ("cell", "test/accuracy"):
        box = page.get_by_text(column, exact=True).first.bounding_box()
        # The assistant takes 400 pixels on the right.
        assert box["x"] + box["width"] < 1040
    box = page.get_by_text("verdict", exact=True).first.bounding_box()
    assert box["x"] + box["width"] < 1440


def test_runs_have_the_colour_that_their_variant_has_in_the_report(places, visit):
    page = visit(places["Runs"], "no_norm-seed-01")

    shown = page.evaluate(
        """() => [...document.querySelectorAll('*')]
        .map(one => getComputedStyle(one).backgroundColor)"""
    )
    for color in COLORS.values():
        red, green, blue = bytes.fromhex(color[1:])
        assert shown.count(f"rgb({red}, {green}, {blue})") >= SEEDS


def test_somebody_who_opens_mlflows_own_start_page_is_told_where_the_runs_are(places, visit):
    start = places["Runs"].partition("#")[0]
    page = visit(start, "mnist-batch-norm")
    page.get_by_text("Choose Model training at").first.wait_for()
    page.get_by_text("mnist-batch-norm", exact=True).first.click()
    page.get_by_text("Got it").click()
    with page.expect_popup() as table:
        page.get_by_role("link", name="the runs in a table").click()

    table.value.get_by_text("no_norm-seed-01", exact=True).first.wait_for()
    table.value.close()


def test_a_comparison_of_chosen_runs_opens_on_accuracy(places, visit):
    runs = MlflowClient(f"sqlite:///{places['folder']}/mlflow.db").search_runs(
        ["1"], "tags.kind = 'run'"
    )
    chosen = json.dumps([run.info.run_id for run in runs]).replace(" ", "")
    start = places["Runs"].partition("#")[0]

    page = visit(
        f'{start}#/compare-runs?runs={chosen}&experiments=["1"]', "Parallel Coordinates Plot"
    )

    page.get_by_text("validation/accuracy").first.wait_for()


def test_charts_show_a_curve_for_each_cell(places, visit):
    page = visit(places["Learning curves"], "validation/accuracy")

    page.get_by_text("batch_norm (train/loss)").first.wait_for()
    for metric in ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy"):
        for variant in ("batch_norm", "no_norm"):
            shown = page.get_by_text(f"{variant} ({metric})")
            shown.first.wait_for(state="attached")
    # A legend is there before its lines are drawn.
    page.locator("svg .scatterlayer path.js-line").nth(7).wait_for(state="attached")
    # The comparison has no curve.
    assert page.get_by_text("batch_norm-against-no_norm").count() == 0


def test_charts_are_the_same_for_somebody_who_comes_from_the_table(places, visit):
    visit(places["Runs"], "batch_norm-against-no_norm")

    page = visit(places["Learning curves"], "validation/accuracy")

    page.get_by_text("batch_norm (train/loss)").first.wait_for()
    assert page.get_by_text("No charts in this section").count() == 0


def test_a_comparison_is_its_report_with_pictures_and_links(places, visit):
    page = visit(places["Runs"], "no_norm-seed-01")
    page.get_by_text("batch_norm-against-no_norm").first.click()
    page.get_by_text("Show more").click()

    page.wait_for_function(
        "() => document.querySelector('img[src*=\"pairs.png\"]')?.naturalWidth === 760"
    )
    with page.expect_popup() as report:
        page.get_by_role("link", name="The whole report").click()
    report.value.frame_locator("iframe").get_by_text("The whole report").wait_for()
    with page.expect_popup() as run:
        page.get_by_role("link", name="1", exact=True).first.click()
    run.value.get_by_text("96.00 % of the test set right, loss 0.2500.").wait_for()
    run.value.get_by_text("digits-train").first.wait_for()
    run.value.close()
    report.value.close()
