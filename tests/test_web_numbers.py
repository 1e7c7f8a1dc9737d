"""jitprop/web/looking.py and checking.py: the numbers are those of the library."""

import numpy as np
import pytest
from asking import MODEL, Model, coded, digit, mnist, page

import jitprop
from jitprop import (
    Add,
    Graph,
    Input,
    Linear,
    ReLU,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    Split,
    Tanh,
)  # fmt: skip
from jitprop.data.pieces import normalise
from jitprop.web import checking


def test_a_drawing_is_seen_as_predict_sees_it(page, digit):
    drawing = np.kron(255 - digit, np.ones((5, 5), np.uint8))
    asked = {"drawing": coded(drawing), "width": 140, "height": 140}
    status, seen = page.post("see", **asked)
    assert status == 200
    expected = normalise(drawing)
    assert seen["digit"] == expected.reshape(-1).tolist()
    p = jitprop.probabilities(page.model.net, expected[None])[0]
    assert seen["probabilities"] == p.tolist()
    assert "gradients" not in seen


def test_forwards_and_backwards_are_those_of_the_modules(page, digit):
    _, seen = page.post("see", digit=coded(digit), target=2)
    net, loss = jitprop.load(MODEL), SoftmaxCrossEntropy()
    z = (digit.reshape(1, -1) / np.float32(255)).astype(np.float32)
    values = [z.copy()] + [(z := module.fprop(z)).copy() for module in net]
    assert seen["loss"] == loss.fprop(z, np.array([2]))
    gradients = [dz := loss.bprop(1.0)]
    for module in reversed(net):
        gradients.append((dz := module.bprop(dz)).copy())
    for found, expected in zip(seen["values"][1:], values[1:], strict=True):
        np.testing.assert_allclose(found, expected[0], rtol=1e-4, atol=1e-5)
    for found, expected in zip(seen["gradients"], reversed(gradients), strict=True):
        np.testing.assert_allclose(found, expected[0], rtol=1e-4, atol=1e-6)
    _, unit = page.post("weights", digit=coded(digit), target=2, step=0, unit=7)
    assert unit["w"] == net[0].w[:, 7].tolist()
    assert (unit["x"], unit["y"]) == (seen["values"][0], seen["values"][1][7])
    np.testing.assert_allclose(unit["dw"], net[0].dw[:, 7], rtol=1e-4, atol=1e-6)
    assert unit["db"] == unit["dy"] == seen["gradients"][1][7]
    _, entry = page.post("weights", digit=coded(digit), target=2, step=2, entry=9)
    assert entry["w"] == net[2].w[9].tolist()
    assert (entry["dy"], entry["dx"]) == (seen["gradients"][3], seen["gradients"][2][9])


def test_to_the_bit_in_a_model_of_its_own(digit):
    """As fprop and bprop give it on the same input."""
    net = jitprop.load(MODEL)
    model = Model("m", net)
    seen = model.see(digit, 3)
    x = model.input(digit)
    y = net.fprop(x)
    loss = SoftmaxCrossEntropy()
    assert seen["loss"] == loss.fprop(y, np.array([3]))
    assert seen["values"][-1].tobytes() == y.tobytes()
    dx = net.bprop(loss.bprop(1.0))
    assert seen["gradients"][0].tobytes() == dx.tobytes()


def branching():
    """A graph with a fan-out, a shared module, and probabilities at its end."""
    x, shared = Input(784), Linear(6, 6, rng=1)
    h = Tanh()(Linear(784, 6, rng=0)(x))
    y = shared(ReLU()(shared(h))) + h
    return Graph(x, Softmax()(Linear(6, 4, rng=2)(y)))


def test_a_graph_is_looked_at_too(digit):
    net = branching()
    seen = Model("g", net).see(digit, 3)
    loss = jitprop.CrossEntropy()
    x = Model("g", net).input(digit)
    assert seen["loss"] == pytest.approx(loss.fprop(net.fprop(x), np.array([3])))
    np.testing.assert_allclose(seen["gradients"][0], net.bprop(loss.bprop(1.0))[0], rtol=1e-5)
    np.testing.assert_allclose(seen["probabilities"], net.fprop(x)[0], rtol=1e-6)
    assert [step["kind"] for step in Model("g", net).described()["steps"]].count("Linear") == 4


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (jitprop.mlp(20, [5], 10, rng=0), "takes 20 numbers"),
        (jitprop.mlp(784, [5], 101, rng=0), "gives 101 numbers"),
        (jitprop.mlp(784, [5], 1, rng=0), "gives 1 numbers"),
    ],
)
def test_a_network_of_other_things_is_refused(net, said):
    with pytest.raises(ValueError, match=said):
        Model("m", net)


@pytest.mark.parametrize("net", [Linear(784, 10, rng=0), jitprop.mlp(784, [4], 3, 0, np.float64)])
def test_other_networks_of_digits(net, digit):
    model = Model("m", net)
    assert model.see(digit, 1)["values"][0].dtype == net.parameters()[0].value.dtype
    told = model.teach(digit, 1, 0.1)
    assert told["after"]["loss"] < told["before"]["loss"]
    assert (told["judged"], "errors" in told["after"]) == (0, False)


def test_teach_is_an_update_and_forget_restores_the_bits(page, digit):
    before = [p.value.copy() for p in page.model.net.parameters()]
    status, told = page.post("teach", digit=coded(digit), target=2, rate=0.25)
    assert (status, told["taught"], told["judged"]) == (200, 1, 1000)
    twin = jitprop.load(MODEL).eval()
    loss = SoftmaxCrossEntropy()
    loss.fprop(twin.fprop(page.model.input(digit)), np.array([2]))
    twin.bprop(loss.bprop(1.0))
    twin.update(0.25)
    for ours, theirs in zip(page.model.net.parameters(), twin.parameters(), strict=True):
        assert ours.value.tobytes() == theirs.value.tobytes()
    assert told["after"]["probabilities"][2] > told["before"]["probabilities"][2]
    page.post("teach", digit=coded(digit), target=2, rate=1e6, times=20)
    status, _ = page.post("see", digit=coded(digit), target=2)
    assert status == 200  # what is not finite is null
    assert page.post("forget") == (200, {"taught": 0})
    for parameter, value in zip(page.model.net.parameters(), before, strict=True):
        assert parameter.value.tobytes() == value.tobytes()


def test_what_is_not_finite_is_null():
    from jitprop.web.wire import as_json

    array = np.array([1.5, np.nan, np.inf])
    assert as_json({"a": array, "b": -np.inf, "c": (1, [float("nan")])}) == (
        b'{"a":[1.5,null,null],"b":null,"c":[1,[null]]}'
    )


# The gradient check.


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    return Model("small", Sequential(Linear(784, 5, rng), Tanh(), Linear(5, 3, rng)))


def test_the_check_passes_everywhere(small, digit):
    for place in checking.places(small):
        for by in place["by"]:
            size = int(np.prod(by["shape"]))
            columns = [*range(0, size, max(1, size // 8))][:12]
            told = checking.check(small, digit, 1, place["step"], by["name"], columns)
            assert max(told["error"]) < told["tolerance"], (place, by)
            assert len(told["numeric"]) == len(columns)


def test_what_gives_several_arrays_is_checked_with_the_whole_network(digit):
    x = Input(784)
    first, second = Split([392, 392])(x)
    y = Add()(Linear(392, 3, rng=0)(first), Linear(392, 3, rng=1)(second))
    model = Model("split", Graph(x, y))
    assert [place["step"] for place in checking.places(model)] == [-1, 1, 2, 4]
    told = checking.check(model, digit, 1, -1, "x", [0, 500])
    assert max(told["error"]) < told["tolerance"]
    with pytest.raises(ValueError, match="there is no step 0 to check"):
        checking.check(model, digit, 1, 0, "x", [0])


def test_columns_are_those_of_gradcheck(digit):
    """The worst column of a small module has the error that `gradcheck` reports."""
    model = Model("m", Sequential(Linear(784, 2, rng=0), Tanh()))
    twin = Tanh()
    x = model.see(digit)["values"][1].astype(np.float64)[None]
    told = checking.check(model, digit, 0, 1, "x", [0, 1])
    assert max(told["error"]) == jitprop.gradcheck(twin, x).error


def test_a_kink_is_no_error(digit):
    """All that goes into the ReLU is 0: there, any slope from 0 to 1 is right, a planted 1, too."""
    first = Linear(784, 4, rng=0)
    first.w[:] = 0
    model = Model("kink", Sequential(first, ReLU(), Linear(4, 3, rng=1)))
    for step, name in ((1, "x"), (-1, "0.b")):
        told = checking.check(model, digit, 1, step, name, [0, 1, 2, 3])
        assert max(told["error"]) < told["tolerance"]
    fault = checking.Fault(1, "dx", "")
    assert max(checking.check(model, digit, 1, 1, "x", [0, 1], fault)["error"]) < told["tolerance"]


def test_a_planted_error_shows_in_its_module_alone(small, digit):
    inked = [int(i) for i in np.flatnonzero(digit)[::20]]
    known = checking.faults(small)
    assert len(known) == 7
    for fault in known:
        wrong = set()
        for place in checking.places(small)[1:]:
            for by in place["by"]:
                size = int(np.prod(by["shape"]))
                columns = [5 * i for i in inked] if size == 3920 else inked
                columns = columns if size >= 784 else list(range(size))
                args = (place["step"], by["name"], columns[:24], fault)
                if max(checking.check(small, digit, 1, *args)["error"]) > checking.TOLERANCE:
                    wrong.add((place["step"], by["name"]))
        assert wrong == {(fault.step, fault.what.removeprefix("d"))}


def test_the_page_does_not_tell_where_the_error_is_until_it_is_found(page):
    known = checking.faults(page.model)
    right = []
    for fault in known:
        asked = {"planted": 12, "step": fault.step, "what": fault.what}
        status, told = page.post("guess", **asked)
        assert status == 200
        right += [told["told"]] if told["right"] else []
        assert told["right"] == bool(told["told"])
    assert len(right) == 1
    drawn = {checking.planted(page.model, seed, "secret") for seed in range(200)}
    assert drawn == set(known)
