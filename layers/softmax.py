"""Softmax of every row: `y = exp(x) / sum(exp(x))`, `dx = y * (dy - sum(dy * y))`.

It is for training with the cross-entropy of probabilities. `SoftmaxCrossEntropy` does both at once
from the logits, and stays exact where a probability underflows.
"""

from jitprop import kernels
from jitprop.layers.activation import Activation


class Softmax(Activation):
    """`y = exp(x) / sum(exp(x))` of every row of (batch, features), float32 or float64."""

    forwards = kernels.softmax_fprop
    backwards = kernels.softmax_bprop
