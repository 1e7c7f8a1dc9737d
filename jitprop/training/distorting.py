"""Images of a training set, distorted as batches take them."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import as_integer
from jitprop.layers.node import what
from jitprop.training.distortion import Distortion
from jitprop.training.examples import Array

LARGEST_SIDE = 64  # pixels, for which a thread's memory holds the field


class Distorted:
    """Images of a training set, distorted as batches take them.

    Parameters
    ----------
    images : (n, pixels) uint8
    how : Distortion
    key : (3,) int64
        The seed, the epoch, which changes from one to the next, and the pixels in a row.
    size : int
        Images in a batch.
    """

    def __init__(self, images: Array, how: Distortion, key: Array, size: int) -> None:
        self.images, self.how, self.key = images, how, key
        self.batch = np.zeros((size, images.shape[1]), np.uint8)
        self.index = np.arange(size)
        self.source: Any = None

    def take(self, index: Array) -> Any:
        """Return the images `index`, int64 (batch,), as the network takes them."""
        batch = self.batch[: len(index)]
        kernels.distort(self.images, index, self.key, *self.how.numbers(), batch)
        return self.source.take(self.index[: len(index)])


def width_of(shape: tuple[int, ...]) -> int:
    """Return the pixels in a row of images of a shape, (n, height, width) or (n, pixels).

    Raises
    ------
    ValueError
        They are no images, or too large.
    """
    if len(shape) == 3:
        height, width = shape[1:]
    else:
        height = width = math.isqrt(math.prod(shape[1:]))
    if len(shape) not in (2, 3) or height * width != math.prod(shape[1:]):
        raise ValueError(f"distort takes images (n, height, width), x has shape {shape}")
    if max(height, width) > LARGEST_SIDE:
        raise ValueError(
            f"distort takes images of at most {LARGEST_SIDE} pixels a side, x has shape {shape}"
        )
    return width


def distorted(
    images: npt.ArrayLike, distortion: Distortion, seed: int = 0, epoch: int = 1
) -> npt.NDArray[np.uint8]:
    """Return images as an epoch of training would see them, to be looked at.

    Parameters
    ----------
    images : (n, height, width) or (n, pixels) uint8
    distortion : Distortion
    seed, epoch : int
        Two numbers that tell, with the place of an image among the others, how it is distorted.

    Returns
    -------
    array of the shape of `images`, uint8

    Raises
    ------
    ValueError, TypeError
        They are no images, or another argument makes no sense.
    """
    if not isinstance(distortion, Distortion):
        raise TypeError(f"distortion is {what(distortion)}, expected Distortion(...)")
    numbers = {"seed": seed, "epoch": epoch}
    for name, number in numbers.items():
        numbers[name] = as_integer("distorted", name, number)
        if not 0 <= numbers[name] < 2**63:
            raise ValueError(f"distorted: {name} is {number}, expected 0 to 2^63 - 1")
    x = np.ascontiguousarray(images)
    if x.dtype != np.uint8:
        raise TypeError(f"images are {x.dtype}, expected bytes, uint8")
    width = width_of(x.shape)
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    found, key = np.empty_like(flat), np.array([*numbers.values(), width])
    kernels.distort(flat, np.arange(len(x)), key, *distortion.numbers(), found)
    return found.reshape(x.shape)
