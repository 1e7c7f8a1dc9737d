"""What all losses share: a loss per row, summed in the order of the rows, in float64."""

import numpy as np

from kernels.jit import Kernel, compiled


@compiled("kernels.losses.total")
def total(x):
    """Sum of a vector in float64, in the order of its elements."""
    result = 0.0
    for value in x:
        result += float(value)
    return result


def is_targets(labels) -> bool:
    """Whether `labels` are a (batch, n) array of targets rather than class indices."""
    return getattr(labels, "ndim", 1) == 2


def sum_of_losses(kernel: Kernel, x, *args) -> float:
    """Call a kernel whose last argument is the loss of each row of `x`; return their sum."""
    losses = np.empty(getattr(x, "shape", (0,))[:1], getattr(x, "dtype", np.float32))
    kernel(x, *args, losses)
    return float(total(losses))
