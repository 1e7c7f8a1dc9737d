"""Hyperbolic tangent, elementwise: `y = tanh(x)`, `dx = dy * (1 - y * y)`."""

from jitprop import kernels
from jitprop.layers.activation import Activation


class Tanh(Activation):
    """`y = tanh(x)`, elementwise on (batch, features), float32 or float64."""

    forwards = kernels.tanh_fprop
    backwards = kernels.tanh_bprop
