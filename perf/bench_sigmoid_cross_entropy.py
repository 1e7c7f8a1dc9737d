"""Loss of logits for several labels, with its gradient. A shape is (batch, labels).

PyTorch and JAX run what their users write: the loss, differentiated by the library.
"""

import numpy as np

from perf.bench_cross_entropy import LOG_FLOPS
from perf.bench_softmax import EXP_FLOPS
from perf.cases import Case, empty, number, probabilities, scaled, signed

SHAPES = ((100, 10), (1000, 784))


def cases():
    for batch, n in SHAPES:
        yield Case(
            "sigmoid_cross_entropy",
            (batch, n),
            [
                *(signed(batch, n), probabilities(batch, n), number(1 / batch)),
                *(empty(batch, n), empty(batch)),
            ],
            {
                "jitprop": lambda kernels: kernels.sigmoid_cross_entropy,
                "numpy": numpy_loss,
                "torch": torch_loss,
                "jax": jax_loss,
            },
            reference,
            flops=(EXP_FLOPS + LOG_FLOPS + 13) * batch * n,
            floats=3 * batch * n,
            outputs=(3, 4),
            tolerance=16.0,  # the loss is a sum; the gradient has exp, a quotient, a difference
        )


def reference(z, t, scale, out, losses):
    e = np.exp(-np.abs(z))
    p = np.where(z < 0, e, 1) / (1 + e)
    rows = (np.maximum(z, 0) - z * t + np.log1p(e)).sum(1)
    return [((p - t) * scale, (p + t) * scale), scaled(rows)]


def numpy_loss(np):
    def loss(z, t, scale, out, losses):
        e = np.exp(-np.abs(z))
        np.sum(np.maximum(z, 0) - z * t + np.log1p(e), 1, out=losses)
        np.subtract(np.where(z < 0, e, 1) / (1 + e), t, out=out)
        np.multiply(out, scale, out=out)

    return loss


def torch_loss(torch):
    def loss(z, t, scale, out, losses):
        z.requires_grad_()
        z.grad = None
        function = torch.nn.functional.binary_cross_entropy_with_logits
        rows = function(z, t, reduction="none").sum(1)
        (rows.sum() * scale).backward()
        return z.grad, rows.detach()

    return loss


def jax_loss(jax):
    def total(z, t, scale):
        rows = (jax.numpy.maximum(z, 0) - z * t + jax.numpy.log1p(jax.numpy.exp(-abs(z)))).sum(1)
        return rows.sum() * scale, rows

    def loss(z, t, scale, out, losses):
        (_, rows), grad = jax.value_and_grad(total, has_aux=True)(z, t, scale)
        return grad, rows

    return loss
