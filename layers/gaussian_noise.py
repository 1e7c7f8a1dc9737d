"""Gaussian noise: `y = x + std * normal`, `dx = dy`; in evaluation `y = x`."""

import math

import numpy as np

from jitprop import kernels
from jitprop.layers.at_random import AtRandom
from jitprop.layers.batch import Array, as_number


class GaussianNoise(AtRandom):
    """Adds normal random numbers to (batch, features) while `training`.

    Parameters
    ----------
    std : float
        The standard deviation of what is added, at least 0. `fit` divides bytes by 255 first, so
        pixels lie between 0 and 1.
    rng : Generator, int or None
        A NumPy Generator, a seed for one, or None for a fresh one. It draws the seed in `state`.
        Layers of one network should share a Generator.

    Attributes
    ----------
    state : (2,) int64
        The seed, and how many calls of `fprop` there were in training.

    Raises
    ------
    ValueError
        `std` is negative or not finite.
    TypeError
        `std` is not a number.

    References
    ----------
    Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995. Rasmus et al.,
    "Semi-supervised learning with ladder networks", 2015, section 4.1.
    """

    def __init__(self, std: float = 0.1, rng: np.random.Generator | int | None = None) -> None:
        self.std = as_number("GaussianNoise", "std", std)
        if not (self.std >= 0 and math.isfinite(self.std)):
            raise ValueError(f"{self!r}: std must be 0 or more and finite")
        super().__init__(rng)

    def _forwards(self, x: Array, y: Array) -> None:
        kernels.gaussian_noise(x, self._key, self.std, y)

    def _backwards(self, dy: Array) -> Array:
        return dy

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.std})"
