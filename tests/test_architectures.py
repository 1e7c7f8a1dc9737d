"""Networks by their hidden widths, and the gradient check of such a network."""

from itertools import pairwise

import numpy as np
import pytest

from jitprop.layers import Dropout, GaussianNoise, Linear, ReLU, Sigmoid, Tanh, gradcheck
from jitprop.training import ARCHITECTURES, gradcheck_mlp, mlp
from jitprop.training.architectures import FUNCTIONS, gradcheck_layers
from jitprop.training.settings import ACTIVATIONS


@pytest.mark.parametrize("arch", ["linear", "mlp200", "mlp800"])
def test_linear_layers_with_tanh_between(arch):
    widths = [784, *ARCHITECTURES[arch], 10]
    net = mlp(784, ARCHITECTURES[arch], 10, 0)
    assert [type(module) for module in net] == ([Linear, Tanh] * len(widths))[: len(net)]
    assert len(net) == 2 * len(widths) - 3
    shapes = [parameter.value.shape for parameter in net.parameters()]
    assert shapes[::2] == list(pairwise(widths))
    assert shapes[1::2] == [(width,) for width in widths[1:]]


def test_weights_come_from_one_generator():
    """Equal seeds give equal networks, and no two layers of one network the same numbers."""
    rng = np.random.default_rng(7)
    ours = mlp(3, (3, 3), 3, rng)
    again = mlp(3, (3, 3), 3, 7)
    for a, b in zip(ours.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    first, second, third = (p.value for p in ours.parameters() if p.name.endswith("w"))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_dropout_between_hidden_layers():
    net, plain = mlp(6, (5, 4), 3, 0, dropout=0.2), mlp(6, (5, 4), 3, 0)
    kinds = [Linear, Tanh, Dropout, Linear, Tanh, Dropout, Linear]
    assert [type(module) for module in net] == kinds
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    first, second = (state.value[0] for state in net.states())
    assert first != second
    assert first == mlp(6, (5, 4), 3, 0, dropout=0.2).states()[0].value[0]


def test_dropout_of_the_input():
    net, plain = mlp(6, (5,), 3, 0, input_dropout=0.2), mlp(6, (5,), 3, 0)
    assert [type(module) for module in net] == [Dropout, Linear, Tanh, Linear]
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    assert [type(module) for module in mlp(6, (), 3, 0, input_dropout=0.2)] == [Dropout, Linear]
    noisy = mlp(6, (5,), 3, 0, input_dropout=0.2, input_noise=0.1)
    assert [type(module) for module in noisy] == [GaussianNoise, Dropout, Linear, Tanh, Linear]
    np.testing.assert_array_equal(noisy[2].w, plain[0].w)
    dropouts = {"input_dropout": 1}, {"input_dropout": -0.1}, {"dropout": np.nan}
    for wrong in (*dropouts, {"input_noise": -1}, {"input_noise": np.inf}):
        (name,) = wrong
        with pytest.raises(ValueError, match=rf"^mlp: {name} is"):
            mlp(6, (5,), 3, 0, **wrong)


@pytest.mark.parametrize(("activation", "kind"), [("relu", ReLU), ("sigmoid", Sigmoid)])
def test_activations(activation, kind):
    """He's weights are Glorot's, times a factor; and only those that lead to a ReLU."""
    net, plain = mlp(6, (5, 4), 3, 0, activation=activation), mlp(6, (5, 4), 3, 0)
    assert [type(module) for module in net] == [Linear, kind, Linear, kind, Linear]
    weights = [[p.value for p in one.parameters() if p.value.ndim == 2] for one in (net, plain)]
    for a, b, fan in zip(*weights, (5, 4, None), strict=True):
        larger = activation == "relu" and fan
        factor = ((len(b) + fan) / len(b)) ** 0.5 if larger else 1
        np.testing.assert_allclose(a, b * factor, rtol=1e-6 if larger else 0)
    with pytest.raises(ValueError, match=r"^mlp: activation is 'gelu', expected one of tanh, relu"):
        mlp(6, (5,), 3, 0, activation="gelu")


def test_all_activations_have_a_module():
    assert tuple(FUNCTIONS) == ACTIVATIONS
    for activation in ACTIVATIONS:
        how = {"activation": activation, "dropout": 0.1, "input_dropout": 0.1, "input_noise": 0.1}
        assert all(row.result for row in gradcheck_layers(2, 0.1, **how))


def test_precisions_agree():
    double = mlp(5, (4,), 3, 0, np.float64)
    for a, b in zip(mlp(5, (4,), 3, 0).parameters(), double.parameters(), strict=True):
        assert a.value.dtype == np.float32
        np.testing.assert_array_equal(a.value, b.value.astype(np.float32))


@pytest.mark.parametrize("hidden_layers", [0, 1, 5])
def test_gradcheck_passes(hidden_layers):
    assert gradcheck_mlp(hidden_layers)


def test_gradcheck_has_no_square_weights(monkeypatch):
    """Where a product with the transposed matrix would pass, too."""
    nets = []

    def check(net, *args):
        nets.append(net)
        return gradcheck(net, *args)

    monkeypatch.setattr("jitprop.training.architectures.gradcheck", check)
    gradcheck_mlp(4)
    shapes = [parameter.value.shape for parameter in nets[-1].parameters()]
    assert len(shapes) == 10
    assert all(rows != columns for rows, columns in shapes[::2])


def test_gradcheck_finds_a_wrong_layer(monkeypatch):
    right = Tanh.bprop
    monkeypatch.setattr(Tanh, "bprop", lambda self, dy, need_dx=True: right(self, dy) * 1.001)
    assert not gradcheck_mlp(1)
    assert gradcheck_mlp(0)
    wrong = [row.layer for row in gradcheck_layers(1) if not row.result]
    assert wrong == ["Tanh()", "all of 6-5-4"]


def test_gradcheck_of_each_layer():
    """With the number of all entries of all Jacobians."""
    rows = gradcheck_layers(1, dropout=0.5, label_smoothing=0.1)
    assert [(row.layer, row.by, row.derivatives) for row in rows] == [
        ("Linear(6, 5)", "x, w, b", 3 * 5 * (3 * 6 + 6 * 5 + 5)),
        ("Tanh()", "x", (3 * 5) ** 2),
        ("Dropout(0.5)", "x", (3 * 5) ** 2),
        ("Linear(5, 4)", "x, w, b", 3 * 4 * (3 * 5 + 5 * 4 + 4)),
        ("SoftmaxCrossEntropy(label_smoothing=0.1)", "x", 3 * 4),
        ("all of 6-5-4", "x, w, b", 3 * 4 * (3 * 6 + 6 * 5 + 5 + 5 * 4 + 4)),
    ]
    assert all(row.result for row in rows)
    assert gradcheck_mlp(2).error == max(row.result.error for row in gradcheck_layers(2))


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        ((784, 200, 10), {}, "mlp: hidden is 200, expected a list of widths such as [200]"),
        ((784, "200", 10), {}, "mlp: hidden is '200', expected a list of widths such as [200]"),
        ((784, np.array(9), 10), {}, "mlp: hidden is array(9), expected a list of widths such as"),
        ((784, {200: 1}, 10), {}, "mlp: hidden is {200: 1}, expected a list of widths such as"),
        ((784, None, 10), {}, "mlp: hidden is None, expected a list of widths such as [200]"),
        ((784, [200, 0], 10), {}, "mlp: hidden[1] is 0, expected at least 1"),
        ((784, [2.5], 10), {}, "mlp: hidden[0] is 2.5, expected an integer"),
        ((784.0, [200], 10), {}, "mlp: in_features is 784.0, expected an integer"),
        (("784", [200], 10), {}, "mlp: in_features is '784', expected an integer"),
        ((-3, [200], 10), {}, "mlp: in_features is -3, expected at least 1"),
        ((784, [200], 0), {}, "mlp: classes is 0, expected at least 1"),
        ((784, [200], True), {}, "mlp: classes is True, expected an integer"),
        ((784, [200], 10), {"dropout": 1.5}, "mlp: dropout is 1.5, expected at least 0 and below"),
        ((784, [200], 10), {"dropout": "x"}, "mlp: dropout is 'x', expected a number"),
        ((784, [200], 10), {"dtype": int}, "Linear(784, 200): dtype is int64, expected float32 or"),
    ],
)
def test_what_makes_no_network_is_told_by_the_name_of_its_argument(arguments, more, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        mlp(*arguments, rng=0, **more)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
