"""How images are distorted as they are learned from, never twice in the same way."""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.training.examples import Array
from jitprop.training.settings import a_number

LARGEST_SIGMA, LARGEST_SIDE = 20, 64  # what a thread's memory holds


@dataclass(frozen=True)
class Distortion:
    """How far images go: see `jitprop.kernels.distort`.

    An image is told by the seed of the training, the epoch and its place in the training set. So it
    depends neither on threads nor on batches or their order.

    Attributes
    ----------
    alpha : float
        Pixels by which the elastic field is multiplied, at least 0; 0 for none.
    sigma : float
        Pixels over which the field is smoothed, above 0, at most 20.
    rotate, shear : float
        The largest angles, in degrees, from 0 to 80.
    scale : float
        How much larger or smaller an image becomes at most, in both directions by themselves: from
        0 to below 1, 0.1 for a tenth.
    shift : float
        The most pixels down or up, right or left, at least 0.

    Raises
    ------
    ValueError
        A number is out of range.
    TypeError
        A value is no number.
    """

    alpha: float = 34.0
    sigma: float = 4.0
    rotate: float = 7.5
    shear: float = 7.5
    scale: float = 0.08
    shift: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, a_number(field.name, getattr(self, field.name)))
        for name, most in (
            ("alpha", 1e4),
            ("sigma", LARGEST_SIGMA),
            ("rotate", 80),
            ("shear", 80),
            ("scale", 0.9),
            ("shift", 1e4),
        ):
            value = getattr(self, name)
            if not 0 <= value <= most or (name == "sigma" and value == 0):
                least = "above 0" if name == "sigma" else "from 0"
                raise ValueError(f"{name} must be {least} to {most:g}, not {value}")

    def numbers(self) -> tuple[float, ...]:
        """Return the numbers that the kernel takes, in its order; angles are radians."""
        rotate, shear = self.rotate * math.pi / 180, self.shear * math.pi / 180
        return self.alpha, self.sigma, rotate, shear, self.scale, self.shift


class Distorted:
    """Images of a training set, distorted as batches take them.

    Parameters
    ----------
    images : (n, pixels) uint8
    width : int
        Pixels in a row of an image.
    how : Distortion
    key : (3,) int64
        The seed, the epoch, which changes from one to the next, and `width`.
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
        They are no images.
    """
    x = np.ascontiguousarray(images)
    if x.dtype != np.uint8:
        raise TypeError(f"images are {x.dtype}, expected bytes, uint8")
    width = width_of(x.shape)
    flat = x.reshape(len(x), math.prod(x.shape[1:]))
    found, key = np.empty_like(flat), np.array([seed, epoch, width])
    kernels.distort(flat, np.arange(len(x)), key, *distortion.numbers(), found)
    return found.reshape(x.shape)
