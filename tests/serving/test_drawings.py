import numpy as np
import pytest

from pipeline.serving.drawings import as_example, is_blank

MNIST = (28, 28)
# Rows 7 to 26 and columns 6 to 21 of the first image of MNIST's test set, a 7.
SEVEN = """
54b99f973c2400000000000000000000
defefefefef1c6c6c6c6c6c6c6c6aa34
43724872a3e3fee1fefefefae5fefe8c
000000000011420e4343433b15ecfe6a
00000000000000000000000053fdd112
000000000000000000000016e9ff5300
000000000000000000000081feee2c00
000000000000000000003bf9fe3e0000
0000000000000000000085febb050000
00000000000000000009cdf83a000000
0000000000000000007efeb600000000
00000000000000004bfbf03900000000
0000000000000013ddfea60000000000
00000000000003cbfedb230000000000
00000000000026fefe4d000000000000
00000000001fe0fe7301000000000000
000000000085fefe3400000000000000
000000003df2fefe3400000000000000
0000000079fefedb2800000000000000
0000000079fecf120000000000000000
"""


def drawn(height, width, *strokes, paper=255, ink=0):
    """A picture with strokes, each given as (top, bottom, left, right)."""
    picture = np.full((height, width), paper, np.uint8)
    for top, bottom, left, right in strokes:
        picture[top:bottom, left:right] = ink
    return picture


def box(image):
    """Returns (top, bottom, left, right) of what is not black."""
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def enlarged(image, times):
    return np.kron(image, np.ones((times, times), np.uint8))


@pytest.fixture(scope="module")
def digit():
    """The first image of MNIST's test set."""
    image = np.zeros(MNIST, np.uint8)
    image[7:27, 6:22] = [list(bytes.fromhex(row)) for row in SEVEN.split()]
    return image


def test_a_stroke_is_scaled_to_twenty_pixels_and_keeps_its_aspect():
    # 100 by 30 pixels: 20 by 6, anywhere on the paper.
    image = as_example(drawn(280, 200, (120, 220, 5, 35)), MNIST)

    assert image.shape == MNIST
    assert image.dtype == np.uint8
    # The mean of rows 4…23 is 13.5, of columns 11…16 as well.
    assert box(image) == (4, 24, 11, 17)
    assert set(np.unique(image)) == {0, 255}


def test_a_wide_stroke_is_scaled_by_its_width():
    assert box(as_example(drawn(50, 300, (10, 20, 50, 250)), MNIST)) == (14, 15, 4, 24)


def test_the_centre_of_mass_is_in_the_centre():
    # An L of 100 by 60: rows 0…19 with columns 0…3, and rows 16…19 with columns 4…11 beside.
    image = as_example(drawn(200, 200, (50, 150, 50, 70), (130, 150, 70, 110)), MNIST)

    # Its 80 + 32 pixels are at row (80 * 9.5 + 32 * 17.5) / 112 = 11.8, and at column
    # (80 * 1.5 + 32 * 7.5) / 112 = 3.2: moved by 2 and 11 they lie in [13.5, 14.5).
    assert box(image) == (2, 22, 11, 23)


def test_a_centre_of_mass_moves_no_digit_out_of_the_image():
    # A foot of 20 by 2 below a stem of one pixel in 20: the centre would be 5 rows too high.
    image = as_example(drawn(240, 240, (20, 200, 115, 117), (200, 220, 20, 220)), MNIST)

    assert box(image)[0] >= 0
    assert box(image)[1] - box(image)[0] == 20


def test_half_a_pixel_of_ink_is_grey():
    # 40 by 10 pixels to 20 by 5: the middle one of five columns is half covered.
    picture = drawn(80, 80, (20, 60, 20, 24), (20, 60, 25, 30))

    image = as_example(picture, MNIST)

    top, bottom, left, right = box(image)
    assert (bottom - top, right - left) == (20, 5)
    assert image[top, left:right].tolist() == [255, 255, 128, 255, 255]


@pytest.mark.parametrize(
    ("paper", "ink"), [(0, 255), (255, 0), (140, 255), (110, 0), (226, 255), (200, 180), (255, 226)]
)
def test_any_ink_on_any_paper_is_white_on_black(paper, ink):
    strokes = (120, 220, 5, 35), (200, 220, 35, 80)

    image = as_example(drawn(280, 200, *strokes, paper=paper, ink=ink), MNIST)

    np.testing.assert_array_equal(image, as_example(drawn(280, 200, *strokes), MNIST))


def test_a_stroke_that_touches_the_border_is_still_ink():
    image = as_example(drawn(100, 100, (0, 100, 40, 60)), MNIST)

    assert box(image) == (4, 24, 12, 16)


def test_faint_noise_does_not_count_for_the_size():
    stroke = (120, 220, 5, 35)
    noise = np.random.default_rng(0).integers(0, 12, (280, 200), dtype=np.uint8)

    image = as_example(np.maximum(drawn(280, 200, stroke), noise + 10) - noise, MNIST)

    assert box(image) == (4, 24, 11, 17)


@pytest.mark.parametrize("times", [2, 3, 10])
def test_a_digit_of_mnist_enlarged_and_inverted_comes_back(digit, times):
    np.testing.assert_array_equal(as_example(255 - enlarged(digit, times), MNIST), digit)


def test_a_digit_comes_back_from_any_place(digit):
    picture = np.pad(255 - enlarged(digit, 5), ((0, 300), (70, 10)), constant_values=255)

    np.testing.assert_array_equal(as_example(picture, MNIST), digit)


def test_an_image_of_the_right_shape_with_a_black_border_is_taken_as_it_is():
    image = drawn(28, 28, (3, 6, 3, 6), paper=0, ink=200)

    np.testing.assert_array_equal(as_example(image, MNIST), image)


def test_an_image_of_the_right_shape_with_a_white_border_is_a_drawing():
    assert box(as_example(drawn(28, 28, (3, 6, 3, 6)), MNIST)) == (4, 24, 4, 24)


def test_the_digits_of_scikit_learn_fill_their_images():
    # 100 by 50: 8 by 4, its middle at 3.5.
    assert box(as_example(drawn(280, 200, (120, 220, 5, 55)), (8, 8))) == (0, 8, 2, 6)


def test_other_images_have_the_proportions_of_mnist():
    assert box(as_example(drawn(280, 200, (120, 220, 5, 105)), (56, 56))) == (8, 48, 8, 48)


@pytest.mark.parametrize(
    "picture",
    [
        drawn(280, 200),
        drawn(28, 28, paper=0),
        drawn(1, 1),
        drawn(28, 28, (5, 20, 5, 20), paper=0, ink=15),
    ],
    ids=["white", "black", "one pixel", "no ink to speak of"],
)
def test_a_blank_picture_is_refused(picture):
    assert is_blank(picture)
    with pytest.raises(ValueError, match="a blank picture"):
        as_example(picture, MNIST)


def test_ink_is_not_blank():
    assert not is_blank(drawn(280, 200, (0, 1, 0, 1), ink=200))
