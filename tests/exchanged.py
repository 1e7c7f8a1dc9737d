"""Networks that leave for other programs and come back, and what they are given."""

from functools import partial

import numpy as np

from jitprop import (
    Add,
    Bias,
    Concatenate,
    Dropout,
    GaussianNoise,
    Graph,
    Input,
    Linear,
    LogSoftmax,
    Multiply,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Split,
    Tanh,
)
from jitprop.training.examples import taken


def several():
    a, b = Input(5), Input(3)
    same = Linear(5, 3, 1)
    h = same(a) - b
    g = Sequential(Linear(3, 5, 2), Tanh(), Dropout(0.5))(h)
    p, q = Split([2, 1])(same(g))
    y = Concatenate()(q, Multiply()(h, b) * 0.1, p)
    return Graph([a, b], [y, Softmax()(h), g, a, y, LogSoftmax()(y)])


def nested():
    x = Input(4)
    inner = Sequential(Linear(4, 4, 3), Bias(4), ReLU())
    return Graph(x, Add()(inner(x), inner(inner(x)), Sigmoid()(x), x))


def tied():
    one, other = Linear(4, 4, 4), Linear(4, 4, 5)
    other.w, other.dw = one.w, one.dw
    return Sequential(one, Tanh(), other, Sequential(one))


MADE = {
    "several": several,
    "nested": nested,
    "tied": tied,
    "a chain of parts": lambda: Sequential(Linear(4, 5, 6), Split([2, 3]), Concatenate()),
    "one module": lambda: Linear(3, 2, 7),
    "a function": lambda: Tanh(),
    "a list of one": lambda: Graph([x := Input(3)], [Softmax()(x)]),
    "nothing": lambda: Sequential(Dropout(0.1), GaussianNoise(0.1)),
}


def filled(name):
    """The network, with no parameter at 0."""
    net = MADE[name]()
    rng = np.random.default_rng(0)
    for parameter in net.parameters():
        parameter.value[...] = rng.standard_normal(parameter.value.shape)
    return net


NETWORKS = {name: partial(filled, name) for name in MADE}


def random_input(net, dtype=np.float32, rows=7):
    widths = net.in_widths if isinstance(net, Graph) else (None,)
    told = [*taken(net)]
    widths = [w or t or 3 for w, t in zip(widths, told, strict=True)]
    xs = tuple(np.random.default_rng(1).standard_normal((rows, w)).astype(dtype) for w in widths)
    return xs if len(xs) > 1 else xs[0]


def as_tuple(y):
    return y if isinstance(y, tuple) else (y,)
