"""Thin modules over the kernels: a network is a list of them, run forwards and then backwards.

Every module has `fprop(x)`, `bprop(dy)` and `update(rate)`; a loss has `fprop(z, t)` and
`bprop(scale)`. Both words are the exercise's: elsewhere they are called forward and backward, and
update is called step.
"""

from layers.cross_entropy import CrossEntropy, SoftmaxCrossEntropy
from layers.gradcheck import GradCheckResult, GradientError, gradcheck
from layers.graph import Graph, Input, Node
from layers.linear import Linear
from layers.module import Loss, Module, Parameter, State
from layers.sequential import Sequential
from layers.softmax import Softmax
from layers.tanh import Tanh

__all__ = [
    "CrossEntropy",
    "GradCheckResult",
    "GradientError",
    "Graph",
    "Input",
    "Linear",
    "Loss",
    "Module",
    "Node",
    "Parameter",
    "Sequential",
    "Softmax",
    "SoftmaxCrossEntropy",
    "State",
    "Tanh",
    "gradcheck",
]
