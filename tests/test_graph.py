"""layers/graph.py: any graph runs forwards and backwards, is checked, shown and copied.

One file: graphs of every kind are made by the same few helpers.
"""

import copy
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitprop import kernels
from jitprop.layers import (
    Graph,
    Input,
    Linear,
    Module,
    Node,
    Parameter,
    Sequential,
    State,
    Tanh,
    gradcheck,
)
from jitprop.layers.node import OPERATIONS


class Plus(Module):
    """The sum of its inputs; gives back the very gradient that it is given."""

    def fprop(self, *xs):
        self.count = len(xs)
        return sum(xs[1:], xs[0])

    def bprop(self, dy, need_dx=True):
        return (dy,) * self.count

    def out_width(self, *in_features):
        if len(set(in_features)) > 1:
            raise ValueError(f"{self!r}: widths {in_features} differ")
        return in_features[0]


class Times(Module):
    """The product of two; without widths, as a person may leave them out."""

    def fprop(self, a, b):
        self.a, self.b = a.copy(), b.copy()
        return a * b

    def bprop(self, dy):
        return dy * self.b, dy * self.a


class Join(Module):
    def fprop(self, *xs):
        self.ends = np.cumsum([x.shape[1] for x in xs])[:-1]
        return np.concatenate(xs, axis=1)

    def bprop(self, dy, need_dx=True):
        return tuple(np.split(dy, self.ends, axis=1))

    def out_width(self, *in_features):
        return sum(in_features)


class Parts(Module):
    """Columns, each a value of its own."""

    def __init__(self, count):
        self.outputs = count

    def fprop(self, x):
        return tuple(np.split(x, self.outputs, axis=1))

    def bprop(self, *dys, need_dx=True):
        return np.concatenate(dys, axis=1)

    def out_width(self, features):
        return (features // self.outputs,) * self.outputs


class Stretch(Module):
    """y = x * s, with a new array for every gradient."""

    def __init__(self, features, dtype=np.float32):
        self.s = np.linspace(-0.9, 0.8, features).astype(dtype)
        self.ds = np.zeros_like(self.s)

    def fprop(self, x):
        self.x = x.copy()
        return x * self.s

    def bprop(self, dy, need_dx=True):
        self.ds = (dy * self.x).sum(axis=0)
        return dy * self.s

    def parameters(self):
        return [Parameter("s", self.s, self.ds)]

    def out_width(self, features):
        return features


class Noise(Module):
    """Adds something else at every fprop: a state."""

    def __init__(self):
        self.state = np.zeros(1, np.int64)

    def fprop(self, x):
        self.state += self.training
        return x * np.sin(self.state[0] + 1.0).astype(x.dtype)

    def bprop(self, dy, need_dx=True):
        return dy * np.sin(self.state[0] + 1.0).astype(dy.dtype)

    def states(self):
        return [State("count", self.state)]


class Spy(Module):
    """Passes everything through and counts."""

    def __init__(self):
        self.s = np.zeros(1, np.float32)
        self.ds = np.ones(1, np.float32)
        self.bprops = []

    def fprop(self, x):
        return x

    def bprop(self, dy, need_dx=True):
        self.bprops.append(need_dx)
        return dy if need_dx else None

    def parameters(self):
        return [Parameter("s", self.s, self.ds)]


def arrays(rng, *widths, batch=3, dtype=np.float64):
    return tuple(rng.uniform(-0.5, 0.5, (batch, width)).astype(dtype) for width in widths)


def skip(dtype=np.float32):
    """The graph of the module's docstring, small."""
    rng = np.random.default_rng(1)
    x = Input(6)
    h = Tanh()(Linear(6, 5, rng, dtype)(x))
    return Graph(inputs=x, outputs=Plus()(Linear(5, 4, rng, dtype)(h), Linear(6, 4, rng, dtype)(x)))


# --- Random graphs ------------------------------------------------------------------------------


@st.composite
def graphs(draw, dtype=np.float32):
    """Fan-out, modules and sub-graphs at several places, several inputs and outputs."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    inputs = [Input(width) for width in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))]
    widths = {node: node.features for node in inputs}
    unused = list(inputs)
    made: dict[int, list[Module]] = {}  # by width in and out, to be used again

    def take(nodes):
        node = draw(st.sampled_from(nodes))
        if node in unused:
            unused.remove(node)
        return node

    def give(node, width):
        widths[node] = width
        unused.append(node)

    for _ in range(draw(st.integers(1, 7))):
        nodes = list(widths)
        a = take(nodes)
        width = widths[a]
        kind = draw(
            st.sampled_from(["square", "again", "linear", "plus", "times", "join", "parts"])
        )
        if kind == "square":
            module = draw(
                st.sampled_from(
                    [
                        lambda n: Linear(n, n, rng, dtype),
                        lambda n: Stretch(n, dtype),
                        lambda n: Sequential(
                            Linear(n, 2, rng, dtype), Tanh(), Linear(2, n, rng, dtype)
                        ),
                    ]
                )
            )(width)
            made.setdefault(width, []).append(module)
            node = module(a)
            give(module(Tanh()(node)) if draw(st.booleans()) else node, width)
        elif kind == "again" and width in made:
            module = draw(st.sampled_from(made[width]))
            if draw(st.booleans()):  # within a graph that is new
                module = Sequential(Tanh(), module)
            give(module(a), width)
        elif kind == "linear":
            give(Linear(width, 2, rng, dtype)(a), 2)
        elif kind in ("plus", "times"):
            b = take([node for node in nodes if widths[node] == width])
            give(Tanh()((Plus() if kind == "plus" else Times())(a, b)), width)
        elif kind == "join":
            b = take(nodes)
            give(Join()(a, b, a), 2 * width + widths[b])
        elif kind == "parts":
            first, *rest = Parts(width)(a)
            give(first, 1)
            if rest and draw(st.booleans()):
                give(rest[0], 1)
        else:
            give(Tanh()(a), width)
    outputs = [*unused, draw(st.sampled_from(list(widths)))]
    net = Graph(inputs, outputs)
    xs = arrays(rng, *(node.features for node in inputs), batch=2)
    return net, xs, rng


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_graphs(dtype):
    seen = set()

    @settings(derandomize=True, deadline=None, max_examples=60, database=None)
    @given(graphs(dtype))
    def check(drawn):
        net, xs, rng = drawn
        result = gradcheck(net, xs)
        assert result, str(result)
        places = net.modules
        values = [id(p.value) for step in net.steps for p in step.module.parameters()]
        seen.add(("shared", len(set(values)) < len(values)))
        seen.add(("several inputs", len(xs) > 1))
        takes = [value for step in net.steps for value in step.takes]
        seen.add(("fan-out", len(set(takes)) < len(takes)))
        seen.update(type(module).__name__ for module in places)

        xs = [x.astype(dtype) for x in xs]
        ys = net.fprop(*xs)
        dys = [rng.standard_normal(y.shape).astype(dtype) for y in ys]
        first = [*net.bprop(*dys), *(p.grad.copy() for p in net.parameters())]
        first = copy.deepcopy(first)
        again = [*net.bprop(*dys), *(p.grad for p in net.parameters())]
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)

        # No loss is as good as a gradient of zeros.
        lost = rng.integers(2, size=len(dys))
        zeros = [dy * gone for dy, gone in zip(dys, lost.astype(dtype), strict=True)]
        expected = [*net.bprop(*zeros), *(p.grad for p in net.parameters())]
        expected = copy.deepcopy(expected)
        nones = [dy if gone else None for dy, gone in zip(dys, lost, strict=True)]
        for p in net.parameters():
            p.grad[...] = np.nan
        found = [*net.bprop(*nones), *(p.grad for p in net.parameters())]
        for one, other in zip(found, expected, strict=True):
            # Up to the sign of zero, and the rounding of sums in which a zero is left out: none.
            np.testing.assert_array_equal(np.zeros_like(other) if one is None else one, other)

        without = [p.grad.copy() for p in net.parameters()]
        assert net.bprop(*nones, need_dx=False) is None
        for p, grad in zip(net.parameters(), without, strict=True):
            np.testing.assert_array_equal(p.grad, grad)

    check()
    for what in ("shared", "several inputs", "fan-out"):
        assert {(what, True), (what, False)} <= seen
    assert {"Linear", "Stretch", "Plus", "Times", "Join", "Parts", "Sequential"} <= seen


class WrongPlus(Plus):
    def bprop(self, dy, need_dx=True):
        return (dy, *[dy * 1.001] * (self.count - 1))


class ForgetfulStretch(Stretch):
    def bprop(self, dy, need_dx=True):
        if not need_dx:
            return None
        return dy * self.s


@pytest.mark.parametrize("plus", [Plus, WrongPlus])
def test_a_wrong_bprop_in_a_graph_fails(plus):
    x = Input(3)
    h = Tanh()(x)
    net = Graph(x, Tanh()(plus()(h, Linear(3, 3, 0)(h))))
    assert bool(gradcheck(net, *arrays(np.random.default_rng(2), 3))) == (plus is Plus)


def test_a_parameter_without_its_gradient_fails():
    net = Graph(x := Input(3), Tanh()(ForgetfulStretch(3)(x)))
    result = gradcheck(net, *arrays(np.random.default_rng(2), 3))
    assert not result
    assert result.name == "forgetfulstretch1.s"


@pytest.mark.parametrize("kind", ["fan-out", "shared module"])
def test_a_sum_that_is_none_fails(kind, monkeypatch):
    x = Input(3)
    stretch = Stretch(3)
    y = Plus()(x, Tanh()(x)) if kind == "fan-out" else stretch(Tanh()(stretch(x)))
    net, xs = Graph(x, y), arrays(np.random.default_rng(2), 3)
    assert gradcheck(net, *xs)
    monkeypatch.setattr(kernels, "add", lambda a, b, out: kernels.scale(b, 1.0, out))
    assert gradcheck(net, *xs).name == ("x" if kind == "fan-out" else "stretch1.s")


# --- What is computed ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_skip_connection(dtype):
    net = skip(dtype)
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((7, 6)), rng.standard_normal((7, 4))
    y, dx = net.fprop(x.astype(dtype)), net.bprop(dy.astype(dtype))
    w1, b1, w2, b2, w3, b3 = (p.value.astype(np.float64) for p in net.parameters())
    h = np.tanh(x @ w1 + b1)
    dh = (dy @ w2.T) * (1 - h * h)
    # Some tens of roundings of numbers below ten; a wrong formula is off by about one.
    close = {"rtol": 0, "atol": 200 * np.finfo(dtype).eps}
    np.testing.assert_allclose(y, h @ w2 + b2 + x @ w3 + b3, **close)
    np.testing.assert_allclose(dx, dh @ w1.T + dy @ w3.T, **close)
    expected = [x.T @ dh, dh.sum(0), h.T @ dy, dy.sum(0), x.T @ dy, dy.sum(0)]
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, **close)
    names = ["linear1.w", "linear1.b", "linear2.w", "linear2.b", "linear3.w", "linear3.b"]
    assert [p.name for p in net.parameters()] == names
    assert gradcheck(net, x)


def test_gradients_are_added_in_the_order_of_the_backward_pass():
    """1e8 + 1 is 1e8 in float32, so that the order shows in the sum."""
    x = Input(1)
    factors = [1.0, 1e8, -1e8]  # backwards: (-1e8 + 1e8) + 1
    stretches = [Stretch(1) for _ in factors]
    for stretch, factor in zip(stretches, factors, strict=True):
        stretch.s[:] = factor
    net = Graph(x, Plus()(*(stretch(x) for stretch in stretches)))
    one = np.ones((1, 1), np.float32)
    net.fprop(one)
    assert net.bprop(one) == 1
    backwards = Graph(x, Plus()(*(s(x) for s in stretches[::-1])))  # (1 + 1e8) - 1e8
    backwards.fprop(one)
    assert backwards.bprop(one) == 0


def test_gradients_that_modules_return_are_left_as_they_are():
    spy = Spy()
    x = Input(2)
    h = spy(x)
    net = Graph(x, Plus()(h, h, x))
    dy = np.ones((1, 2), np.float32)
    net.fprop(dy)
    np.testing.assert_array_equal(net.bprop(dy), [[3, 3]])
    np.testing.assert_array_equal(dy, [[1, 1]])


def test_shared_gradients_are_summed_and_updated_once():
    stretch, x = Stretch(2), Input(2)
    net = Graph(x, Plus()(stretch(x), stretch(Tanh()(x)), x))
    assert [p.name for p in net.parameters()] == ["stretch1.s"]
    assert net.parameters()[0].value is stretch.s
    ones = np.ones((4, 2), np.float32)
    net.fprop(ones)
    net.bprop(ones)
    gradient = net.parameters()[0].grad.copy()
    np.testing.assert_allclose(gradient, 4 + 4 * np.tanh(1), rtol=1e-6)  # a few roundings
    before = stretch.s.copy()
    net.update(0.5)
    np.testing.assert_allclose(stretch.s, before - gradient / 2, rtol=1e-6)


def test_a_module_within_two_graphs_and_beside_them():
    rng = np.random.default_rng(5)
    shared, own = Linear(3, 3, rng), Linear(3, 3, rng)
    a, b = Sequential(shared, Tanh()), Sequential(Tanh(), own, shared)
    x = Input(3)
    net = Graph(x, shared(b(a(x))))
    assert [p.name for p in net.parameters()] == [
        *("sequential1.0.w", "sequential1.0.b"),
        *("sequential2.1.w", "sequential2.1.b"),
    ]
    (xs,) = arrays(rng, 3)
    assert gradcheck(net, xs)
    net.fprop(xs.astype(np.float32))
    net.bprop(np.ones((3, 3), np.float32))
    assert net.parameters()[0].grad is shared.dw
    assert net.parameters()[2].grad is own.dw
    expected = [p.value - np.float32(0.25) * p.grad for p in net.parameters()]
    net.update(0.25)
    for module, (w, b) in ((shared, expected[:2]), (own, expected[2:])):
        np.testing.assert_array_equal(module.w, w)  # 0.25 times anything is exact
        np.testing.assert_array_equal(module.b, b)


def test_tied_weights():
    a, b = Linear(3, 3, 0), Linear(3, 3, 1)
    b.w = a.w
    net = Sequential(a, Tanh(), b)
    assert [p.name for p in net.parameters()] == ["0.w", "0.b", "2.b"]
    assert gradcheck(net, *arrays(np.random.default_rng(1), 3))


def test_a_shared_parameter_that_was_replaced():
    """The copies of its module would keep the old array: better refused than wrong."""
    x, shared = Input(3), Linear(3, 3, 0)
    net = Graph(x, shared(Tanh()(shared(x))))
    ones = np.ones((2, 3), np.float32)
    shared.w[...] = np.eye(3)
    np.testing.assert_array_equal(net.fprop(ones), np.tanh(ones))
    shared.w = np.eye(3, dtype=np.float32)
    with pytest.raises(
        ValueError, match=r"w of linear1, Linear\(3, 3\), is shared, .* another array.* w\[\.\.\.\]"
    ):
        net.fprop(ones)


def test_states_are_shared_and_restored_by_the_check():
    noise, x = Noise(), Input(2)
    net = Graph(x, noise(Tanh()(noise(x))))
    assert [s.name for s in net.states()] == ["noise1.count"]
    net.fprop(np.ones((1, 2)))
    assert net.states()[0].value is noise.state
    assert noise.state == 2
    single = Graph(x, noise(x))
    assert gradcheck(single, np.ones((1, 2)))
    assert noise.state == 2
    assert net.eval() is net
    net.fprop(np.ones((1, 2)))
    assert noise.state == 2
    net.train().fprop(np.ones((1, 2)))
    assert noise.state == 4


# --- What is not computed -----------------------------------------------------------------------


def test_what_no_loss_depends_on_costs_nothing_backwards():
    a, b, c = Spy(), Spy(), Spy()
    x = Input(2)
    h = a(x)
    inner = Sequential(c)
    net = Graph(x, [b(h), inner(h), Tanh()(h)])
    dy = np.ones((1, 2), np.float32)
    net.fprop(dy)
    net.bprop(dy, None, None)
    assert (len(a.bprops), len(b.bprops), len(c.bprops)) == (1, 1, 0)
    assert (a.ds, b.ds, c.ds) == (1, 1, 0)
    assert net.bprop(None, None, None) is None
    assert (len(a.bprops), len(b.bprops), len(c.bprops)) == (1, 1, 0)
    assert (a.ds, b.ds) == (0, 0)


def test_what_no_parameter_needs_costs_nothing_backwards():
    calls = []

    class Plain(Tanh):
        def bprop(self, dy, need_dx=True):
            calls.append(need_dx)
            return super().bprop(dy, need_dx)

    x = Input(2)
    spy = Spy()
    net = Graph(x, Plus()(Plain()(spy(Plain()(x))), Plain()(x)))
    dy = np.ones((1, 2), np.float32)
    net.fprop(dy)
    assert net.bprop(dy, need_dx=False) is None
    assert (calls, spy.bprops) == ([True], [False])
    assert net.bprop(dy).shape == (1, 2)
    assert calls == [True] * 4


def test_inputs_of_a_graph_within_that_need_no_gradient_cost_nothing():
    spies = [Spy(), Spy(), Spy()]
    a, b = Input(2), Input(2)
    inner = Graph([a, b], Plus()(*(spy(x) for spy, x in zip(spies, [a, b, b], strict=True))))
    net = Graph([a, b], inner(a, Spy()(b)))
    dy = np.ones((1, 2), np.float32)
    net.fprop(dy, dy)
    assert net.bprop(dy, need_dx=False) is None
    assert [spy.bprops for spy in spies] == [[False], [True], [True]]
    dx0, dx1 = net.bprop(dy, need_dx=(True, False))
    assert [spy.bprops[1:] for spy in spies] == [[True]] * 3
    np.testing.assert_array_equal(dx0, dy)
    assert dx1 is None
    refused(ValueError, "need_dx is .True,., expected 2", lambda: net.bprop(dy, need_dx=(True,)))


def test_outputs_of_a_module_without_a_loss_get_zeros():
    x = Input(4)
    parts = Parts(2)(x)
    net = Graph(x, [Tanh()(parts[0]), Tanh()(parts[1])])
    net.fprop(np.zeros((1, 4)))
    np.testing.assert_array_equal(net.bprop(None, np.ones((1, 2))), [[0, 0, 1, 1]])
    only = Graph(x, parts[1])
    np.testing.assert_array_equal(only.fprop(np.arange(4.0)[None]), [[2, 3]])
    np.testing.assert_array_equal(only.bprop(np.ones((1, 2))), [[0, 0, 1, 1]])


def test_nothing_is_allocated_once_shapes_are_known():
    x = Input(3)
    stretch = Linear(3, 3, 0)
    h = stretch(x)
    net = Graph(x, [Tanh()(h), stretch(h)])
    big = np.ones((5, 3), np.float32)
    dx = net.bprop(*(y.copy() for y in net.fprop(big)))
    short = net.bprop(*(y.copy() for y in net.fprop(big[:2])))
    assert np.shares_memory(dx, short)
    buffers = {value: buffer._memory for value, buffer in net._buffers.items()}
    net.bprop(*(y.copy() for y in net.fprop(big)))
    assert all(net._buffers[value]._memory is memory for value, memory in buffers.items())


# --- Long chains --------------------------------------------------------------------------------


@pytest.mark.slow
def test_thousands_of_modules():
    count = 3 * sys.getrecursionlimit()
    stretch = [Stretch(1) for _ in range(count)]
    x = Input(1)
    y = x
    for module in stretch:
        module.s[:] = 1
        y = module(y)
    net = Graph(x, Plus()(y, x))
    chain = Sequential(*stretch)
    assert len(chain.parameters()) == len(net.parameters()) == count
    assert str(net).count("\n") == count + 5
    assert net.to_mermaid().count("-->") == count + 3
    assert "\n" not in repr(net)
    half = np.full((1, 1), 0.5, np.float32)
    assert net.fprop(half) == 1
    assert net.bprop(half) == 1
    twin = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    assert twin.bprop(twin.fprop(half)) == 2
    assert chain.bprop(chain.fprop(half)) == 0.5
    tanhs = Sequential(*(Tanh() for _ in range(count)))
    assert gradcheck(tanhs, half)
    assert gradcheck(Sequential(*[Tanh()] * count), half)
    assert gradcheck(Graph(x, Plus()(*(Tanh()(x) for _ in range(1000)))), half / 1000)


# --- Building -----------------------------------------------------------------------------------


def test_operators(monkeypatch):
    class Factor(Times):
        def __init__(self, constant=None):
            self.constant = constant

        def __repr__(self):
            return f"Factor({self.constant})"

    for name, module in {"Add": Plus, "Subtract": Join, "Multiply": Factor}.items():
        monkeypatch.setitem(OPERATIONS, name, module)
    a, b = Input(2), Input(2)
    assert repr(a + b) == "Plus()"
    assert repr(a - b) == "Join()"
    assert repr(a * b) == "Factor(None)"
    for wrong in ("2", True, None, [1.0]):
        with pytest.raises(TypeError, match=r"unsupported operand|multiply seq"):
            a * wrong
    with pytest.raises(TypeError, match="unsupported operand"):
        a + 1.0


def test_inputs_and_outputs_as_lists():
    a, b = Input(2), Input(3)
    net = Graph([a, b], [Join()(a, b)])
    xs = arrays(np.random.default_rng(1), 2, 3)
    (y,) = net.fprop(*xs)
    np.testing.assert_array_equal(y, np.concatenate(xs, axis=1))
    dxs = net.bprop(y)
    assert [dx.shape for dx in dxs] == [(3, 2), (3, 3)]
    result = gradcheck(net, xs)
    assert result.name in ("x0", "x1")
    one = Graph([a], [Tanh()(a)])
    assert isinstance(one.fprop(xs[0]), tuple)
    assert isinstance(one.bprop(xs[0]), tuple)
    assert gradcheck(Graph(a, one(a)), xs[0])
    same = Graph(a, [a, a])
    np.testing.assert_array_equal(same.fprop(xs[0])[1], xs[0])
    np.testing.assert_array_equal(same.bprop(xs[0], xs[0]), 2 * xs[0])


def test_widths():
    assert skip().out_width(6) == 4
    assert skip().multiply_adds(6) == 6 * 5 + 5 * 4 + 6 * 4
    x = Input(3)
    assert isinstance(x, Node)
    assert Linear(3, 2)(x).features == 2
    assert Times()(x, x).features is None
    assert Linear(3, 2)(Times()(x, x)).features == 2
    assert [node.features for node in Parts(3)(x)] == [1, 1, 1]
    assert [node.features for node in Parts(3)(Input())] == [None, None, None]
    assert Sequential(Linear(3, 2), Tanh())(x).features == 2


def refused(error, message, build):
    with pytest.raises(error, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_refused_calls():
    x = Input(3)
    refused(TypeError, r"^Tanh\(\): argument 0 is of type int, expected a node", lambda: Tanh()(3))
    refused(TypeError, "argument 0 is a class", lambda: Tanh()(Tanh))
    refused(
        TypeError,
        r"^Tanh\(\): called on 2 nodes \(Input\(3\), Plus\(\)\), expected 1$",
        lambda: Tanh()(x, Plus()(x)),
    )
    refused(TypeError, r"^Times\(\): called on 1 nodes .* expected 2$", lambda: Times()(x))
    refused(TypeError, r"^Plus\(\): called on 0 nodes, expected 1$", lambda: Plus()())
    two = Graph([x, y := Input(2)], Join()(x, y))
    refused(TypeError, r"^Graph\(3, 2 -> 5, .* expected 2$", lambda: two(x))
    refused(
        ValueError,
        r"^Linear\(4, 2\): x has 5 features, expected 4; it comes from Linear\(3, 5\)$",
        lambda: Linear(4, 2)(Linear(3, 5)(x)),
    )
    refused(ValueError, r"comes from Input\(3\) and Input\(2\)$", lambda: Plus()(x, y))
    refused(
        ValueError,
        r"^Graph\(3, 2 -> 5, 1 modules\): x1 has 3 features, expected 2; it comes from Input",
        lambda: two(x, x),
    )
    refused(
        ValueError, r"^Linear\(4, 2\): .* Tanh\(\)$", lambda: Sequential(Tanh(), Linear(4, 2))(x)
    )
    refused(ValueError, r"Input\(0\): the width must be at least 1", lambda: Input(0))


def test_refused_graphs():
    x, other = Input(3), Input(2)
    y = Tanh()(x)
    refused(
        ValueError,
        r"^Graph: Plus\(\) takes Input\(3\), which is not among the inputs \[Input\(2\)\]",
        lambda: Graph(other, Join()(other, Plus()(x))),
    )
    refused(
        ValueError,
        r"^Graph: inputs\[1\], Input\(2\), is never used: the outputs \[Tanh\(\)\] do not",
        lambda: Graph([x, other], y),
    )
    refused(
        ValueError, r"inputs\[0\] and \[2\] are one Input\(3\)", lambda: Graph([x, other, x], y)
    )
    refused(TypeError, r"inputs\[0\] is the output of Tanh\(\), expected", lambda: Graph(y, y))
    refused(TypeError, r"outputs\[1\] is of type str, expected a node", lambda: Graph(x, [y, "y"]))
    refused(TypeError, r"outputs is \[\], expected a node or a list", lambda: Graph(x, []))
    refused(TypeError, r"outputs is 3, expected a node or a list", lambda: Graph(x, 3))
    first = Plus()(x)
    last = Linear(3, 3)(Tanh()(first))
    first.call.inputs = (last,)
    refused(
        ValueError,
        r"^Graph: a cycle: Plus\(\) takes the output of Linear\(3, 3\), which depends on Plus\(\)$",
        lambda: Graph(x, last),
    )


def test_refused_arrays():
    a, b = Input(2), Input(3)
    net = Graph([a, b], Tanh()(Join()(a, b)))
    x, y = arrays(np.random.default_rng(1), 2, 3)
    refused(TypeError, r"^Graph\(2, 3 -> 5, 2 modules\): fprop of 1 arr", lambda: net.fprop(x))
    refused(ValueError, r"x1 has shape \(3, 2\), expected \(batch, 3\)", lambda: net.fprop(x, x))
    refused(ValueError, r"x1 has 2 rows, x0 has 3", lambda: net.fprop(x, y[:2]))
    net.fprop(x, y)
    refused(TypeError, r"bprop of 2 arrays, expected 1", lambda: net.bprop(x, x))
    refused(ValueError, r"^Tanh\(\): dy has shape", lambda: net.bprop(x))


def wrong(**methods):
    return type("Wrong", (Plus,), methods)()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            wrong(fprop=lambda self, *xs: xs),
            r"^Wrong\(\): fprop returned 2 arrays, expected 1 arrays",
        ),
        (wrong(outputs=2), r"^Wrong\(\): fprop returned a ndarray, expected 2 arrays"),
        (
            wrong(bprop=lambda self, dy: dy),
            r"^Wrong\(\): bprop returned a ndarray, expected 2 arrays",
        ),
        (wrong(bprop=lambda self, dy: (dy,) * 3), r"^Wrong\(\): bprop returned 3 arrays, expected"),
        (
            wrong(bprop=lambda self, dy: (dy, dy[:1])),
            r"^Wrong\(\): bprop returned float64 of shape \(1, 2\) for Tanh\(\), whose other grad",
        ),
    ],
)
def test_modules_that_return_what_they_should_not(module, message):
    x = Input()
    h = Tanh()(x)
    y = module(h, h)
    net = Graph(x, y if isinstance(y, tuple) else [y])
    xs = np.zeros((3, 2))
    refused(ValueError, message, lambda: net.bprop(*net.fprop(xs)))


def test_a_bprop_that_returns_nothing():
    net = Sequential(Tanh(), wrong(bprop=lambda self, dy: None))
    net.fprop(np.zeros((1, 2)))
    refused(ValueError, "bprop returned None, expected dx", lambda: net.bprop(np.zeros((1, 2))))


# --- What is shown ------------------------------------------------------------------------------


def test_table():
    shared = Linear(6, 6, 0)
    x, more = Input(6), Input(2)
    h = shared(Tanh()(shared(x)))
    a, b = Parts(2)(h)
    net = Graph([x, more], [Join()(a, more), Noise()(b)])
    assert str(net).splitlines() == [
        "         module        from           output                  parameters  multiply-adds",
        "-" * 87,
        "x0       Input(6)                     (batch, 6)",
        "x1       Input(2)                     (batch, 2)",
        "linear1  Linear(6, 6)  x0             (batch, 6)                      42             36",
        "tanh1    Tanh()        linear1        (batch, 6)                       0              0",
        "linear2  Linear(6, 6)  tanh1          (batch, 6)              as linear1             36",
        "parts1   Parts()       linear2        (batch, 3), (batch, 3)           0              0",
        "join1    Join()        parts1[0], x1  (batch, 5)                       0              0",
        "noise1   Noise()       parts1[1]      (batch, ?)                       0              0",
        "-" * 87,
        "total    6 modules     join1, noise1                                  42             72",
    ]
    net.fprop(np.zeros((1, 6), np.float32), np.zeros((1, 2), np.float32))
    assert "(batch, 3) " in str(net).splitlines()[9]


def test_table_of_a_chain():
    assert str(Sequential(Tanh(), Noise(), Linear(1000, 20))).splitlines()[2:] == [
        "x      Input()                 (batch, ?)",
        "0      Tanh()            x     (batch, ?)            0              0",
        "1      Noise()           0     (batch, ?)            0              0",
        "2      Linear(1000, 20)  1     (batch, 20)      20,020              ?",
        "-" * 69,
        "total  3 modules         2                      20,020          0 + ?",
    ]
    known = Sequential(Linear(1000, 20), Tanh())
    assert str(known).splitlines()[-1].split() == ["total", "2", "modules", "1", "20,020", "20,000"]
    nested = Sequential(*(Sequential(Linear(9, 9), Tanh()) for _ in range(2)), *[Tanh()] * 40)
    assert max(map(len, str(Sequential(nested)).splitlines())) < 120


def test_mermaid():
    class Quote(Tanh):
        def __repr__(self):
            return 'Quote("a" <b> `c`\n#1)'

    x = Input(2)
    net = Graph(x, [Quote()(x), x])
    assert net.to_mermaid() == (
        "flowchart TD\n"
        '    x0(["Input(2)"])\n'
        '    m0["quote1: Quote(#quot;a#quot; #lt;b#gt; #96;c#96; #35;1)"]\n'
        "    x0 -->|2| m0\n"
        '    y0(["output 0"])\n'
        "    m0 -->|2| y0\n"
        '    y1(["output 1"])\n'
        "    x0 -->|2| y1\n"
    )
    lines = Sequential(Linear(3, 2), Tanh()).to_mermaid().splitlines()
    assert lines[2] == '    m0["0: Linear(3, 2)"]'
    assert lines[-1] == "    m1 -->|2| y0"
