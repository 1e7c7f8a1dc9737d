"""Gradient descent: plain, with momentum, and Adam. A shape is that of the weights.

The rate is small: every repetition moves the weights again.
"""

import numpy as np

from perf.cases import Case, number, probabilities, signed

SHAPES = ((784, 200), (2500, 2000))
RATE, MOMENTUM = 1e-4, 0.9
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


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
                "jitprop": lambda kernels: (
                    lambda w, dw, velocity, rate, momentum: kernels.momentum_update(
                        w, dw, velocity, rate, momentum, 0.0
                    )
                ),
                "numpy": numpy_momentum,
                "torch": torch_momentum,
                "jax": jax_momentum,
            },
            reference,
            flops=4 * size,
            floats=5 * size,
            outputs=(0, 2),
        )
        yield Case(
            "adam_update",
            shape,
            [signed(*shape), signed(*shape), signed(*shape), probabilities(*shape), number(RATE)],
            {
                "jitprop": lambda kernels: (
                    lambda w, dw, m, v, rate: kernels.adam_update(
                        w, dw, m, v, rate, 1.0, BETA1, BETA2, EPS, 0.0
                    )
                ),
                "numpy": numpy_adam,
                "torch": torch_adam,
                "jax": jax_adam,
            },
            adam,
            flops=13 * size,
            floats=7 * size,
            outputs=(0, 2, 3),
        )


def adam(w, dw, m, v, rate):
    m, m_size = m + (1 - BETA1) * (dw - m), np.abs(m) + np.abs(dw)
    v, v_size = v + (1 - BETA2) * (dw * dw - v), v + dw * dw
    root = np.sqrt(v) + EPS
    return [(w - rate * m / root, np.abs(w) + rate * m_size / root), (m, m_size), (v, v_size)]


def numpy_adam(np):
    def update(w, dw, m, v, rate):
        m += (1 - BETA1) * (dw - m)
        v += (1 - BETA2) * (dw * dw - v)
        w -= rate * m / (np.sqrt(v) + EPS)

    return update


def torch_adam(torch):
    def update(w, dw, m, v, rate):
        m.lerp_(dw, 1 - BETA1)
        v.mul_(BETA2).addcmul_(dw, dw, value=1 - BETA2)
        w.addcdiv_(m, v.sqrt().add_(EPS), value=-rate)

    return update


def jax_adam(jax):
    def update(w, dw, m, v, rate):
        m = m + (1 - BETA1) * (dw - m)
        v = v + (1 - BETA2) * (dw * dw - v)
        return w - rate * m / (jax.numpy.sqrt(v) + EPS), m, v

    return update


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
