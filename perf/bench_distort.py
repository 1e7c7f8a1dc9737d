"""Images distorted at random, of MNIST's shape: elastic and affine. A shape is (batch, pixels).

    python -m perf.bench_distort [THREADS]    all 60,000, beside the peers that are installed

Libraries draw other numbers. So the cases have black images, whose result is known.
"""

import math
import os
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
ROUNDS = 7


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
    """As people write it with SciPy: image after image."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    rng = np.random.default_rng(SEED)
    grid = np.indices((SIDE, SIDE), np.float32) - (SIDE - 1) / 2

    def distort(x):
        out = np.empty_like(x)
        for image, found in zip(x, out, strict=True):
            noise = rng.random((2, SIDE, SIDE), np.float32) * 2 - 1
            field = np.array([gaussian_filter(one, SIGMA, truncate=2.5) for one in noise])
            angle, slant, *factors = rng.uniform(-1, 1, 4)
            sine, cosine = np.sin(ANGLE * angle), np.cos(ANGLE * angle)
            a = np.array([[1, 0], [np.tan(ANGLE * slant), 1]]) @ [[cosine, sine], [-sine, cosine]]
            a = (1 + SCALE * np.array(factors))[:, None] * a
            at = np.tensordot(a, grid, 1) + (SIDE - 1) / 2 + ALPHA * field
            found[...] = map_coordinates(image, at, order=1, mode="grid-constant")
        return out

    return distort


def albumentations_distort():
    """Two transforms, image after image: the library has one field for all images of a batch."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it looks for a newer version
    import albumentations

    angles, factors = (-math.degrees(ANGLE), math.degrees(ANGLE)), (1 - SCALE, 1 + SCALE)
    change = albumentations.Compose(
        [
            albumentations.ElasticTransform(ALPHA, SIGMA, noise_distribution="uniform", p=1),
            albumentations.Affine(
                scale={"x": factors, "y": factors},
                rotate=angles,
                shear={"x": angles, "y": (0, 0)},
                p=1,
            ),
        ]
    )
    return lambda x: np.stack([change(image=image)["image"] for image in x])


def torchvision_distort():
    """Two transforms, image after image: it has one field for all images of a batch."""
    import torch
    from torchvision.transforms import v2

    degrees = math.degrees(ANGLE)
    change = v2.Compose(
        [
            v2.ElasticTransform(2 * ALPHA, SIGMA),  # it counts in halves of a pixel
            v2.RandomAffine(
                degrees,
                scale=(1 - SCALE, 1 + SCALE),
                shear=degrees,
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
        ]
    )

    def distort(x):
        with torch.inference_mode():
            return torch.cat([change(image) for image in torch.from_numpy(x)[:, None]]).numpy()

    return distort


def torch_distort():
    """As people write it for batches with PyTorch's convolutions: a field for each image."""
    import torch
    from torch.nn import functional

    taps = torch.exp(-0.5 * (torch.arange(-REACH, REACH + 1) / SIGMA) ** 2)
    taps /= taps.sum()

    def change(x):
        n, side = len(x), SIDE + 2 * REACH
        field = torch.rand(2 * n, 1, side, side) * 2 - 1
        field = functional.conv2d(field, taps.view(1, 1, -1, 1))
        field = functional.conv2d(field, taps.view(1, 1, 1, -1)).view(n, 2, SIDE, SIDE)
        angle, slant, down, right = torch.rand(4, n) * 2 - 1
        sine, cosine, slope = (ANGLE * angle).sin(), (ANGLE * angle).cos(), (ANGLE * slant).tan()
        fx, fy, none = 1 + SCALE * right, 1 + SCALE * down, torch.zeros(n)
        across = fx * (cosine + slope * sine), fx * (slope * cosine - sine), none
        theta = torch.stack([*across, fy * sine, fy * cosine, none], 1).view(n, 2, 3)
        at = functional.affine_grid(theta, [n, 1, SIDE, SIDE], align_corners=False)
        at += field.permute(0, 2, 3, 1) * (2 * ALPHA / SIDE)  # SIDE pixels go from -1 to 1
        found = functional.grid_sample(x[:, None].float(), at, align_corners=False)
        return found[:, 0].add_(0.5).to(torch.uint8)

    def distort(x):
        with torch.inference_mode():
            return torch.cat([change(batch) for batch in torch.from_numpy(x).split(BATCH)]).numpy()

    return distort


def alone(make):
    """The same on one thread of PyTorch: more would spin, which few small images do not repay."""

    def made():
        import torch

        distort = make()

        def on_one(x):
            before = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                return distort(x)
            finally:
                torch.set_num_threads(before)

        return on_one

    return made


PEERS = {  # the function that makes each, and the number of images that it is timed on
    "scipy": (scipy_distort, 500),
    "albumentations": (albumentations_distort, 500),
    "torchvision": (torchvision_distort, 50),
    "torchvision, 1 thread": (alone(torchvision_distort), 200),
    "torch by hand": (torch_distort, 2000),
    "torch by hand, 1 thread": (alone(torch_distort), 2000),
}


def compare(threads):
    """Print medians over rounds: seconds for all images; a peer's time for a few is scaled up."""
    from jitprop import kernels

    kernels.set_num_threads(threads)
    x = images(IMAGES, SIDE, SIDE)(np.random.default_rng(SEED), np.dtype(np.uint8))
    flat, result = x.reshape(IMAGES, PIXELS), np.zeros((IMAGES, PIXELS), np.uint8)
    at, drawn = np.arange(IMAGES), np.array([1, 1, SIDE])
    ours = f"jitprop, {threads} thread{'s' * (threads != 1)}"
    calls: dict[str, tuple[Callable, int]] = {
        ours: (lambda x: kernels.distort(flat, at[: len(x)], drawn, *NUMBERS, result), IMAGES)
    }
    for name, (make, count) in PEERS.items():
        try:
            calls[name] = make(), count
        except ImportError as error:
            print(f"{name}: left out, {error.name} is not installed")
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for number_of_round in range(1 + ROUNDS):  # the first warms up
        for name, (call, count) in calls.items():
            some = x[:count]
            start = time.perf_counter()
            call(some)
            if number_of_round:
                taken[name].append((time.perf_counter() - start) * IMAGES / count)
    ratios = {name: float(np.median(np.divide(t, taken[ours]))) for name, t in taken.items()}
    for name, times in taken.items():
        spent = f"{np.median(times):9.2f} s for {IMAGES:,} images ({min(times):.2f})"
        print(f"{name:24}{spent}{ratios[name]:8.1f}x")
    best = min((name for name in ratios if name != ours), key=ratios.__getitem__, default=None)
    if best:
        print(f"the best of the others, {best}, takes {ratios[best]:.1f} times as long")


if __name__ == "__main__":
    compare(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
