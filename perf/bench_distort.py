"""Images distorted at random, of MNIST's shape: elastic and affine. A shape is (batch, pixels).

    python -m perf.bench_distort [THREADS]    all 60,000, beside SciPy, if that is installed

Libraries draw other numbers. So images are black in the cases: what comes of black is known.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from perf.cases import SEED, Case, images, indices, number

IMAGES, SIDE, BATCH = 60_000, 28, 100
PIXELS = SIDE * SIDE
ALPHA, SIGMA, ANGLE, SCALE = 34.0, 4.0, np.pi / 24, 0.08  # 7.5 degrees
NUMBERS = (ALPHA, SIGMA, ANGLE, ANGLE, SCALE, 0.0)
REACH = round(2.5 * SIGMA)
WEIGHTS = 2 * REACH + 1
FLOPS = 2 * 2 * WEIGHTS * (SIDE * (SIDE + 2 * REACH) + PIXELS) + 20 * PIXELS  # of an image
FEW, ROUNDS = 500, 5  # images for SciPy, rounds


def cases():
    yield Case(
        "distort",
        (BATCH, PIXELS),
        [black, indices(BATCH, IMAGES), key, *map(number, NUMBERS), out],
        {"jitprop": lambda kernels: kernels.distort, "numpy": numpy_distort},
        lambda *args: [(np.zeros((BATCH, PIXELS)), np.zeros((BATCH, PIXELS)))],
        flops=FLOPS * BATCH,
        floats=0,
        other_bytes=(2 * PIXELS + 8) * BATCH,
    )


def black(rng, dtype):
    return np.full((IMAGES, PIXELS), 0, np.uint8)


def out(rng, dtype):
    return np.full((BATCH, PIXELS), 7, np.uint8)


def key(rng, dtype):
    return np.array([1, 1, SIDE])


def numpy_distort(np):
    rng = np.random.default_rng(SEED)

    def maps(count, rotate, shear, scale, shift):
        """Matrices of images, and shifts."""
        angle, slant, down, right, *shifts = rng.uniform(-1, 1, (6, count)).astype(np.float32)
        sine, cosine, slope = np.sin(rotate * angle), np.cos(rotate * angle), np.tan(shear * slant)
        a = np.array([[cosine, sine], [slope * cosine - sine, cosine + slope * sine]])
        a *= 1 + scale * np.array([down, right])[:, None]
        return a.transpose(2, 0, 1), shift * np.array(shifts).T

    def field(count, sigma):
        weights = np.exp(-0.5 * (np.arange(-REACH, REACH + 1, dtype=np.float32) / sigma) ** 2)
        weights /= weights.sum()
        x = rng.random((count, 2, SIDE + 2 * REACH, SIDE + 2 * REACH), np.float32) * 2 - 1
        x = sum(w * x[:, :, k : k + SIDE] for k, w in enumerate(weights))
        return sum(w * x[..., k : k + SIDE] for k, w in enumerate(weights))

    def distort(x, index, key, alpha, sigma, rotate, shear, scale, shift, out):
        a, moved = maps(len(index), rotate, shear, scale, shift)
        centre = np.float32((SIDE - 1) / 2)
        at = np.einsum("nab,bij->naij", a, np.indices((SIDE, SIDE)) - centre)
        at += centre + moved[:, :, None, None] + alpha * field(len(index), sigma)
        at = np.clip(at + 1, 0, SIDE + 1)
        padded = np.pad(x[index].reshape(-1, SIDE, SIDE), ((0, 0), (1, 2), (1, 2)))
        cell = at.astype(int)
        (i, j), n = cell.swapaxes(0, 1), np.arange(len(index))[:, None, None]
        y, x = (at - cell).swapaxes(0, 1)
        above = (1 - x) * padded[n, i, j] + x * padded[n, i, j + 1]
        below = (1 - x) * padded[n, i + 1, j] + x * padded[n, i + 1, j + 1]
        np.rint((1 - y) * above + y * below, out=out.reshape(n.size, SIDE, SIDE), casting="unsafe")

    return distort


def scipy_distort():
    """As it is written with SciPy: image after image."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    rng = np.random.default_rng(SEED)
    grid = np.indices((SIDE, SIDE), np.float32) - (SIDE - 1) / 2

    def distort(x, index, key, alpha, sigma, rotate, shear, scale, shift, out):
        for row, place in enumerate(index):
            noise = rng.random((2, SIDE, SIDE), np.float32) * 2 - 1
            at = [gaussian_filter(one, sigma, truncate=2.5) for one in noise]
            angle, slant, *factors = rng.uniform(-1, 1, 4)
            sine, cosine = np.sin(rotate * angle), np.cos(rotate * angle)
            a = np.array([[1, 0], [np.tan(shear * slant), 1]]) @ [[cosine, sine], [-sine, cosine]]
            a = (1 + scale * np.array(factors))[:, None] * a
            at = np.tensordot(a, grid, 1) + (SIDE - 1) / 2 + alpha * np.array(at)
            image = x[place].reshape(SIDE, SIDE)
            read = map_coordinates(image, at, order=1, mode="grid-constant")
            out[row] = read.reshape(-1)

    return distort


def compare(threads):
    """Print medians over rounds: seconds for all images; SciPy's of a few, times as many."""
    from jitprop import kernels

    kernels.set_num_threads(threads)
    x = images(IMAGES, PIXELS)(np.random.default_rng(SEED), np.dtype(np.uint8))
    at = np.arange(IMAGES)
    calls: dict[str, tuple[Callable, int]] = {"jitprop": (kernels.distort, IMAGES)}
    try:
        calls["scipy"] = scipy_distort(), FEW
    except ImportError:
        print("SciPy is not installed: pip install 'jitprop[sklearn]'")
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, (call, count) in calls.items():
            result = np.zeros((count, PIXELS), np.uint8)
            start = time.perf_counter()
            call(x, at[:count], np.array([1, 1, SIDE]), *NUMBERS, result)
            taken[name].append((time.perf_counter() - start) * IMAGES / count)
    for name, times in taken.items():
        print(f"{name:8}{np.median(times):8.2f} s for {IMAGES} images ({min(times):.2f})")
    if "scipy" in taken:
        ratio = np.median(np.divide(taken["scipy"], taken["jitprop"]))
        print(f"{ratio:.0f} times as long with SciPy on one thread, {threads} of ours")


if __name__ == "__main__":
    compare(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
