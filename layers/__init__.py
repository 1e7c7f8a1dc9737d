"""Thin modules over the kernels: a network is a list of them, run forwards and then backwards.

Every module has `fprop(x)`, `bprop(dy)` and `update(rate)`; a loss has `fprop(z, t)` and
`bprop(scale)`. These are the words of the exercise; others call them forward, backward and step.
The source of a formula is in the file of its kernel, which has the same name.
"""

if __name__ != "jitprop.layers":
    raise ImportError(f"this is jitprop.layers, not {__name__}: write `import jitprop.layers`")

from jitprop.layers.activation import Activation
from jitprop.layers.add import Add
from jitprop.layers.bias import Bias
from jitprop.layers.concatenate import Concatenate, Split
from jitprop.layers.cross_entropy import CrossEntropy, SoftmaxCrossEntropy
from jitprop.layers.dropout import Dropout
from jitprop.layers.gaussian_noise import GaussianNoise
from jitprop.layers.gradcheck import GradCheckResult, GradientError, gradcheck
from jitprop.layers.graph import Graph
from jitprop.layers.identity import Identity
from jitprop.layers.linear import Linear
from jitprop.layers.log_softmax import LogSoftmax
from jitprop.layers.losses import Losses
from jitprop.layers.mean_squared_error import MeanSquaredError
from jitprop.layers.module import Loss, Module, Parameter, State
from jitprop.layers.multiply import Multiply
from jitprop.layers.node import Input, Node
from jitprop.layers.poisson_loss import PoissonLoss
from jitprop.layers.relu import ReLU
from jitprop.layers.sequential import Sequential
from jitprop.layers.sigmoid import Sigmoid
from jitprop.layers.sigmoid_cross_entropy import SigmoidCrossEntropy
from jitprop.layers.softmax import Softmax
from jitprop.layers.subtract import Subtract
from jitprop.layers.tanh import Tanh
from jitprop.layers.weighted import Weighted

__all__ = [
    "Activation",
    "Add",
    "Bias",
    "Concatenate",
    "CrossEntropy",
    "Dropout",
    "GaussianNoise",
    "GradCheckResult",
    "GradientError",
    "Graph",
    "Identity",
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
    "PoissonLoss",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Split",
    "State",
    "Subtract",
    "Tanh",
    "Weighted",
    "gradcheck",
]
