"""Cross-entropy of probabilities and its gradient. A shape is (batch, classes)."""

import numpy as np

from perf.cases import Case, empty, indices, number, probabilities, scaled

SHAPES = ((100, 10), (1000, 10))
LOG_FLOPS = 25  # of one logarithm, as in kernels/functions.py


def cases():
    for batch, n in SHAPES:
        yield Case(
            "cross_entropy_fprop",
            (batch, n),
            [probabilities(batch, n), indices(batch, n), empty(batch)],
            {
                "jitprop": jitprop_fprop,
                "numpy": lambda np: (
                    lambda p, t, losses: float(-np.log(p[np.arange(len(t)), t]).sum())
                ),
                "torch": torch_fprop,
                "jax": lambda jax: (
                    lambda p, t, losses: -jax.numpy.log(p[np.arange(len(t)), t]).sum()
                ),
            },
            lambda p, t, losses: [scaled(-np.log(p[np.arange(len(t)), t]).sum())],
            flops=(LOG_FLOPS + 1) * batch,
            floats=batch,
            other_bytes=8 * batch,
            outputs=(),
            returns=True,
            tolerance=16.0,  # a sum
        )
        yield Case(
            "cross_entropy_bprop",
            (batch, n),
            [probabilities(batch, n), indices(batch, n), number(1 / batch), empty(batch, n)],
            {
                "jitprop": lambda kernels: kernels.cross_entropy_bprop,
                "numpy": numpy_bprop,
                "torch": torch_bprop,
                "jax": jax_bprop,
            },
            reference,
            flops=2 * batch,
            floats=batch + batch * n,
            other_bytes=8 * batch,
        )


def reference(p, t, scale, out):
    rows = np.arange(len(t))
    dp = np.zeros_like(p)
    dp[rows, t] = -scale / p[rows, t]
    return [scaled(dp)]


def numpy_bprop(np):
    def bprop(p, t, scale, out):
        rows = np.arange(len(t))
        out.fill(0)
        out[rows, t] = -scale / p[rows, t]

    return bprop


def jitprop_fprop(kernels):
    def fprop(p, t, losses):
        kernels.cross_entropy_fprop(p, t, losses)
        return kernels.total(losses)

    return fprop


def torch_fprop(torch):
    def fprop(p, t, losses):
        return torch.nn.functional.nll_loss(p.log(), t, reduction="sum").item()

    return fprop


def torch_bprop(torch):
    def bprop(p, t, scale, out):
        column = t[:, None]
        out.zero_().scatter_(1, column, -scale / p.gather(1, column))

    return bprop


def jax_bprop(jax):
    def bprop(p, t, scale, out):
        rows = np.arange(len(t))
        return jax.numpy.zeros_like(p).at[rows, t].set(-scale / p[rows, t])

    return bprop
