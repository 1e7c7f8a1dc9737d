"""Networks described as plain data and built again."""

import copy
import json

import numpy as np
import pytest

from jitprop import layers
from jitprop.layers import (
    Add,
    Bias,
    Concatenate,
    Dropout,
    GaussianNoise,
    Graph,
    Identity,
    Input,
    Linear,
    LogSoftmax,
    Module,
    Multiply,
    Node,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Split,
    Subtract,
    Tanh,
)
from jitprop.layers.blueprint import build, describe, owned

rng = np.random.default_rng(3)


def many():
    """Every module, several inputs and outputs, a graph in a graph, an input that is an output."""
    a, b = Input(4), Input()
    h = Concatenate()(*Split([1, 3])(Linear(4, 4, rng)(a)))
    h = Subtract()(Add()(h, ReLU()(b)), Sigmoid()(h) * Tanh()(b))
    x = Input(4)
    inner = Graph([x], [x, Bias(2)(Linear(4, 2, rng)(x))])
    p, q = inner(h * 0.5)
    return Graph([b, a], [Softmax()(q), LogSoftmax()(p), a])


def shared():
    """One chain at two places, one module in two graphs, and all of it twice."""
    linear = Linear(4, 4, rng)
    cell = Sequential(linear, Tanh(), Dropout(0.5, rng), GaussianNoise(0.25, rng))
    x = Input(4)
    both = Graph(x, cell(cell(x)) + linear(x))
    return Sequential(both, ReLU(), both)


def tied():
    first, second = Linear(4, 4, rng), Linear(4, 4, rng)
    second.w, second.dw = first.w, first.dw
    return Sequential(first, Tanh(), second)


NETS = {
    "a module": lambda: Linear(4, 3, rng),
    "no parameters": lambda: Sequential(Tanh(), Multiply(2), Identity()),
    "float64": lambda: Sequential(Linear(4, 2, rng, np.float64), Bias(2, np.float64)),
    "nested": lambda: Sequential(Sequential(Linear(4, 4, rng)), Sequential(Sequential(Tanh()))),
    "many": many,
    "shared": shared,
    "tied": tied,
    "a copy": lambda: copy.deepcopy(shared()),
    "a slice": lambda: tied()[1:],
}


def again(net, change=lambda entries: None):
    """Describe, send through JSON, change, build and give the arrays of `net`."""
    entries = json.loads(json.dumps(describe(net)))
    change(entries)
    arrays = {one.name: one.value for one in owned(net)}
    built = build(entries, {name: array.size for name, array in arrays.items()})
    assert [one.name for one in owned(built)] == list(arrays)
    for one in owned(built):
        one.value[...] = arrays[one.name]
    return built


def run(net):
    """Forwards and backwards; return results and gradients."""
    draw = np.random.default_rng(8)
    dtype = net.parameters()[0].value.dtype if net.parameters() else np.float32
    count = len(net.in_widths) if isinstance(net, Graph) else 1
    ys = net.fprop(*(draw.standard_normal((5, 4)).astype(dtype) for _ in range(count)))
    ys = ys if isinstance(ys, tuple) else (ys,)
    dxs = net.bprop(*(draw.standard_normal(y.shape).astype(dtype) for y in ys))
    dxs = dxs if isinstance(dxs, tuple) else (dxs,)
    return [*ys, *dxs, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("name", NETS)
def test_the_same_network_is_built(name):
    net = NETS[name]()
    built = again(net)
    assert (str(built), repr(built)) == (str(net), repr(net))
    assert describe(built) == describe(net)
    for ours, theirs in zip(run(built), run(net), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    net.update(0.1)
    built.update(0.1)
    for ours, theirs in zip(owned(built), owned(net), strict=True):
        np.testing.assert_array_equal(ours.value, theirs.value, strict=True)


def test_every_module_is_described():
    """Also those that are still to come."""
    kinds = {
        kind
        for kind in (getattr(layers, name) for name in layers.__all__)
        if isinstance(kind, type) and issubclass(kind, Module)
    }
    described = set()
    for make in NETS.values():
        described |= {entry["kind"] for entry in describe(make())}
    assert described == {kind.__name__ for kind in kinds} - {"Module", "Activation"}


class Twice(Module):
    def fprop(self, x):
        return 2 * x

    def bprop(self, dy, need_dx=True):
        return 2 * dy


class Own(Linear):
    pass


def test_own_modules_are_named_but_not_built():
    for module in (Twice(), Own(4, 4)):
        entries = describe(Sequential(module, Tanh()))
        assert entries[0]["own"] == f"{__name__}.{type(module).__name__}"
        with pytest.raises(ValueError, match=f"{type(module).__name__} is a module of your own"):
            build(entries, {})


def test_a_chain_of_thousands():
    net = Sequential(*(Tanh() for _ in range(3000)))
    assert len(again(net)) == 3000


@pytest.mark.parametrize("outputs", ["one", "all"])
def test_time_grows_with_the_size_of_a_graph_and_no_faster(outputs, monkeypatch):
    """No list of all nodes is searched for each of them."""
    compared = []

    def equal(a, b):
        compared.append(1)
        return a is b

    monkeypatch.setattr(Node, "__eq__", equal, raising=False)
    count = 2000
    entries = [
        {"kind": "Concatenate", "arguments": {}, "arrays": {}},
        {
            "kind": "Graph",
            "inputs": [1] * count,
            "steps": [{"module": 0, "takes": list(range(count))}],
            "outputs": count if outputs == "one" else list(range(count + 1)),
        },
    ]
    assert build(entries, {}).out_width(*[1] * count) is not None
    entries[1]["inputs"].append(1)
    if outputs == "one":
        with pytest.raises(ValueError, match="is never used"):
            build(entries, {})
    assert len(compared) < 5 * count


def test_modes_are_switched_once_in_a_graph_of_graphs():
    """However deep: not twice for each graph around."""
    switched = []

    class Counted(Tanh):
        def train(self, mode=True):
            switched.append(mode)
            return super().train(mode)

    net = Counted()
    for _ in range(40):
        net = Sequential(net)
    assert not net.eval().training
    assert switched == [False]


def test_strange_numbers():
    net = Sequential(Linear(4, 4, rng), Dropout(0.5, rng), Multiply(2), Split([4]))
    for number, name, value in [
        (0, "in_features", 10**400),
        (0, "in_features", float("inf")),
        (0, "out_features", True),
        (0, "out_features", "4"),
        (1, "p", float("nan")),
        (1, "p", 10**400),
        (1, "p", "0.5"),
        (2, "constant", 10**400),
        (2, "constant", [2]),
        (3, "widths", [4.0]),
        (3, "widths", [True]),
        (3, "widths", "4"),
        (3, "widths", [float("inf")]),
    ]:
        with pytest.raises(ValueError, match=r".") as caught:
            again(net, lambda entries: entries[number]["arguments"].update({name: value}))  # noqa: B023
        assert "\n" not in str(caught.value)


def huge(entries):
    entries[0]["arguments"].update(in_features=10**7, out_features=10**7)


def split(entries):
    entries[0] = {"kind": "Split", "arguments": {"widths": [10**12]}, "arrays": {}}


def doubling(entries):
    """A graph of the graph before it, twice, and so on: 2**40 modules in 3 kB."""
    for number in range(len(entries) - 1, len(entries) + 40):
        entries.append({"kind": "Sequential", "modules": [number, number]})


def deep(entries):
    for number in range(len(entries) - 1, len(entries) + 400):
        entries.append({"kind": "Sequential", "modules": [number]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (huge, "larger than its arrays"),
        (split, "larger than its arrays"),
        (doubling, "graphs of more than"),
        (deep, "RecursionError"),
        (lambda entries: entries.clear(), "IndexError"),
        (lambda entries: entries.insert(0, None), "AttributeError"),
        (lambda entries: entries[-1].update(modules=[0, 5]), "number 5"),
        (lambda entries: entries[-1].update(modules=[-1]), "number -1"),
        (lambda entries: entries[-1].update(modules=[True]), "number True"),
        (lambda entries: entries[-1].update(modules=[]), "at least one module"),
        (lambda entries: entries[-1].pop("modules"), "KeyError: 'inputs'"),
        (lambda entries: entries[0].update(kind="Module"), "no module"),
        (lambda entries: entries[0].update(kind="gradcheck"), "no module"),
        (lambda entries: entries[0].update(kind=[]), "no module"),
        (lambda entries: entries[0]["arguments"].update(rng=3), "no module"),
        (lambda entries: entries[0]["arguments"].update(in_features=4.5), "TypeError"),
        (lambda entries: entries[0]["arguments"].update(in_features=-4), "at least 1"),
        (lambda entries: entries[0]["arguments"].update(dtype="O"), "TypeError"),
        (lambda entries: entries[0].update(arrays={}), "KeyError"),
        (lambda entries: entries[0].update(arrays=None), "AttributeError"),
        (lambda entries: entries[0]["arrays"].update(w="2.b"), "cannot share"),
    ],
)
def test_descriptions_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        again(Sequential(Linear(4, 4, rng), Tanh(), Linear(4, 4, rng)), change)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.update(inputs=0),
        lambda entry: entry.update(inputs=["4"]),
        lambda entry: entry.update(outputs=99),
        lambda entry: entry.update(outputs=[]),
        lambda entry: entry["steps"][0].update(takes=[9]),
        lambda entry: entry["steps"][0].update(takes=[]),
        lambda entry: entry["steps"][0].update(takes=[0, 1]),
        lambda entry: entry["steps"].pop(),
    ],
)
def test_graphs_that_make_no_sense(change):
    with pytest.raises(ValueError, match=r"."):
        again(many(), lambda entries: change(entries[-1]))
