"""The weighted sum of losses, one for each output of a network: `sum(weight_i * loss_i)`."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jitprop import kernels
from jitprop.layers.batch import Array, Buffer, as_number
from jitprop.layers.module import Loss


class Losses(Loss):
    """`Losses((SoftmaxCrossEntropy(), 1), (MeanSquaredError(), 0.1))`, for two outputs.

    Parameters
    ----------
    *weighted : tuple of Loss and float
        Pairs (loss, weight), in the order of the outputs.

    Attributes
    ----------
    weighted : tuple of pairs
        These pairs.

    Raises
    ------
    ValueError
        There is no pair.
    TypeError
        An argument is not a pair of a loss and a number.
    """

    def __init__(self, *weighted: tuple[Loss, float]) -> None:
        if not weighted:
            raise ValueError("Losses() needs at least one pair (loss, weight)")
        for place, pair in enumerate(weighted):
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Loss)):
                raise TypeError(
                    f"Losses: argument {place} is {pair!r}, expected a pair (loss, weight) such as "
                    "(MeanSquaredError(), 0.1)"
                )
        self.weighted = tuple(
            (loss, as_number("Losses", "a weight", weight)) for loss, weight in weighted
        )
        self._rows = Buffer()
        self._weighted = Buffer()

    def rows(self, z: Sequence[Array], t: Sequence[Any]) -> Array:  # type: ignore[override]
        """Return the sum for each row, (batch,); `z` and `t` hold outputs and targets of each loss.

        Sums run from the first loss to the last.
        """
        if len(z) != len(self.weighted) or len(t) != len(self.weighted):
            raise ValueError(
                f"{self!r}: {len(z)} outputs and {len(t)} targets, "
                f"expected {len(self.weighted)} of each"
            )
        total: Array | None = None
        for (loss, weight), output, target in zip(self.weighted, z, t, strict=True):
            losses = loss.rows(output, target)
            if total is None:
                total = self._rows.rows(losses.shape, losses.dtype)
                kernels.scale(losses, weight, total)
            else:
                part = self._weighted.rows(losses.shape, losses.dtype)
                kernels.scale(losses, weight, part)
                kernels.add(total, part, total)
        assert total is not None  # there is a loss
        return total

    def bprop(self, scale: Any) -> tuple[Array, ...]:  # type: ignore[override]
        """Return the gradient by each output, of its shape: a tuple."""
        return tuple(loss.bprop(_product(scale, weight)) for loss, weight in self.weighted)

    def _within(self) -> Iterator[Loss]:
        yield self
        for loss, _ in self.weighted:
            yield from loss._within()

    def hint(self, value: float) -> str:
        """Return the first hint that one of the losses has."""
        return next(filter(None, (loss.hint(value) for loss, _ in self.weighted)), "")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.weighted))})"


def _product(scale: Any, weight: float) -> Any:
    """Return their product; for an array it is an array, which a tape computes when it runs."""
    if not isinstance(scale, np.ndarray):
        return scale * weight
    product = np.zeros(1)
    kernels.scale(np.array([weight]), scale, product)
    return product.reshape(())
