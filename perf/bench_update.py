"""Gradient descent without and with momentum. A shape is that of the weights.

The rate is small: every repetition moves the weights again.
"""

import numpy as np

from perf.cases import Case, number, signed

SHAPES = ((784, 200), (2500, 2000))
RATE, MOMENTUM = 1e-4, 0.9


def cases():
    for shape in SHAPES:
        size = shape[0] * shape[1]
        yield Case(
            "sgd_update",
            shape,
            [signed(*shape), signed(*shape), number(RATE)],
            {
                "jitprop": lambda kernels: kernels.sgd_update,
                "numpy": lambda np: lambda w, dw, rate: np.subtract(w, rate * dw, out=w),
                "torch": lambda torch: lambda w, dw, rate: w.sub_(dw, alpha=rate),
                "jax": lambda jax: lambda w, dw, rate: w - rate * dw,
            },
            lambda w, dw, rate: [(w - rate * dw, np.abs(w) + np.abs(rate * dw))],
            flops=2 * size,
            floats=3 * size,
            outputs=(0,),
        )
        yield Case(
            "momentum_update",
            shape,
            [signed(*shape), signed(*shape), signed(*shape), number(RATE), number(MOMENTUM)],
            {
                "jitprop": lambda kernels: kernels.momentum_update,
                "numpy": numpy_momentum,
                "torch": torch_momentum,
                "jax": jax_momentum,
            },
            reference,
            flops=4 * size,
            floats=5 * size,
            outputs=(0, 2),
        )


def reference(w, dw, velocity, rate, momentum):
    v = momentum * velocity + dw
    size = np.abs(momentum * velocity) + np.abs(dw)
    return [(w - rate * v, np.abs(w) + rate * size), (v, size)]


def numpy_momentum(np):
    def update(w, dw, velocity, rate, momentum):
        np.multiply(velocity, momentum, out=velocity)
        np.add(velocity, dw, out=velocity)
        np.subtract(w, rate * velocity, out=w)

    return update


def torch_momentum(torch):
    def update(w, dw, velocity, rate, momentum):
        velocity.mul_(momentum).add_(dw)
        w.sub_(velocity, alpha=rate)

    return update


def jax_momentum(jax):
    def update(w, dw, velocity, rate, momentum):
        velocity = momentum * velocity + dw
        return w - rate * velocity, velocity

    return update
