"""Labelled images, gathered batch by batch into memory that is allocated once."""

from typing import Any

import numpy as np
import numpy.typing as npt

import kernels
from layers import Module

Array = npt.NDArray[Any]


class Batches:
    """`images`, uint8 (n, ...), and class `labels`, integers (n,), for a network to run on.

    The images stay as they are in memory; a batch of them is divided by 255 as it is gathered.
    """

    def __init__(self, net: Module, images: Array, labels: Array, batch_size: int | None) -> None:
        images, labels = np.asarray(images), np.asarray(labels)
        if images.dtype != np.uint8 or images.ndim < 2:
            raise TypeError(
                f"images: expected uint8 of 2 or more dimensions, not {images.dtype} "
                f"of shape {images.shape}"
            )
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise TypeError(
                f"labels: expected one class index per image, not {labels.dtype} "
                f"of shape {labels.shape}"
            )
        if len(images) != len(labels) or len(images) == 0:
            raise ValueError(f"{len(images)} images and {len(labels)} labels")
        parameters = net.parameters()
        dtype = parameters[0].value.dtype if parameters else np.float32
        self._images = np.ascontiguousarray(images.reshape(len(images), -1))
        self._labels = labels.astype(np.int64)
        self.size = min(batch_size or len(images), len(images))
        self._x = np.empty((self.size, self._images.shape[1]), dtype)
        self._t = np.empty(self.size, np.int64)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def take(self, index: Array) -> tuple[Array, Array]:
        """Return the images `index`, int64 (batch,), as (batch, pixels) in [0, 1], and labels.

        Both are valid until the next call.
        """
        x, t = self._x[: len(index)], self._t[: len(index)]
        kernels.gather(self._images, index, x)
        np.take(self._labels, index, out=t)
        return x, t
