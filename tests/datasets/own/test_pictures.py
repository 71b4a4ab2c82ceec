import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets import picture_file
from pipeline.datasets.own import pictures
from pipeline.errors import ParamsError

GREY = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
RED = np.zeros((3, 4, 3), np.uint8) + np.array([255, 0, 0], np.uint8)


@pytest.fixture
def saved(project):
    """Saves pictures under these paths, with a cat and a dog for each part; returns the folder."""

    def save(files, parts=("",), count=3):
        folder = project / "own"
        for part in parts:
            for name in ("cats", "dogs"):
                for i in range(count):
                    write(folder / part / name / f"{i}.png", GREY)
        for name, picture in files.items():
            write(folder / name, picture)
        return "own"

    return save


def write(path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(path, **options)


def of(dataset, name):
    number = dataset.classes.index(name)
    parts = (dataset.train, dataset.validation, dataset.test)
    return np.concatenate([part.inputs[part.labels == number] for part in parts])


def test_a_folder_is_a_class_and_pictures_are_in_the_order_of_their_names(saved):
    files = {"dogs/b.png": GREY + 1, "dogs/a.png": GREY + 2, "cats/10.png": GREY + 3}

    given = pictures.read(Path(saved(files, count=1)))

    assert given.training.labels.tolist() == ["cats"] * 2 + ["dogs"] * 3
    added = given.training.inputs[:, 0, 0].tolist()
    assert added == [0, 3, 0, 2, 1]
    assert given.training.inputs.shape == (5, 3, 4)
    assert given.test is None


def test_splits_are_drawn(saved, read):
    dataset = read(saved({}), validation_size=2, test_size=2)

    assert [part.labels.tolist() for part in (dataset.train, dataset.validation, dataset.test)] == [
        [0, 1]
    ] * 3
    assert dataset.classes == ("cats", "dogs")


def test_train_and_test_are_no_classes(saved, read):
    path = saved({"test/dogs/z.png": GREY + 1}, parts=("train", "test"))

    dataset = read(path, validation_size=2)

    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (4, 2, 7)
    np.testing.assert_array_equal(dataset.test.inputs[-1], GREY + 1)
    assert dataset.classes == ("cats", "dogs")


def test_a_class_may_be_called_train(saved, read):
    path = saved({f"train/{i}.png": GREY for i in range(3)})

    assert read(path, validation_size=3, test_size=3).classes == ("cats", "dogs", "train")


def test_all_are_in_colour_if_one_is(saved):
    given = pictures.read(Path(saved({"dogs/red.png": RED})))

    assert given.training.inputs.shape == (7, 3, 4, 3)
    np.testing.assert_array_equal(given.training.inputs[-1], RED)
    np.testing.assert_array_equal(given.training.inputs[0], np.stack([GREY] * 3, axis=-1))


PALETTE = Image.fromarray(GREY).convert("P")
OPAQUE = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])
CLEAR = np.dstack([GREY, np.full_like(GREY, 0)])
HALF = np.dstack([np.zeros((3, 4, 3), np.uint8), np.full((3, 4), 51, np.uint8)])


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        pytest.param(PALETTE, GREY, id="a palette"),
        pytest.param(np.stack([GREY] * 3, axis=-1), GREY, id="grey saved in colours"),
        pytest.param(OPAQUE, GREY, id="opaque"),
        pytest.param(CLEAR, np.full_like(GREY, 255), id="transparent"),
        pytest.param(HALF, np.full_like(GREY, 204), id="a fifth of black on white"),
        pytest.param(GREY.astype(np.uint16) * 256 + 7, GREY, id="16 bits"),
        pytest.param(GREY > 100, np.where(GREY > 100, 255, 0), id="1 bit"),
    ],
)
def test_a_picture_is_read_however_it_was_saved(saved, picture, expected):
    given = pictures.read(Path(saved({"dogs/z.png": picture})))

    np.testing.assert_array_equal(given.training.inputs[-1], expected)


@pytest.mark.parametrize("ending", ["bmp", "tiff", "WEBP", "gif", "pgm"])
def test_formats_may_differ(saved, project, ending):
    path = saved({})
    lossless = {"lossless": True} if ending == "WEBP" else {}
    write(project / "own/dogs" / f"z.{ending}", GREY, **lossless)

    given = pictures.read(Path(path))

    np.testing.assert_array_equal(given.training.inputs[-1], GREY)


def test_a_photograph_is_turned_upright(saved, project):
    path = saved({})
    exif = Image.Exif()
    # To be turned a quarter clockwise.
    exif[0x0112] = 6
    write(project / "own/dogs/z.png", np.rot90(GREY), exif=exif)

    given = pictures.read(Path(path))

    np.testing.assert_array_equal(given.training.inputs[-1], GREY)


def test_what_is_hidden_is_left_out(saved, project):
    path = saved({})
    for name in (".DS_Store", "dogs/.DS_Store", "cats/Thumbs.db", "cats/desktop.ini"):
        (project / "own" / name).write_bytes(b"x")

    assert len(pictures.read(Path(path)).training) == 6


def test_links_are_followed(saved, project):
    # DVC may link files to its cache.
    path = saved({})
    write(project / "cache/ab12", GREY + 1, format="png")
    (project / "own/dogs/z.png").symlink_to(project / "cache/ab12")

    given = pictures.read(Path(path))

    np.testing.assert_array_equal(given.training.inputs[-1], GREY + 1)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"dogs/z.png": GREY.T}, "own/dogs/z.png has 3 x 4 pixels and own/cats/0.png 4 x 3: bring"),
        ({"dogs/z.png": b"x"}, "own/dogs/z.png is not a picture (PNG, JPEG, GIF, BMP, TIFF, WEBP"),
        ({"dogs/z.png": b""}, "own/dogs/z.png is not a picture (PNG, JPEG, GIF, BMP, TIFF, WEBP"),
        ({"dogs/z.png": PNG}, "own/dogs/z.png is "),
        ({"dogs/z.tiff": GREY.astype(np.float32)}, "own/dogs/z.tiff has pixels of 32 bits: save"),
        ({"dogs/notes.txt": b"x"}, "own/dogs/notes.txt is not a picture (PNG, JPEG, GIF, BMP, TI"),
        ({"dogs/more/a.png": GREY}, "own/dogs/more is not a picture (PNG, JPEG, GIF, BMP, TIFF, "),
        ({"z.png": GREY}, "own/z.png is not in a folder: pictures are in one for each class, and"),
    ],
)
def test_what_is_no_picture_like_the_others_is_named(saved, refusal, files, told):
    assert refusal(saved(files)).startswith(told)


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("empty", "own/empty holds no pictures: add some, or remove it"),
        (".", "own holds neither pictures by class nor IDX files"),
    ],
)
def test_an_empty_folder_is_named(project, refusal, folder, told):
    (project / "own" / folder).mkdir(parents=True)

    assert refusal("own") == told


def test_a_folder_for_validation_has_no_use(saved, refusal):
    path = saved({}, parts=("train", "test", "val"))

    assert refusal(path).startswith("own/val has no use: validation examples are drawn from train")


def test_test_pictures_mean_that_none_are_drawn(saved, refusal):
    told = refusal(saved({}, parts=("train", "test")), ParamsError)

    assert told == (
        "`test_size` must be left out: own has test examples of its own (params.yaml, data)"
    )


def test_a_class_without_test_pictures_is_named(saved, refusal):
    path = saved({f"train/owls/{i}.png": GREY for i in range(3)}, parts=("train", "test"))

    assert refusal(path, test_size=None).startswith("own has no test examples of class 'owls'")


def test_a_pipe_is_not_waited_for(saved, refusal, project):
    path = saved({})
    os.mkfifo(project / "own/dogs/z.png")

    assert refusal(path).startswith("own/dogs/z.png is not a picture")


@pytest.mark.parametrize(
    ("of", "limit", "most", "told"),
    [
        (picture_file, "_MOST_PIXELS", 11, "decompresses to more than 50 million pixels"),
        (picture_file, "MOST_BYTES", 20, "is larger than 64 MB"),
        (pictures, "MOST_BYTES", 3 * 12 * 6 - 1, "and all others of 4 x 3 pixels take more than 2"),
    ],
)
def test_pictures_that_are_too_large_are_refused(
    saved, refusal, monkeypatch, of, limit, most, told
):
    path = saved({})
    monkeypatch.setattr(of, limit, most)

    assert refusal(path).startswith(f"own/cats/0.png {told}")


def test_a_name_that_is_no_text_is_told_in_a_line(saved, refusal, project):
    path = saved({})
    folder = os.fsencode(project / "own") + b"/\xff\n"
    (project / "own/dogs").rename(os.fsdecode(folder))

    assert "has a class with the name" in refusal(path)
