"""Logarithm of the softmax of every row: `y = log(softmax(x))`, `dx = dy - exp(y) * sum(dy)`."""

from jitprop import kernels
from jitprop.layers.activation import Activation


class LogSoftmax(Activation):
    """`y = x - log(sum(exp(x)))` of every row of (batch, features), float32 or float64."""

    forwards = kernels.log_softmax_fprop
    backwards = kernels.log_softmax_bprop
