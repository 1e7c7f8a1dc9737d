"""Loss of counts, with its gradient. A shape is (batch, counts).

PyTorch and JAX run what their users write: the loss, differentiated by the library.
"""

import numpy as np

from perf.bench_cross_entropy import LOG_FLOPS
from perf.bench_softmax import EXP_FLOPS
from perf.cases import Case, empty, number, signed

SHAPES = ((100, 10), (1000, 784))


def cases():
    for batch, n in SHAPES:
        yield Case(
            "poisson_loss",
            (batch, n),
            [signed(batch, n), counts(batch, n), number(1 / batch), empty(batch, n), empty(batch)],
            {
                "jitprop": lambda kernels: kernels.poisson_loss,
                "numpy": numpy_loss,
                "torch": torch_loss,
                "jax": jax_loss,
            },
            reference,
            flops=(EXP_FLOPS + LOG_FLOPS + 6) * batch * n,
            floats=3 * batch * n,
            outputs=(3, 4),
            tolerance=16.0,  # the loss is a sum of terms that cancel; the gradient has an exp
        )


def counts(*shape):
    """Counts with a rate of 3: one in twenty is 0."""
    return lambda rng, dtype: rng.poisson(3, shape).astype(dtype)


def reference(z, t, scale, out, losses):
    log, rate = np.log(np.maximum(t, 1)), np.exp(z)
    rows = (rate - t * z + t * log - t).mean(1)
    size = (rate + t * (np.abs(z) + log + 1)).mean(1)
    factor = scale / z.shape[1]
    return [((rate - t) * factor, (rate + t) * factor), (rows, size)]


def numpy_loss(np):
    def loss(z, t, scale, out, losses):
        rate = np.exp(z)
        np.mean(rate - t * z + t * np.log(np.maximum(t, 1)) - t, 1, out=losses)
        np.subtract(rate, t, out=out)
        np.multiply(out, scale / z.shape[1], out=out)

    return loss


def torch_loss(torch):
    def loss(z, t, scale, out, losses):
        z.requires_grad_()
        z.grad = None
        rows = torch.nn.functional.poisson_nll_loss(z, t, reduction="none").mean(1)
        (rows.sum() * scale).backward()
        return z.grad, rows.detach() + (torch.special.xlogy(t, t) - t).mean(1)

    return loss


def jax_loss(jax):
    def total(z, t, scale):
        constant = jax.scipy.special.xlogy(t, t) - t
        rows = (jax.numpy.exp(z) - t * z + constant).mean(1)
        return rows.sum() * scale, rows

    def loss(z, t, scale, out, losses):
        (_, rows), grad = jax.value_and_grad(total, has_aux=True)(z, t, scale)
        return grad, rows

    return loss
