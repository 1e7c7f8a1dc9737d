"""Thin modules over the kernels: a network is a list of them, run forwards and then backwards.

Every module has `fprop(x)`, `bprop(dy)` and `update(rate)`; a loss has `fprop(z, t)` and
`bprop(scale)`. Both words are the exercise's: elsewhere they are called forward and backward, and
update is called step.
"""

from layers.activation import Activation
from layers.add import Add
from layers.bias import Bias
from layers.concatenate import Concatenate, Split
from layers.cross_entropy import CrossEntropy, SoftmaxCrossEntropy
from layers.dropout import Dropout
from layers.gradcheck import GradCheckResult, GradientError, gradcheck
from layers.graph import Graph, Input, Node
from layers.linear import Linear
from layers.log_softmax import LogSoftmax
from layers.losses import Losses
from layers.mean_squared_error import MeanSquaredError
from layers.module import Loss, Module, Parameter, State
from layers.multiply import Multiply
from layers.relu import ReLU
from layers.sequential import Sequential
from layers.sigmoid import Sigmoid
from layers.softmax import Softmax
from layers.subtract import Subtract
from layers.tanh import Tanh

__all__ = [
    "Activation",
    "Add",
    "Bias",
    "Concatenate",
    "CrossEntropy",
    "Dropout",
    "GradCheckResult",
    "GradientError",
    "Graph",
    "Input",
    "Linear",
    "LogSoftmax",
    "Loss",
    "Losses",
    "MeanSquaredError",
    "Module",
    "Multiply",
    "Node",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Split",
    "State",
    "Subtract",
    "Tanh",
    "gradcheck",
]
