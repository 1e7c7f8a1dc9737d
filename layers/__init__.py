"""Thin modules over the kernels: a network is a list of them, run forwards and then backwards.

Every module has `fprop(x)`, `bprop(dy)` and `update(rate)`; a loss has `fprop(z, t)` and
`bprop(scale)`. Both words are the exercise's: elsewhere they are called forward and backward, and
update is called step.
"""

from layers.cross_entropy import CrossEntropy, SoftmaxCrossEntropy
from layers.gradcheck import GradCheckResult, GradientError, gradcheck
from layers.linear import Linear
from layers.module import Loss, Module, Parameter
from layers.sequential import Sequential
from layers.softmax import Softmax
from layers.tanh import Tanh

__all__ = [
    "CrossEntropy",
    "GradCheckResult",
    "GradientError",
    "Linear",
    "Loss",
    "Module",
    "Parameter",
    "Sequential",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Tanh",
    "gradcheck",
]
