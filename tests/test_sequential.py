"""layers/sequential.py: a chain runs its modules in order and back, and behaves as a sequence."""

import numpy as np
import pytest

from jitprop.layers import Linear, Module, Sequential, Softmax, Tanh, gradcheck


class Recorder(Module):
    """Passes everything through and notes what was asked of it."""

    def __init__(self, name, calls):
        self.name = name
        self.calls = calls

    def fprop(self, x):
        self.calls.append((self.name, "fprop"))
        return x

    def bprop(self, dy, need_dx=True):
        self.calls.append((self.name, "bprop", need_dx))
        return dy if need_dx else None

    def update(self, rate):
        self.calls.append((self.name, "update", rate))


def mlp(rng, dtype=np.float32):
    return Sequential(Linear(5, 4, rng, dtype), Tanh(), Linear(4, 3, rng, dtype), Softmax())


def test_order():
    calls = []
    net = Sequential(*(Recorder(name, calls) for name in "abc"))
    x = np.ones((2, 3))
    assert net.fprop(x) is x
    assert net.bprop(x) is x
    assert net.bprop(x, need_dx=False) is None
    net.update(0.5)
    assert calls == [
        *((name, "fprop") for name in "abc"),
        *((name, "bprop", True) for name in "cba"),
        ("c", "bprop", True),
        ("b", "bprop", True),
        ("a", "bprop", False),
        *((name, "update", 0.5) for name in "abc"),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients(dtype):
    rng = np.random.default_rng(1)
    assert gradcheck(mlp(rng, dtype), rng.standard_normal((3, 5)))
    assert gradcheck(Sequential(Tanh()), rng.standard_normal((3, 5)))
    nested = Sequential(Sequential(Linear(5, 4, rng, dtype), Tanh()), Linear(4, 2, rng, dtype))
    assert gradcheck(nested, rng.standard_normal((3, 5)))


def test_equals_its_modules_one_by_one():
    net, modules = mlp(np.random.default_rng(2)), list(mlp(np.random.default_rng(2)))
    rng = np.random.default_rng(3)
    x, dy = (rng.standard_normal((7, n)).astype(np.float32) for n in (5, 3))
    y, dx = x, dy
    for module in modules:
        y = module.fprop(y)
    np.testing.assert_array_equal(net.fprop(x), y)
    for module in reversed(modules):
        dx = module.bprop(dx)
    np.testing.assert_array_equal(net.bprop(dy), dx)
    net.update(0.1)
    for module in modules:
        module.update(0.1)
    for mine, theirs in zip(net.parameters(), Sequential(*modules).parameters(), strict=True):
        np.testing.assert_array_equal(mine.value, theirs.value)


def test_parameter_names():
    net = mlp(0)
    assert [p.name for p in net.parameters()] == ["0.w", "0.b", "2.w", "2.b"]
    assert net.parameters()[2].value is net[2].w
    assert net.parameters()[2].grad is net[2].dw
    nested = Sequential(Tanh(), net)
    assert [p.name for p in nested.parameters()] == ["1.0.w", "1.0.b", "1.2.w", "1.2.b"]


def test_is_a_sequence():
    net = mlp(0)
    assert len(net) == 4
    assert list(net) == list(net.modules)
    assert list(reversed(net)) == list(net.modules)[::-1]
    assert net[-1] is net.modules[3]
    logits = net[:-1]
    assert isinstance(logits, Sequential)
    assert logits.modules == net.modules[:3]
    with pytest.raises(IndexError):
        net[4]


def test_repr():
    net = Sequential(Sequential(Linear(784, 200), Tanh()), Linear(200, 10), Softmax())
    inner = "Sequential(Linear(784, 200), Tanh())"
    assert repr(net) == f"Sequential({inner}, Linear(200, 10), Softmax())"


def test_a_thousand_modules():
    net = Sequential(*(Tanh() for _ in range(1000)))
    x = np.full((1, 2), 0.5)
    assert net.bprop(net.fprop(x)).shape == (1, 2)


def test_the_module_that_does_not_fit_is_named():
    with pytest.raises(
        ValueError, match=r"^Linear\(3, 2\): x has 4 features, .* from Linear\(5, 4\)$"
    ):
        Sequential(Linear(5, 4), Linear(3, 2))
    net = Sequential(Tanh(), Linear(3, 2))
    with pytest.raises(
        ValueError, match=r"^Linear\(3, 2\): x has shape \(6, 5\), expected .* from Tanh\(\)$"
    ):
        net.fprop(np.zeros((6, 5), np.float32))
    with pytest.raises(RuntimeError, match=r"^Linear\(3, 2\): bprop before fprop"):
        net.bprop(np.zeros((6, 2), np.float32))


def test_wrong_modules():
    with pytest.raises(ValueError, match="at least one module"):
        Sequential()
    with pytest.raises(TypeError, match="argument 1 is a class, expected a module such as Tanh"):
        Sequential(Linear(3, 2), Tanh)
    with pytest.raises(TypeError, match="argument 0 is of type list, expected a module"):
        Sequential([Linear(3, 2), Tanh()])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_module_at_two_places(dtype):
    rng = np.random.default_rng(4)
    tanh, linear = Tanh(), Linear(3, 3, rng, dtype)
    net = Sequential(linear, tanh, Sequential(linear, tanh), linear)
    assert [p.name for p in net.parameters()] == ["0.w", "0.b"]
    assert net[3] is net[0] is linear
    x = rng.standard_normal((2, 3))
    assert gradcheck(net, x)
    y = x.astype(dtype)
    for module in net:
        y = module.fprop(y).copy()
    np.testing.assert_array_equal(net.fprop(x.astype(dtype)), y)
