"""Modules of several inputs or outputs, seen as one with their columns side by side."""

import numpy as np

from jitprop.layers import Module


class SideBySide(Module):
    """Takes `x` apart into inputs of these widths; for the gradient check."""

    def __init__(self, module, widths):
        self.module = module
        self.ends = np.cumsum(widths)[:-1]

    def fprop(self, x):
        y = self.module.fprop(*np.split(x, self.ends, axis=1))
        self.out_ends = np.cumsum([part.shape[1] for part in y])[:-1] if self.module.outputs else []
        return np.hstack(y) if self.module.outputs else y

    def bprop(self, dy, need_dx=True):
        dx = self.module.bprop(*np.split(dy, self.out_ends, axis=1))
        return np.hstack(dx) if isinstance(dx, tuple) else dx
