"""How the learning rate changes from step to step: its factor in step t = 0, 1, ...

    warm-up    (t + 1) / (W + 1)                     in the first W steps, times what follows
    constant   1
    linear     1 - u / U                             u = t - W of U = T - W steps after the warm-up
    cosine     (1 + cos(pi u / U)) / 2
    step       gamma ^ (epochs done // step_size)

T is the number of all steps. The last step of linear and cosine is the one before they reach 0.

Sources: warm-up Goyal et al., "Accurate, large minibatch SGD", 2017; cosine Loshchilov and Hutter,
"SGDR", 2017, equation 5, without restarts. In PyTorch they are LinearLR(1 / (W + 1), 1, W),
LinearLR(1, 0, U), CosineAnnealingLR(U) and StepLR(step_size, gamma).

Only +, -, *, / on float64 are used, which give the same bits everywhere; a library's cos does not.
"""

from math import pi, prod

import numpy as np

from jitprop.training.examples import Array
from jitprop.training.settings import Settings


def rates(settings: Settings, epoch: int, batches: int) -> Array:
    """Return the rate of each step of an epoch, counted from 1: float64 (batches,)."""
    t = np.arange((epoch - 1) * batches, epoch * batches, dtype=np.float64)
    warm = round(settings.warmup * batches)
    factor = np.minimum(1.0, (t + 1) / (warm + 1))
    done = np.maximum(0.0, t - warm) / max(1, settings.epochs * batches - warm)
    if settings.schedule == "linear":
        factor *= 1 - done
    elif settings.schedule == "cosine":
        factor *= (1 + _cos_pi(done)) / 2
    elif settings.schedule == "step":
        factor *= prod([settings.gamma] * ((epoch - 1) // settings.step_size))
    return settings.rate * factor


def corrections(beta: float, before: int, steps: int) -> Array:
    """Return 1 - beta^t for t = before + 1, ..., as (1 - beta) (1 + beta + ...).

    For a beta close to 1 this keeps the digits that a difference from 1 loses. Only + and * are
    used, so the bits are the same everywhere.
    """
    done, power, left = 0.0, 1.0, before  # 1 - power, power
    square, rest = beta, 1 - beta  # beta^1, beta^2, beta^4, ..., and 1 minus that
    while left:
        if left & 1:
            done += power * rest
            power *= square
        rest *= 1 + square
        square *= square
        left >>= 1
    return done + np.cumsum((1 - beta) * np.cumprod([power] + [beta] * (steps - 1)))


def _cos_pi(x: Array) -> Array:
    """cos(pi x) for x from 0 to 1, as the series of sin(pi (1/2 - x)), to 1e-16."""
    y = pi * (0.5 - x)
    term = total = y
    for k in range(2, 26, 2):
        term = term * y * y / -(k * (k + 1))
        total = total + term
    return total
