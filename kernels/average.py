"""A running mean: what weights are on average over many steps.

    mean = keep * mean + (1 - keep) * w

With `keep = k / (k + 1)` in step k = 0, 1, ... it is the mean of all steps; with one number in all
of them it is exponential: each step counts `keep` times as much as the next.

Sources: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992;
Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018.
"""

from jitprop.kernels.compiler.simd import LANES, load, store
from jitprop.kernels.runtime.kernel import kernel
from jitprop.kernels.update import running_mean


@kernel("w(...), mean!(...), keep")
def average(w, mean, keep, start, stop):
    """`mean = keep * mean + (1 - keep) * w`; a keep of 1 leaves it, one of 0 makes it w.

    Parameters
    ----------
    w : array of float32 or float64
    mean : array of the shape and dtype of w, updated
    keep : number from 0 to 1
    """
    if keep != 1:
        for i in range(start, stop, LANES):
            rest = stop - i
            store(mean, i, running_mean(load(mean, i, rest), load(w, i, rest), keep), rest)
