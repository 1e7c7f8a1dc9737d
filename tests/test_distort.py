"""kernels/distort.py: images as the formula has them, drawn by seed, epoch and place alone."""

import itertools
from functools import partial

import numpy as np
import pytest
import reference
from plain import PLAIN

from jitprop import kernels

NONE = {"alpha": 0, "sigma": 1, "rotate": 0, "shear": 0, "scale": 0, "shift": 0}
MNIST = {"alpha": 34, "sigma": 4, "rotate": 0.13, "shear": 0.13, "scale": 0.08, "shift": 1}
SIZES = [(1, 1), (5, 9), (1, 7), (7, 1), (2, 2)]
if not PLAIN:
    SIZES += [(28, 28), (20, 33), (32, 64), (31, 17), (3, 100)]
MOVES = [
    {"alpha": 3, "sigma": 0.3},
    {"rotate": 0.5},
    {"shear": 0.5},
    {"scale": 0.5},
    {"shift": 3},
    *([] if PLAIN else [{"alpha": 100, "sigma": s} for s in (0, 0.6, 1, 1.7, 8, 38.4)]),
    *([] if PLAIN else [MNIST, {"rotate": np.pi, "shear": -1.2, "scale": -0.9, "shift": -4}]),
]


def noise(n, height, width):
    return np.random.default_rng(height * width).integers(0, 256, (n, height * width), np.uint8)


def distorted(images, index, key, make=np.asarray, **numbers):
    """What the kernel makes of `images[index]`; numbers that are not given distort nothing."""
    numbers = {**NONE, **numbers}
    out = make(np.full((len(index), images.shape[1]), 7, np.uint8))
    kernels.distort(
        images, np.array(index, order="C"), np.array(key), *map(float, numbers.values()), out
    )
    return out


def bound(height, width, alpha=0, sigma=1, shift=0, **others):
    """How far a pixel may be from the reference.

    A step of one pixel down or right changes what is read by 255 at most. Each coordinate is
    rounded by half of 1/256. What comes before is float32: the weights are right to 2 units in the
    last place, two chains of `count` multiply-adds make the field, and the place is some ten
    operations on numbers as large as the image. The result is rounded by a half.
    """
    count = 2 * int(2.5 * sigma + 0.5) + 1
    inexact = (abs(alpha) * (2 * count + 6) + 10 * (height + width + abs(shift))) * 2.0**-23
    return 0.5 + 2 * 255 * (1 / 512 + inexact)


@pytest.mark.parametrize("numbers", MOVES, ids=str)
def test_images_are_those_of_the_formula(numbers, guarded):
    for height, width in SIZES:
        images, key = guarded(noise(4, height, width)), (2**63 - 1, -5, width)
        index = [3, 0, 1]
        out = distorted(images, index, key, guarded, **numbers)
        expected = reference.distort(images, index, key, **{**NONE, **numbers})
        off = np.abs(out - expected)
        assert off.max() <= bound(height, width, **numbers), (height, width)
        # Rounding to a whole number alone makes 1/4 on average, and places hardly more.
        assert off.mean() < 0.3 or height * width < 100, (height, width)


def test_far_along():
    """Counters beyond 32 bits: an image has 2^24 of them, so these begin with the 257th."""
    images, key = noise(301, 5, 9), (1, 2**40 + 1, 9)
    out = distorted(images, [300, 44], key, **MNIST)
    expected = reference.distort(images, [300, 44], key, **MNIST)
    assert np.abs(out - expected).max() <= bound(5, 9, **MNIST)


@pytest.mark.skipif(PLAIN, reason="looks at many pixels")
@pytest.mark.parametrize(
    ("name", "factor"),
    [("alpha", 1.02), ("sigma", 1.02), ("alpha", -1), *((k, -1) for k in list(MNIST)[2:])],
)
def test_the_bound_tells_a_wrong_formula(name, factor):
    images, key = noise(4, 28, 28), (1, 2, 28)
    out = distorted(images, range(4), key, **MNIST)
    wrong = MNIST | {name: factor * MNIST[name]}
    off = np.abs(out - reference.distort(images, range(4), key, **wrong))
    assert off.max() > bound(28, 28, **MNIST)


def test_all_zero_is_the_image_itself():
    for (height, width), sigma in itertools.product(SIZES, (0, 4)):
        images = noise(3, height, width)
        out = distorted(images, [2, 0, 2], (5, 6, width), sigma=sigma)
        np.testing.assert_array_equal(out, images[[2, 0, 2]])


# --- Each number of the map, by hand ------------------------------------------------------------


def drawn(place, key):
    """Six numbers from -1 to 1: angle, slant, two factors, two shifts."""
    words = [
        reference.philox((place * 2**24 + i, 0, key[1], 0), (key[0], 0), 7)[0] for i in range(6)
    ]
    return [word / 2**31 - 1 for word in words]


DIGIT = np.arange(10, 250, 3, np.uint8)[:25]


def of_one(images, key, **numbers):
    return distorted(images.reshape(1, -1), [0], key, **numbers).reshape(images.shape)


def test_rotation():
    """A right angle: what is right goes up for a positive one, down for a negative one."""
    image, seen = DIGIT.reshape(5, 5), set()
    for seed in range(9):
        angle = drawn(0, (seed, 3))[0]
        if abs(angle) > 0.5:  # so that `rotate` is at most pi
            out = of_one(image, (seed, 3, 5), rotate=np.pi / 2 / abs(angle))
            np.testing.assert_array_equal(out, np.rot90(image, 1 if angle > 0 else -1))
            seen.add(angle > 0)
    assert seen == {True, False}


def test_shear():
    """By 45 degrees: each row looks one pixel farther to the right than the row above."""
    image = DIGIT.reshape(5, 5)
    for seed in range(3):
        slant = drawn(0, (seed, 3))[1]
        out = of_one(image, (seed, 3, 5), shear=np.pi / 4 / slant)
        expected = np.zeros((5, 9), np.uint8)
        expected[:, 2:7] = image
        expected = [row[i : i + 5] for i, row in enumerate(expected)]
        np.testing.assert_array_equal(out, expected)


def test_scale():
    """Twice as far from the centre: 0, 2, 4 of five rows are seen; and columns by themselves."""
    image = np.ascontiguousarray(DIGIT.reshape(5, 5))
    for seed in range(3):
        down, right = drawn(0, (seed, 3))[2:4]
        out = of_one(image, (seed, 3, 5), scale=1 / down)
        np.testing.assert_array_equal(out[1:4, 2], image[::2, 2])
        assert out[0, 2] == out[4, 2] == 0
        out = of_one(image, (seed, 3, 5), scale=1 / right)
        np.testing.assert_array_equal(out[2, 1:4], image[2, ::2])


def test_shift():
    """What was one lower, or one farther to the right."""
    image = np.repeat(DIGIT[:5], 5).reshape(5, 5)
    for seed in range(9):
        down, right = drawn(0, (seed, 3))[4:]
        if abs(right) < abs(down):  # less than a pixel to the side
            out = of_one(image, (seed, 3, 5), shift=1 / down)
            np.testing.assert_array_equal(out[:, 2], [*image[1:, 2], 0])
        else:
            out = of_one(image.T.copy(), (seed, 3, 5), shift=1 / right)
            np.testing.assert_array_equal(out[2], [*image[1:, 2], 0])


# --- Random numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), SIZES[1:2] if PLAIN else [(5, 9), (28, 28)])
def test_seed_epoch_and_place_alone(height, width):
    images, key = np.repeat(noise(1, height, width), 40, 0), (1, 2, width)
    index, threads = np.arange(6 if PLAIN else 40), kernels.get_num_threads()
    whole = distorted(images, index, key, **MNIST)
    assert len({row.tobytes() for row in whole}) == len(index)
    try:
        for count in (1, 2, 3):
            kernels.set_num_threads(count)
            np.testing.assert_array_equal(distorted(images, index[::-1], key, **MNIST), whole[::-1])
            np.testing.assert_array_equal(
                distorted(images, [5, 3, 5], key, **MNIST), whole[[5, 3, 5]]
            )
            np.testing.assert_array_equal(distorted(images, [4], key, **MNIST), whole[[4]])
    finally:
        kernels.set_num_threads(threads)
    for other in [(2, 2), (1, 3), (2, 1), (1 + 2**32, 2), (1, 2 + 2**32), (-1, 2), (1, -2)]:
        out = distorted(images, index[:6], (*other, width), **MNIST)
        assert (out != whole[:6]).any(1).all(), other


SIGMA, ALPHA, MANY = 2, 3, 400


def spread():
    """The variance of a displacement: of 16 levels, times that of the smoothing, twice.

    About 0.06: a displacement of a whole pixel is 4 standard deviations.
    """
    return ALPHA**2 * (16**2 - 1) / 12 / 64 * (reference.gaussian(SIGMA) ** 2).sum() ** 2


@pytest.mark.skipif(PLAIN, reason="many images")
@pytest.mark.parametrize("down", [False, True])
def test_how_far_pixels_are_moved(down):
    """A slope of 9 a pixel shows it in the middle, where what is orthogonal changes nothing.

    Images have some 16 independent numbers each, 784 pixels of which 50 move together: 4 standard
    deviations of the mean of 6000 are 0.05 of one, and of their variance 0.075 of itself.
    """
    slope = np.add.outer(np.zeros(28), 9 * np.arange(28)).astype(np.uint8)
    images = np.repeat((slope.T if down else slope).reshape(1, -1), MANY, 0)
    out = distorted(images, range(MANY), (1, 2, 28), alpha=ALPHA, sigma=SIGMA)
    moved = ((out - images.astype(float)) / 9).reshape(-1, 28, 28)[:, 2:-2, 2:-2]
    assert abs(moved.mean()) < 0.05 * spread() ** 0.5
    rounding = 1 / 12 / 81  # of a result to a whole number
    assert abs(moved.var() - spread() - rounding) < 0.075 * spread()
    together = (moved[:, 1:] * moved[:, :-1]).mean(), (moved[:, :, 1:] * moved[:, :, :-1]).mean()
    weights = reference.gaussian(SIGMA)
    expected = spread() * (weights[1:] * weights[:-1]).sum() / (weights**2).sum()
    np.testing.assert_allclose(together, expected, rtol=0.075)


@pytest.mark.skipif(PLAIN, reason="many images")
def test_borders_move_as_the_middle_does():
    """A white image is darker at a border by as much as is read outside: half of the variance.

    Of a border some 4 numbers are independent in each image, 1600 in all, half of them inwards:
    4 standard deviations are 0.25 of the variance.
    """
    images = np.full((MANY, 784), 255, np.uint8)
    out = distorted(images, range(MANY), (1, 2, 28), alpha=ALPHA, sigma=SIGMA).reshape(-1, 28, 28)
    for side in (out[:, 0, 2:-2], out[:, -1, 2:-2], out[:, 2:-2, 0], out[:, 2:-2, -1]):
        dark = 1 - side / 255
        assert abs((dark**2).mean() - spread() / 2) < 0.25 * spread() / 2
        assert abs((dark > 0).mean() - 0.5) < 0.05
    assert (out[:, 4:-4, 4:-4] == 255).all()


# --- What makes no sense ------------------------------------------------------------------------


STRANGE = (np.nan, -np.inf, 1e300) if PLAIN else (np.nan, np.inf, -np.inf, 1e300, -1e300, 3e9, -1e5)


@pytest.mark.parametrize("name", NONE)
def test_strange_numbers_stay_inside(name, guarded, fenced):
    """Around black images there is white, and around those of `fenced` nothing."""
    with np.errstate(all="ignore"):
        for (height, width), value in itertools.product(SIZES[1:2] + SIZES[5:6], STRANGE):
            key, numbers = (1, 2, width), {**MNIST, "sigma": 1, name: value}
            black = guarded(np.zeros((2, height * width), np.uint8))
            assert not distorted(black, [1, 0], key, guarded, **numbers).any()
            for before in (False, True):
                edge = partial(fenced, before=before)
                distorted(edge(black), [0, 1], key, edge, **numbers)


def test_pixels_that_make_no_rows(guarded):
    """Images come back as they are where the width is none of theirs."""
    images = guarded(noise(3, 5, 9))
    for width in (0, -1, -9, 2, 7, 46, 90, 2**62, 2**63 - 1, -(2**63)):
        out = distorted(images, [2, 0], (1, 2, width), guarded, **MNIST)
        np.testing.assert_array_equal(out, images[[2, 0]])
    for width in (1, 3, 5, 15, 45):
        assert (distorted(images, [2, 0], (1, 2, width), guarded, **MNIST) != images[[2, 0]]).any()


def test_images_that_do_not_fit_into_scratch_memory(guarded):
    for height, width, sigma in [(240, 240, 1), (2, 20_000, 1), (20_000, 2, 0)]:
        images = guarded(noise(2, height, width))
        out = distorted(images, [1], (1, 2, width), guarded, **MNIST | {"sigma": sigma})
        np.testing.assert_array_equal(out, images[[1]])


@pytest.mark.skipif(PLAIN, reason="large images")
def test_the_largest_that_fit(guarded):
    for size in range(191, 198):
        images, key = guarded(noise(1, size, size)), (1, 2, size)
        out = distorted(images, [0], key, guarded, **MNIST)
        if size <= 194:
            expected = reference.distort(images, [0], key, **MNIST)
            assert np.abs(out - expected).max() <= bound(size, size, **MNIST)
        else:
            np.testing.assert_array_equal(out, images)


@pytest.mark.parametrize(("n", "pixels", "batch"), [(3, 45, 0), (0, 45, 0), (3, 0, 2)])
def test_nothing_to_do(n, pixels, batch, guarded):
    images = guarded(np.zeros((n, pixels), np.uint8))
    for width in (1, 9, 0):
        out = distorted(images, np.zeros(batch, int), (1, 2, width), guarded, **MNIST)
        assert out.shape == (batch, pixels)
