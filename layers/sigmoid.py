"""Logistic sigmoid, elementwise: `y = 1 / (1 + exp(-x))`, `dx = dy * y * (1 - y)`."""

from jitprop import kernels
from jitprop.layers.activation import Activation


class Sigmoid(Activation):
    """`y = 1 / (1 + exp(-x))`, elementwise on (batch, features), float32 or float64."""

    forwards = kernels.sigmoid_fprop
    backwards = kernels.sigmoid_bprop
