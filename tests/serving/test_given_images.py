import gzip
import os
import re
import struct

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets import picture_file
from pipeline.errors import ArgumentError, DataError, MissingInputError
from pipeline.serving import files
from pipeline.serving.given_images import read_images

PICTURE = np.full((40, 30, 3), 255, np.uint8)
PICTURE[10:30, 10:15] = 0
GREY = PICTURE[..., 0]


def idx(*dimensions, kind=0x08):
    header = struct.pack(f">HBB{len(dimensions)}I", 0, kind, len(dimensions), *dimensions)
    return header + bytes(i % 256 for i in range(int(np.prod(dimensions))))


@pytest.fixture
def saved(tmp_path):
    """Saves a picture; returns its path."""

    def save(name, picture=PICTURE, **options):
        Image.fromarray(picture).save(tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.fixture
def written(tmp_path):
    """Writes a file; returns its path."""

    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def refusal(path, kind=DataError):
    """Returns the one-line error about a file, without the file's name."""
    with pytest.raises(kind) as told:
        read_images(path, 10, "ink")
    (line,) = str(told.value).splitlines()
    assert line.startswith(f"{path} ")
    return line.removeprefix(f"{path} ")


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "a.gif", "a"])
def test_a_picture_is_read_whatever_its_format(saved, name):
    given = read_images(saved(name, format="png" if name == "a" else None), 10, "ink")

    assert given.is_picture
    assert given.left_out == 0
    np.testing.assert_array_equal(given.images, [GREY])


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_compression_changes_little(saved, name):
    (image,) = read_images(saved(name), 10, "ink").images

    assert np.abs(image.astype(int) - GREY).mean() < 5


def test_colours_become_their_brightness(saved):
    red = PICTURE.copy()
    red[10:30, 10:15] = 255, 0, 0

    (image,) = read_images(saved("red.png", red), 10, "ink").images

    # ITU-R 601-2: 0.299 of red.
    assert image[20, 12] == 76


def transparent(ink):
    picture = np.zeros((*GREY.shape, 4), np.uint8)
    picture[10:30, 10:15] = ink, ink, ink, 255
    return picture


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (200, 255)])
def test_a_transparent_background_becomes_paper_that_shows_the_ink(saved, ink, paper):
    (image,) = read_images(saved("a.png", transparent(ink)), 10, "ink").images

    assert image[0, 0] == paper
    assert image[20, 12] == ink


def test_sixteen_bits_become_eight(saved):
    (image,) = read_images(saved("a.png", GREY.astype(np.uint16) * 257), 10, "ink").images

    np.testing.assert_array_equal(image, GREY)


@pytest.mark.parametrize("most", [65535, 1023])
def test_sixteen_bits_of_a_pgm_become_eight(written, most):
    levels = (GREY.astype(np.uint32) * most // 255).astype(">u2")

    (image,) = read_images(
        written("a.pgm", b"P5 30 40 %d\n" % most + levels.tobytes()), 10, "ink"
    ).images

    np.testing.assert_array_equal(image, GREY)


def test_a_colour_that_stands_for_transparency_is_paper(saved):
    given = read_images(saved("a.png", 255 - PICTURE, transparency=(0, 0, 0)), 10, "ink")

    # White on a transparent background shows on black.
    np.testing.assert_array_equal(given.images, [255 - GREY])


def test_a_photograph_is_turned_upright(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: the top is at the right.

    (image,) = read_images(saved("a.png", exif=exif), 10, "ink").images

    np.testing.assert_array_equal(image, np.rot90(GREY, -1))


def test_a_large_picture_is_scaled_down(saved):
    large = np.kron(GREY, np.ones((50, 50), np.uint8))

    (image,) = read_images(saved("a.png", large), 10, "ink").images

    assert image.shape == (1000, 750)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_first_images_of_an_idx_file_are_read(written, pack):
    path = written("images", pack(idx(5, 2, 3)))

    given = read_images(path, 2, "ink")

    assert not given.is_picture
    assert given.left_out == 3
    assert given.images.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


def test_an_idx_file_of_few_images_leaves_none_out(written):
    given = read_images(written("images", idx(5, 2, 3)), 10, "ink")

    assert (len(given.images), given.left_out) == (5, 0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(idx(9), mtime=0), "holds labels: give the file of their images"),
        (idx(9), "holds labels: give the file of their images"),
        (idx(0, 28, 28), "holds no images"),
        (gzip.compress(idx(5, 2, 3), mtime=0)[:-12], "is damaged: .*; get it again"),
        (gzip.compress(idx(5, 2, 3), mtime=0)[:12], "is damaged: .*; get it again"),
        (idx(5, 2, 3)[:-1], "promises 30 bytes of values and holds 29 bytes; get it again"),
        (idx(5, 2, 3, kind=0x0D), "has magic number 0x00000d03, .*; get it again"),
        (b"\x1f\x8b and nothing more", "is damaged: .*; get it again"),
        (b"", r"is neither a picture \(PNG, .*\) nor an IDX file"),
        (b"# bnlab", r"is neither a picture \(PNG, .*\) nor an IDX file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is neither a picture"),
    ],
)
def test_a_file_without_images_is_reported(written, content, told):
    assert re.match(told, refusal(written("file", content)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp"])
def test_a_picture_cut_short_is_reported(saved, name):
    path = saved(name, np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-200])

    assert refusal(path).startswith("is damaged: ")


@pytest.mark.parametrize(
    "picture",
    [np.full((9, 9, 3), 255, np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((1, 1), np.uint8)],
    ids=["white", "transparent", "one pixel"],
)
def test_a_blank_picture_is_reported(saved, picture):
    assert refusal(saved("a.png", picture)).startswith(
        "shows no digit: it is blank, or too faint; draw a"
    )


def test_an_animation_that_begins_with_nothing_is_reported_as_such(tmp_path):
    frames = [Image.fromarray(GREY) for _ in range(2)]
    Image.new("L", frames[0].size, 255).save(
        tmp_path / "a.gif", save_all=True, append_images=frames
    )
    assert "its first frame is blank" in refusal(tmp_path / "a.gif")


def test_ink_of_another_colour_is_seen_though_it_is_as_bright_as_its_paper(saved):
    coloured = np.full((40, 30, 3), (255, 0, 0), np.uint8)
    coloured[10:30, 10:15] = (0, 130, 0)
    (image,) = read_images(saved("a.png", coloured), 10, "ink").images
    assert np.ptp(np.asarray(Image.fromarray(coloured).convert("L")).astype(int)) < 16
    ink = np.abs(image.astype(int) - image[0, 0]) > 100
    np.testing.assert_array_equal(ink, GREY == 0)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_twelve_bits_that_are_saved_as_sixteen_are_not_faint(saved, bits):
    levels = np.where(GREY > 0, 2**bits - 1, 0).astype(np.uint16)
    (image,) = read_images(saved("a.tiff", levels), 10, "ink").images
    np.testing.assert_array_equal(image, GREY)


def test_pixels_of_32_bits_are_reported(saved):
    told = refusal(saved("a.tiff", GREY.astype(np.float32)))

    assert told == "has pixels of 32 bits: save the picture with 8 or 16"


@pytest.mark.parametrize(
    ("of", "limit"), [(picture_file, "_MOST_PIXELS"), (Image, "MAX_IMAGE_PIXELS")]
)
def test_a_picture_of_too_many_pixels_is_reported(saved, monkeypatch, of, limit):
    path = saved("a.png")
    # Of 1,200 pixels; Pillow refuses from twice its limit.
    monkeypatch.setattr(of, limit, 599)

    assert refusal(path) == "decompresses to more than 50 million pixels: give a smaller one"


def test_a_file_that_is_too_large_is_reported(written, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 5)

    assert refusal(written("a.png", b"123456")) == "is larger than 64 MB: give a smaller one"


def test_a_missing_file_is_reported(tmp_path):
    assert refusal(tmp_path / "a.png", MissingInputError).startswith("is not here")


def test_a_file_that_cannot_be_read_is_reported(tmp_path):
    with pytest.raises(MissingInputError, match=r"aa\.png cannot be read: File name too long"):
        read_images(tmp_path / f"{'a' * 300}.png", 10, "ink")


def test_a_folder_is_reported(tmp_path):
    assert refusal(tmp_path, ArgumentError) == "is a folder: name the files in it"


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    assert refusal(tmp_path / "pipe", ArgumentError).startswith("is not a regular file")


def test_a_name_that_cannot_be_printed_is_reported_in_one_line(tmp_path):
    with pytest.raises(MissingInputError) as told:
        read_images(tmp_path / "a\n\udcff\x1b[31m.png", 10, "ink")

    assert str(told.value).isprintable()

    assert len(str(told.value).splitlines()) == 1
    assert str(told.value).encode()


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_a_picture_can_be_read_as_it_is_in_colour_or_in_grey(saved, name):
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    path = saved(name, picture)

    (color,) = read_images(path, 10, "RGB").images
    (grey,) = read_images(path, 10, "L").images

    np.testing.assert_array_equal(color, picture)
    # Rec. 601's weights of red, green and blue.
    np.testing.assert_allclose(grey, picture @ [0.299, 0.587, 0.114], atol=1)


def test_what_is_transparent_is_white(saved):
    picture = np.zeros((2, 2, 4), np.uint8)
    picture[0, 0] = (10, 20, 30, 255)

    (color,) = read_images(saved("a.png", picture), 10, "RGB").images

    assert color.tolist() == [[[10, 20, 30], [255] * 3], [[255] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_of_one_colour_is_no_blank_drawing(saved, mode):
    given = read_images(saved("a.png", np.full((9, 9, 3), 7, np.uint8)), 10, mode)

    assert np.unique(given.images).tolist() == [7]
