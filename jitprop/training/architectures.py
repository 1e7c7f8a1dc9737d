"""Networks of the exercise: linear layers with a tanh between each two."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from jitprop.layers import (
    Dropout,
    GradCheckResult,
    Linear,
    Module,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    gradcheck,
)
from jitprop.layers.batch import as_number


def mlp(
    in_features: int,
    hidden: Sequence[int],
    classes: int,
    rng: np.random.Generator | int | None = None,
    dtype: npt.DTypeLike = np.float32,
    dropout: float = 0.0,
) -> Sequential:
    """Return Linear, Tanh, ..., Linear: from images to logits, over layers of `hidden` widths.

    With `dropout`, the probability of a zero, a Dropout follows each Tanh. The weights are drawn
    from `rng`, a Generator, a seed or None, layer by layer; the seeds of Dropout after all weights,
    which are the same with it and without.
    """
    rng = np.random.default_rng(rng)
    if not isinstance(hidden, Iterable) or isinstance(hidden, str | bytes):
        raise TypeError(f"mlp: hidden is {hidden!r}, expected a list of widths such as [200]")
    widths = [in_features, *hidden, classes]
    dropout = as_number("mlp", "dropout", dropout)
    linears = [Linear(n, m, rng, dtype) for n, m in pairwise(widths)]
    modules: list[Module] = [linears[0]]
    for linear in linears[1:]:
        modules += [Tanh(), Dropout(dropout, rng), linear] if dropout else [Tanh(), linear]
    return Sequential(*modules)


def gradcheck_mlp(hidden_layers: int) -> GradCheckResult:
    """Run the gradient check on a small `mlp` of as many hidden layers, and on its loss.

    Returns the worst relative error of both. The widths differ from each other, so that a
    transposed product cannot pass.
    """
    rng = np.random.default_rng(0)
    net = mlp(6, [5 + layer % 2 for layer in range(hidden_layers)], 4, rng, np.float64)
    x = rng.standard_normal((3, 6))
    t = rng.integers(4, size=3)
    results = gradcheck(net, x), gradcheck(SoftmaxCrossEntropy(), net.fprop(x), t)
    return max(results, key=lambda result: result.error)
