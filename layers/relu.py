"""Rectified linear unit, elementwise: `y = max(x, 0)`, `dx = dy` where `y > 0`, else 0."""

from jitprop import kernels
from jitprop.layers.activation import Activation


class ReLU(Activation):
    """`y = max(x, 0)`, elementwise on (batch, features), float32 or float64."""

    forwards = kernels.relu_fprop
    backwards = kernels.relu_bprop
