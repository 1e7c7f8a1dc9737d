"""Images of a training set, distorted when batches take them."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop import kernels
from jitprop.layers.batch import as_integer
from jitprop.layers.node import what
from jitprop.training.distortion import Distortion
from jitprop.training.examples import Array

LARGEST_SIDE = 64  # pixels: for these, a thread's memory holds the field
EPOCHS, ACROSS = 3, 10  # in a gallery


class Distorted:
    """Images of a training set, distorted when batches take them.

    Parameters
    ----------
    images : (n, pixels) uint8
    how : Distortion
    key : (3,) int64
        The seed, the present epoch, and the pixels in a row.
    size : int
        Images in a batch.
    """

    def __init__(self, images: Array, how: Distortion, key: Array, size: int) -> None:
        self.images, self.how, self.key = images, how, key
        self.batch = np.zeros((size, images.shape[1]), np.uint8)
        self.index = np.arange(size)
        self.source: Any = None

    def take(self, index: Array) -> Any:
        """Return the images `index`, int64 (batch,), in the form that the network takes."""
        batch = self.batch[: len(index)]
        kernels.distort(self.images, index, self.key, *self.how.numbers(), batch)
        return self.source.take(self.index[: len(index)])


def width_of(shape: tuple[int, ...]) -> int:
    """Return the pixels in a row of images of a shape, (n, height, width) or (n, pixels).

    Raises
    ------
    ValueError
        They are not images, or they are too large.
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
    images: npt.ArrayLike,
    distortion: Distortion,
    seed: int = 0,
    epoch: int = 1,
    index: npt.ArrayLike | None = None,
) -> npt.NDArray[np.uint8]:
    """Return images as an epoch of training would see them, for people to look at.

    Parameters
    ----------
    images : (n, height, width) or (n, pixels) uint8
    distortion : Distortion
    seed, epoch : int
        With the place of an image among the others, these numbers say how it is distorted.
    index : (m,) integers, optional
        Places of the images to return; without it, all.

    Returns
    -------
    array of the shape of `images`, or of `images[index]`, uint8

    Raises
    ------
    ValueError, TypeError
        `images` are not images, or another argument makes no sense.
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
    places = np.arange(len(x)) if index is None else _places(index, len(x))
    found = np.empty((len(places), flat.shape[1]), np.uint8)
    key = np.array([*numbers.values(), width])
    kernels.distort(flat, places, key, *distortion.numbers(), found)
    return found.reshape(-1, *x.shape[1:])


def _places(index: npt.ArrayLike, count: int) -> Array:
    """Return places of images in the form that the kernel takes."""
    places = np.asarray(index)
    if places.ndim != 1 or places.dtype.kind not in "iu":
        raise TypeError(
            f"distorted: index is {places.dtype} of shape {places.shape}, expected integers, (m,)"
        )
    if np.any((places < 0) | (places >= count)):
        raise ValueError(f"distorted: index is beyond the places of {count} images, from 0")
    return places.astype(np.int64)


def gallery(
    images: Array, labels: Array, distortion: Distortion, seed: int, epochs: int = EPOCHS
) -> npt.NDArray[np.uint8]:
    """Return a row of images, from as many classes as possible, above their distorted forms.

    Parameters
    ----------
    images : (n, height, width) uint8
        The training set.
    labels : (n,) array
        Classes.
    distortion : Distortion
    seed : int
        The seed of the distortions: the first number of `Training.arrays()["distortion"]`.
    epochs : int
        How many epochs, from the first on.

    Returns
    -------
    (1 + epochs, n, height, width) uint8
        n is ten, or less if there are fewer images.

    Raises
    ------
    ValueError, TypeError
        As for `distorted`.
    """
    order = np.argsort(labels, kind="stable")
    classes = labels[order]
    again = np.arange(len(order)) - np.searchsorted(classes, classes)  # 0: first of its class
    index = order[np.lexsort((classes, again))][:ACROSS]
    seen = [distorted(images, distortion, seed, 1 + k, index) for k in range(epochs)]
    return np.stack([images[index], *seen])
