"""Loss of logits with its gradient, few classes and many. A shape is (batch, classes).

PyTorch and JAX run what their users write: cross-entropy, differentiated by the library.
"""

import numpy as np

from perf.bench_softmax import EXP_FLOPS, numpy_fprop
from perf.cases import Case, empty, indices, number, signed

SHAPES = ((100, 10), (1000, 10), (100, 10_000))


def cases():
    for batch, n in SHAPES:
        yield Case(
            "softmax_cross_entropy",
            (batch, n),
            [signed(batch, n), indices(batch, n), number(1 / batch), empty(batch, n), empty(batch)],
            {
                "jitprop": jitprop_loss,
                "numpy": numpy_loss,
                "torch": torch_loss,
                "jax": jax_loss,
            },
            reference,
            flops=(EXP_FLOPS + 5) * batch * n,
            floats=2 * batch * n,
            other_bytes=8 * batch,
            outputs=(3,),
            returns=True,
            tolerance=16.0,  # the loss is a sum; the gradient has an exp, a sum and a difference
        )


def reference(logits, labels, scale, out, losses):
    rows = np.arange(len(labels))
    shifted = logits - logits.max(1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(1))
    loss = (log_total - shifted[rows, labels]).sum()
    p = np.exp(shifted - log_total[:, None])
    onehot = np.zeros_like(p)
    onehot[rows, labels] = 1
    return [(loss, loss), ((p - onehot) * scale, (p + onehot) * scale)]


def jitprop_loss(kernels):
    def loss(logits, labels, scale, out, losses):
        kernels.softmax_cross_entropy(logits, labels, scale, out, losses)
        return kernels.total(losses)

    return loss


def numpy_loss(np):
    softmax = numpy_fprop(np)

    def loss(logits, labels, scale, out, losses):
        rows = np.arange(len(labels))
        softmax(logits, out)
        value = -np.log(out[rows, labels]).sum()
        out[rows, labels] -= 1
        np.multiply(out, scale, out=out)
        return float(value)

    return loss


def torch_loss(torch):
    def loss(logits, labels, scale, out, losses):
        logits.requires_grad_()
        logits.grad = None
        value = torch.nn.functional.cross_entropy(logits, labels)
        value.backward()
        return value.item() * len(labels), logits.grad

    return loss


def jax_loss(jax):
    def mean(logits, labels):
        rows = jax.numpy.arange(len(labels))
        return -jax.nn.log_softmax(logits)[rows, labels].mean()

    def loss(logits, labels, scale, out, losses):
        value, grad = jax.value_and_grad(mean)(logits, labels)
        return value * len(labels), grad

    return loss
