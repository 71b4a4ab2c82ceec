import json
import shutil
import struct

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline import cli
from pipeline.errors import ArgumentError, DataError, MissingInputError
from pipeline.params_file import read_params
from pipeline.provenance.lineage import Lineage
from pipeline.runs.manifest import Manifest
from pipeline.runs.models import write_model
from pipeline.runs.tables import run_folder
from pipeline.tracking.records import run_record
from pipeline.tracking.registry import Registry
from pipeline.tracking.store import Store
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


@pytest.fixture
def trained(project):
    """A project with two runs of both variants, and two files of images."""
    (project / "params.yaml").write_text(PARAMS_FILE, encoding="utf-8")
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
    assert (found["digit"], found["confidence"]) == (4, pytest.approx(0.45))
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
    model_id = store.log_model(run, run_folder("no_norm", 0), images, 10)
    store.finish(run)
    Registry(NAME).crown(model_id, run.info.run_id, {})
    assert trained == tracked_project
    return trained


@pytest.mark.usefixtures("crowned")
def test_the_registered_model_is_the_champion():
    # The prediction comes from MLflow's copy.
    write("no_norm", 0, _1=99)

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
