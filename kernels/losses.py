"""What all losses share: a loss per row, summed in the order of the rows, in float64."""

import numba
import numpy as np

from jitprop.kernels.checks import FLOATS, Signature
from jitprop.kernels.jit import DISABLED, compiled
from jitprop.kernels.numba_private import on_new_types

_SIGNATURE = Signature("losses(n)")


@compiled(f"{__name__}.total")
def _total(losses):
    result = 0.0
    for loss in losses:
        result += float(loss)
    return result


def _specialise(losses):
    _SIGNATURE.explain("total", (losses,))
    return _total.compile((numba.typeof(losses),))


if not DISABLED:
    on_new_types(_total, _specialise)


def total(losses) -> float:
    """Sum of a vector in float64, in the order of its elements.

    Parameters
    ----------
    losses : (n,) float32 or float64

    Returns
    -------
    float
    """
    if DISABLED or type(losses) is not np.ndarray or losses.dtype not in FLOATS:
        _SIGNATURE.explain("total", (losses,))
    return _total(losses)


def is_targets(labels) -> bool:
    """Whether `labels` are a (batch, n) array of targets rather than class indices."""
    return getattr(labels, "ndim", 1) == 2
