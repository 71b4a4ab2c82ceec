import json
import shutil
import struct

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline import cli
from pipeline.errors import ArgumentError, DataError, MissingInputError, PendingError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.examples.prepared import PREPARED_FILE, write_prepared
from pipeline.files import sha256
from pipeline.params_file import read_params
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import Manifest, write_manifest
from pipeline.runs.models import write_model
from pipeline.runs.tables import run_folder
from pipeline.tracking.records import run_record
from pipeline.tracking.registry import Registry
from pipeline.tracking.store import Store
from pipeline.tracking.trained_on import TrainedOn
from tests.test_cli import CHECKOUT
from tests.test_cli import PARAMS as PARAMS_FILE

PARAMS = read_params()
NAME = PARAMS.tracking.experiment


def write(variant, seed, kernel=None, **odds):
    """Writes a run whose model gives digit 7 the odds `_7` against each of the others."""
    images = keras.Input((28, 28), dtype="uint8", name="images")
    pixels = keras.layers.Flatten(name="pixels")(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(10, name="logits")(pixels))
    biases = np.zeros(10, np.float32)
    for digit, times in odds.items():
        biases[int(digit[1:])] = np.log(times)
    weights = np.zeros((784, 10), np.float32)
    if kernel:
        weights[kernel] = 100
    write_model(run_folder(variant, seed), model.to_json(), [weights, biases])


def prepare(dataset):
    """Writes the prepared data, and that both variants were trained on them."""
    write_prepared(PREPARED_FILE, dataset)
    for variant in PARAMS.variants:
        write_manifest(Manifest(variant, {}, (0, 1), sha256(PREPARED_FILE), "c0de"))


@pytest.fixture
def trained(project):
    """A project with two runs of both variants, and two files of images."""
    shutil.copytree(CHECKOUT / "networks", project / "networks")
    (project / "params.yaml").write_text(PARAMS_FILE, encoding="utf-8")
    few = Examples(np.zeros((10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8))
    prepare(Dataset(few, few, few, tuple("0123456789")))
    # 91 of 100, and 9 + 3 + 8 = 20 parts.
    write("batch_norm", 0, _4=91)
    write("no_norm", 0, _4=9, _7=3)
    write("batch_norm", 1, kernel=(14 * 28 + 14, 8), _2=1e6)
    write("no_norm", 1, _0=1e9)
    stroke = np.full((90, 90), 255, np.uint8)
    stroke[20:70, 40:50] = 0
    Image.fromarray(stroke).save("stroke.png")
    images = np.zeros((12, 28, 28), np.uint8)
    images[1, 14, 14] = 255
    header = struct.pack(">4I", 0x803, *images.shape)
    (project / "images-idx3").write_bytes(header + images.tobytes())
    return project


def predict(*arguments):
    ended = CliRunner().invoke(cli.pipeline, ["predict", *arguments])
    if ended.exception and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended


@pytest.mark.usefixtures("trained")
def test_both_variants_are_shown_side_by_side_with_a_second_guess_where_unsure():
    assert predict("stroke.png").output.splitlines() == [
        "image       With BN    Without BN",
        "stroke.png  4  91.0 %  4  45.0 %, or 7  15.0 %",
    ]


@pytest.mark.usefixtures("trained")
def test_another_seed_is_another_model_and_a_drawing_is_seen_white_on_black():
    # The model of seed 1 says 8 where the centre is bright, and 2 where it is dark.
    assert predict("stroke.png", "images-idx3", "--first", "2", "--seed", "1").output == (
        "image           With BN     Without BN\n"
        "stroke.png      8  >99.9 %  0  >99.9 %\n"
        "images-idx3[0]  2  >99.9 %  0  >99.9 %\n"
        "images-idx3[1]  8  >99.9 %  0  >99.9 %\n"
        "\n"
        "images-idx3: 10 more left out; --first shows them.\n"
    )


@pytest.fixture
def lines(trained):
    """The project, with pictures of lines down as its data: for the classes, all are one digit."""
    down = np.zeros((10, 28, 28), np.uint8)
    for i, image in enumerate(down):
        image[4:24, 12:16] = 200 + i
    known = Examples(down, np.arange(10, dtype=np.uint8))
    prepare(Dataset(known, known, known, tuple("0123456789")))
    lying = np.full((90, 90), 255, np.uint8)
    lying[40:50, 20:70] = 0
    Image.fromarray(lying).save("lying.png")
    return trained


@pytest.mark.usefixtures("lines")
def test_a_picture_unlike_those_trained_on_is_named():
    told = " ".join(predict("stroke.png", "lying.png").output.partition("\n\n")[2].split())
    assert told == (
        "lying.png is unlike the images trained on: none of the test images is as unlike "
        "them, so do not rely on the answers."
    )
    shares = [
        one["share_less_alike"]
        for one in json.loads(predict("stroke.png", "lying.png", "--json").output)["images"]
    ]
    assert shares[0] > 0.5
    assert shares[1] == 0


@pytest.mark.usefixtures("trained")
def test_pictures_are_drawn_as_the_models_see_them():
    drawn = predict("stroke.png", "--show").output.split("stroke.png\n")[-1].splitlines()
    assert len(drawn) == 28
    # The stroke, 50 by 10, becomes 20 by 4, in the middle.
    inked = [i for i, row in enumerate(drawn) if row]
    assert inked == list(range(4, 24))
    assert {row for row in drawn if row} == {24 * " " + 8 * "@"}
    assert predict("stroke.png", "--show", "--json").exit_code == 2


@pytest.mark.usefixtures("trained")
def test_files_of_no_use_do_not_keep_the_others_from_being_predicted():
    for name in ("blank.png", "white.png"):
        Image.new("L", (90, 90), 255).save(name)
    with pytest.raises(DataError, match=r"white\.png shows no digit"):
        predict("blank.png", "stroke.png", "white.png")
    ended = CliRunner().invoke(
        cli.pipeline, ["predict", "blank.png", "stroke.png", "white.png"], catch_exceptions=True
    )
    assert ended.stdout.splitlines()[1].startswith("stroke.png  4")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: blank.png shows no digit")


@pytest.mark.usefixtures("trained")
def test_json_has_all_probabilities():
    told = json.loads(predict("stroke.png", "images-idx3", "--json").output)

    assert told["models"] == {
        "batch_norm": {"label": "With BN", "from": "runs/batch_norm/seed-00"},
        "no_norm": {"label": "Without BN", "from": "runs/no_norm/seed-00"},
    }
    assert told["left_out"] == {"images-idx3": 2}
    assert [(one["file"], one["place"]) for one in told["images"]] == [
        ("stroke.png", None),
        *(("images-idx3", place) for place in range(10)),
    ]
    found = told["images"][0]["predictions"]["no_norm"]
    assert told["classes"] == list("0123456789")
    assert (found["class"], found["digit"]) == ("4", 4)
    assert found["confidence"] == pytest.approx(0.45)
    assert found["probabilities"] == pytest.approx(
        4 * [0.05] + [0.45, 0.05, 0.05, 0.15, 0.05, 0.05]
    )


@pytest.mark.usefixtures("trained")
def test_a_seed_that_params_do_not_have_is_reported():
    with pytest.raises(ArgumentError, match=r"batch_norm has no seed 10: its last is 9 \(params"):
        predict("stroke.png", "--seed", "10")


@pytest.mark.usefixtures("trained")
def test_a_run_that_is_not_there_says_what_makes_it():
    with pytest.raises(
        MissingInputError, match=r"runs/batch_norm/seed-02/model.json is not here: `dvc repro`"
    ):
        predict("stroke.png", "--seed", "2")


@pytest.mark.usefixtures("trained")
def test_a_diverged_run_is_shown_beside_those_that_did_not_diverge():
    write("no_norm", 0, _4=np.nan)

    assert predict("stroke.png").output.splitlines() == [
        "image       With BN    Without BN",
        "stroke.png  4  91.0 %  diverged",
    ]
    (image,) = json.loads(predict("stroke.png", "--json").output)["images"]
    assert image["predictions"]["no_norm"] is None
    assert image["predictions"]["batch_norm"]["digit"] == 4


@pytest.mark.usefixtures("trained")
def test_where_all_runs_diverged_nothing_is_predicted():
    write("no_norm", 0, _4=np.nan)
    write("batch_norm", 0, _4=np.nan)

    told = "training diverged in runs/batch_norm/seed-00 and runs/no_norm/seed-00; choose another"
    with pytest.raises(DataError, match=told):
        predict("stroke.png")


def test_images_of_another_size_are_reported(trained):
    (trained / "small").write_bytes(struct.pack(">4I", 0x803, 2, 8, 8) + bytes(128))

    with pytest.raises(
        DataError, match="small has images of 8 by 8 pixels, the model takes 28 by 28"
    ):
        predict("stroke.png", "small")


def test_seed_and_registered_exclude_each_other():
    ended = predict("stroke.png", "--seed", "0", "--registered")

    assert ended.exit_code == 2
    assert "exclude each other" in ended.output


@pytest.fixture
def crowned(tracked_project, trained):
    """The same with seed 0 of no_norm as champion."""
    store = Store(NAME)
    manifest = Manifest("no_norm", {"normalization": "none"}, (0,), "da7a", "c0de")
    run = store.open(run_record(manifest, 0, Lineage({})))
    images = np.zeros((2, 28, 28), np.uint8)
    data = TrainedOn("mnist", (28, 28), tuple("0123456789"), ())
    model_id = store.log_model(run, run_folder("no_norm", 0), data, images)
    store.finish(run)
    Registry(NAME).crown(model_id, run.info.run_id, {}, "")
    assert trained == tracked_project
    return trained


@pytest.mark.usefixtures("crowned")
def test_the_registered_model_is_the_champion():
    # The prediction comes from MLflow's copy, and needs nothing else.
    shutil.rmtree("runs")
    shutil.rmtree("data")

    assert predict("stroke.png", "--registered").output.splitlines() == [
        f"image       {NAME}@champion, version 1",
        "stroke.png  4  45.0 %, or 7  15.0 %",
    ]


def test_a_champion_whose_files_are_lost_is_reported(crowned):
    shutil.rmtree(crowned / "mlartifacts")

    with pytest.raises(
        MissingInputError, match=r"files of .*, version 1 are not in MLflow: .*doctor"
    ):
        predict("stroke.png", "--registered")


@pytest.mark.usefixtures("tracked_project", "trained")
def test_without_a_champion_the_error_says_what_makes_one():
    with pytest.raises(MissingInputError, match=f"{NAME} has no champion .* promote` makes one"):
        predict("stroke.png", "--registered")


def test_without_a_store_none_is_made(trained):
    with pytest.raises(MissingInputError, match=r"mlflow\.db is not here: `dvc repro` makes it"):
        predict("stroke.png", "--registered")

    assert not (trained / "mlflow.db").exists()


def write_linear(variant, seed, inputs, kernel, biases):
    """Writes a run whose model has these logits of raw inputs."""
    units = keras.layers.Flatten(name="flat")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(len(biases), name="logits")(units))
    write_model(run_folder(variant, seed), model.to_json(), [kernel, np.array(biases, np.float32)])


NAMES = ("benign", "malign | <b>", "a\x1b[31m red one")


@pytest.fixture
def table(trained):
    """A project whose models take two features, of which x decides, and a file of three rows."""
    few = Examples(np.zeros((3, 2), np.float32), np.arange(3, dtype=np.uint8))
    prepare(Dataset(few, few, few, NAMES, ("x", "y")))
    for variant in PARAMS.variants:
        kernel = np.array([[9, -9, 0], [0, 0, 0]], np.float32)
        write_linear(variant, 0, keras.Input((2,), name="features"), kernel, [0, 0, 1])
    (trained / "rows.csv").write_text("id,y,x\n7,0,1\n8,0,-1\n9,5,0\n", encoding="utf-8")
    return trained


@pytest.mark.usefixtures("table")
def test_rows_of_a_table_are_predicted_by_the_names_of_its_columns():
    assert predict("rows.csv", "--first", "2").output.splitlines() == [
        "row              With BN                Without BN",
        "rows.csv, row 1  benign  >99.9 %        benign  >99.9 %",
        "rows.csv, row 2  malign | <b>  >99.9 %  malign | <b>  >99.9 %",
        "",
        "rows.csv: 1 more left out; --first shows them.",
        "",
        "rows.csv: columns that the model does not know are left aside: id.",
    ]


@pytest.mark.usefixtures("table")
def test_json_of_a_table_has_rows_and_the_names_of_classes():
    told = json.loads(predict("rows.csv", "--json").output)

    assert told["classes"] == list(NAMES)
    assert told["unknown"] == {"rows.csv": ["id"]}
    assert [row["place"] for row in told["rows"]] == [0, 1, 2]
    found = [row["predictions"]["batch_norm"] for row in told["rows"]]
    assert [one["class"] for one in found] == list(NAMES)
    assert "digit" not in found[0]
    # Logits of 0, 0 and 1.
    assert found[2]["probabilities"] == pytest.approx(
        [1 / (2 + np.e), 1 / (2 + np.e), np.e / (2 + np.e)]
    )


@pytest.mark.usefixtures("table")
def test_names_of_classes_cannot_control_the_terminal():
    assert "a?[31m red one  57.6 %, or " in predict("rows.csv").output


@pytest.mark.usefixtures("table")
def test_a_picture_is_of_no_use_to_a_model_of_a_table():
    with pytest.raises(DataError, match=r"stroke\.png is not a table \(\.csv or \.parquet\)"):
        predict("stroke.png")


def test_pictures_in_colour_are_predicted_in_colour(trained):
    few = Examples(np.zeros((2, 4, 4, 3), np.uint8), np.arange(2, dtype=np.uint8))
    prepare(Dataset(few, few, few, ("red", "blue")))
    own = PARAMS_FILE.replace("mnist  ", "file  ").replace("data/raw", "data/own.npz")
    (trained / "params.yaml").write_text(
        own.replace("  validation", "  split_seed: 0\n  validation")
    )
    kernel = np.tile(np.array([[1, 0], [0, 0], [0, 1]], np.float32), (16, 1))
    for variant in PARAMS.variants:
        write_linear(variant, 0, keras.Input((4, 4, 3), dtype="uint8"), kernel, [0, 0])
    for name, color in (("red", (255, 0, 9)), ("blue", (0, 99, 200))):
        Image.new("RGB", (30, 20), color).save(f"{name}.png")

    assert predict("red.png", "blue.png").output.splitlines() == [
        "image     With BN        Without BN",
        "red.png   red  >99.9 %   red  >99.9 %",
        "blue.png  blue  >99.9 %  blue  >99.9 %",
    ]


@pytest.mark.usefixtures("trained")
def test_runs_of_other_data_are_reported():
    few = Examples(np.zeros((10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8))
    write_prepared(PREPARED_FILE, Dataset(few, few, few, tuple("abcdefghij")))

    with pytest.raises(PendingError, match=r"batch_norm was trained on other data than data/prep"):
        predict("stroke.png")


@pytest.mark.usefixtures("trained")
def test_without_the_prepared_data_the_error_says_what_makes_them():
    PREPARED_FILE.unlink()

    with pytest.raises(MissingInputError, match=r"data/prepared\.npz is not here: `dvc repro`"):
        predict("stroke.png")
