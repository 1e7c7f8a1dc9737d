"""What all losses share: a loss per row, summed in the order of the rows, in float64."""

from jitprop.kernels.compiler.jit import checked


@checked("losses(n)")
def total(losses):
    """Return the sum of a vector in float64, in the order of its elements.

    Parameters
    ----------
    losses : (n,) float32 or float64

    Returns
    -------
    float
    """
    result = 0.0
    for loss in losses:
        result += float(loss)
    return result


def is_targets(labels) -> bool:
    """Whether `labels` are a (batch, n) array of targets rather than class indices."""
    return getattr(labels, "ndim", 1) == 2
