"""Stochastic gradient descent, with momentum if asked.

    v = momentum * v + dw        w = w - rate * v

as in PyTorch's SGD without dampening (Sutskever et al. 2013 fold the rate into v). The first v is
dw. Without momentum this is the slides' rule, w = w - rate * dw.
"""

import numpy as np

import kernels
from layers import Module


class SGD:
    """Updates the parameters of `net` from the gradients that its last `bprop` left."""

    def __init__(self, net: Module, rate: float, momentum: float = 0.0) -> None:
        self.net = net
        self.rate = rate
        self.momentum = momentum
        parameters = net.parameters() if momentum else []
        # As vectors, matrices too: one kernel to compile instead of two.
        flat = [(p.value.reshape(-1), p.grad.reshape(-1)) for p in parameters]
        self._moving = [(w, dw, np.zeros_like(w)) for w, dw in flat]

    def update(self) -> None:
        """Take one step."""
        if not self.momentum:
            self.net.update(self.rate)
        for w, dw, velocity in self._moving:
            kernels.momentum_update(w, dw, velocity, self.rate, self.momentum)
