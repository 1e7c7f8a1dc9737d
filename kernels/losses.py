"""What all losses share: a loss per row, summed in the order of the rows, in float64."""

from collections.abc import Callable

import numpy as np

from kernels.jit import Kernel, compiled


@compiled("total")
def total(x):
    """Sum of a vector in float64, in the order of its elements."""
    result = 0.0
    for value in x:
        result += value
    return result


def summed(name: str, of_labels: Kernel, of_targets: Kernel, doc: str) -> Callable[..., float]:
    """A loss that takes class indices or targets and returns the sum over the batch."""

    def loss(*args) -> float:
        kernel = of_targets if len(args) > 1 and np.ndim(args[1]) == 2 else of_labels
        x = args[0] if args else None
        losses = np.empty(np.shape(x)[:1], getattr(x, "dtype", None))
        kernel(*args, losses)
        return float(total(losses))

    loss.__name__ = loss.__qualname__ = name
    of_labels.__name__ = of_targets.__name__ = name
    loss.__doc__ = doc
    return loss
