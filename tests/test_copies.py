"""layers/copies.py: what is in a copy or a pickle of a network, and what is not."""

import copy
import io
import pickle

import numpy as np
import pytest
from test_blueprint import NETS, run

from jitprop import kernels, layers
from jitprop.layers import (
    CrossEntropy,
    Dropout,
    Graph,
    Input,
    Linear,
    MeanSquaredError,
    Module,
    Parameter,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
)
from jitprop.training import SGD, Adam, Settings, Training, evaluate, fit, mlp, weights_sha256
from jitprop.training.batches import Batches

rng = np.random.default_rng(8)
IMAGES = rng.integers(1, 256, (300, 4, 6), np.uint8)
LABELS = rng.integers(0, 4, 300)


def pickled(net):
    return pickle.loads(pickle.dumps(net))


def by_hand(net):
    """By the pickler that is written in Python, as joblib's and dill's are."""
    file = io.BytesIO()
    pickle._Pickler(file).dump(net)
    return pickle.loads(file.getvalue())


COPIES = pytest.mark.parametrize("copied", [pickled, by_hand, copy.deepcopy, copy.copy])


@COPIES
@pytest.mark.parametrize("name", NETS)
def test_a_copy_computes_and_learns_the_same_bits(name, copied):
    net = NETS[name]()
    run(net)  # with buffers full
    twin = copied(net)
    for ours, theirs in zip(run(twin), run(net), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    if copied is copy.copy:
        return  # which shares the parameters
    net.update(0.1)
    twin.update(0.1)
    for _ in range(2):
        for ours, theirs in zip(run(twin), run(net), strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
    assert (str(twin), repr(twin)) == (str(net), repr(net))


@COPIES
def test_what_was_shared_is_shared(copied):
    first, second = Linear(4, 4, 0), Linear(4, 4, 0)
    second.w, second.dw = first.w, first.dw
    x = Input(4)
    net = copied(Graph(x, first(Tanh()(second(first(x))))))
    a, b, c = (step.module for step in net.steps if isinstance(step.module, Linear))
    assert a.w is b.w is c.w
    assert a.dw is b.dw is c.dw
    assert a.b is not b.b
    assert [p.name for p in net.parameters()] == ["linear1.w", "linear1.b", "linear2.b"]


def test_a_copy_remembers_no_run():
    for module in (Linear(4, 4), Tanh(), Dropout(0.5, 0), Sequential(Tanh())):
        module.fprop(np.ones((2, 4), np.float32))
        for copied in (copy.deepcopy, pickled):
            with pytest.raises(RuntimeError, match="bprop before fprop"):
                copied(module).bprop(np.ones((2, 4), np.float32))
        module.bprop(np.ones((2, 4), np.float32))


def losses():
    return [
        (MeanSquaredError(), IMAGES[:, 0, :4] / 255),
        (CrossEntropy(), LABELS),
        (SoftmaxCrossEntropy(0.1), LABELS),
    ]


def expect_no_data(data, *arrays):
    for array in arrays:
        for row in array.reshape(len(array), -1):
            assert row.tobytes() not in data


@pytest.mark.parametrize("input", ["sparse", "dense"])
def test_a_trained_network_is_as_small_as_a_new_one_and_holds_no_data(input):
    net, loss = mlp(24, (5,), 4, 0, dropout=0.1), SoftmaxCrossEntropy()
    new = len(pickle.dumps(net)), len(pickle.dumps(loss))
    fit(net, loss, IMAGES, LABELS, epochs=1, batch_size=1, rate=0.1, rng=1, input=input)
    x = IMAGES.reshape(300, -1) / np.float32(255)
    for of in (lambda: fit(net, loss, IMAGES, LABELS, epochs=1, batch_size=50, rate=0.1),) * 2:
        of()
    evaluate(net, loss, IMAGES, LABELS)
    z = net.fprop(x)
    loss.fprop(z, LABELS)
    net.bprop(loss.bprop(1))
    for thing, size in zip((net, loss), new, strict=True):
        data = pickle.dumps(thing)
        assert len(data) < size + 200  # numbers that say more than 0 take more bytes
        expect_no_data(data, IMAGES, x, z)
    values = sum(p.value.nbytes for p in net.parameters())
    assert values < len(pickle.dumps(net)) < values + 4000


def test_every_module_and_loss_forgets_what_it_was_run_on():
    x = rng.standard_normal((500, 6)).astype(np.float32)
    kinds = {name: getattr(layers, name) for name in layers.__all__}
    given = {
        "Linear": (6, 6),
        "Bias": (6,),
        "Split": ([2, 4],),
        "Sequential": (Tanh(),),
        "Losses": ((MeanSquaredError(), 1.0),),
        "Weighted": (MeanSquaredError(),),
    }
    given_numbers = "Losses", "Weighted", "MeanSquaredError", "SigmoidCrossEntropy", "PoissonLoss"
    done = set()
    for name, kind in kinds.items():
        if not isinstance(kind, type) or name in ("Module", "Loss", "Activation", "Graph"):
            continue
        if issubclass(kind, layers.Module):
            module = kind(*given.get(name, ()))
            size = len(pickle.dumps(module))
            two = name in ("Add", "Subtract", "Multiply", "Concatenate")
            ys = module.fprop(*([x, x] if two else [x]))
            module.bprop(*(ys if isinstance(ys, tuple) else (ys,)))
        elif issubclass(kind, layers.Loss):
            module = kind(*given.get(name, ()))
            size = len(pickle.dumps(module))
            several = name == "Losses"
            t = np.abs(x) / 9 if name in given_numbers else np.zeros(500, int)
            t = (t, t[:, 0]) if name == "Weighted" else t
            module.fprop(*(((np.abs(x),), (t,)) if several else (np.abs(x), t)))
            module.bprop(1)
        else:
            continue
        data = pickle.dumps(module)
        assert len(data) < size + 500, name
        expect_no_data(data, x[:, :2], np.abs(x[:, :2]))
        done.add(name)
    assert len(done) > 15


class Own(Linear):
    """With attributes of its own, one of which has a name that others use for a cache."""

    __slots__ = ("slot",)

    def __init__(self):
        super().__init__(4, 4, 0)
        self.mean = np.arange(4.0)
        self._last_y = np.arange(3.0)
        self.slot = [self.mean]
        self.kernel = kernels.tanh_fprop


class Apart(Module):
    def __init__(self):
        self._x = np.ones(3)
        self.g, self.dg = np.ones(4, np.float32), np.full(4, 2, np.float32)

    def fprop(self, x):
        return x

    def bprop(self, dy):
        return dy

    def parameters(self):
        return [Parameter("g", self.g, self.dg)]


class Careful(Apart):
    """Says itself what is in a copy."""

    def __getstate__(self):
        return {"g": self.g}

    def __setstate__(self, state):
        self.__init__()
        self.g = state["g"]


@COPIES
def test_what_a_person_adds_is_kept(copied):
    module = Own()
    module.fprop(np.ones((2, 4), np.float32))
    twin = copied(module)
    np.testing.assert_array_equal(twin.mean, np.arange(4.0))
    np.testing.assert_array_equal(twin._last_y, np.arange(3.0))
    assert twin.slot[0] is twin.mean
    assert twin.kernel is kernels.tanh_fprop
    assert twin._x is None
    apart = copied(Apart())
    assert apart._x.sum() == 3
    assert apart.dg.sum() == 8
    careful = Careful()
    careful.g, careful._x = careful.g * 3, None
    assert copied(careful).g.sum() == 12
    assert copied(careful)._x.sum() == 3


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
@pytest.mark.parametrize(
    "make",
    [
        lambda net: SGD(net, 0.1),
        lambda net: SGD(net, 0.1, 0.9, nesterov=True),
        lambda net: Adam(net, 0.01),
    ],
)
def test_an_optimiser_is_copied_with_its_network(make, copied):
    def step(optimiser):
        for _ in range(3):
            x = IMAGES[:9].reshape(9, -1) / np.float32(255)
            loss = SoftmaxCrossEntropy()
            loss.fprop(optimiser.net.fprop(x), LABELS[:9])
            optimiser.net.bprop(loss.bprop(1 / 9))
            optimiser.update()
        return weights_sha256(optimiser.net)

    one = make(mlp(24, (5,), 4, 0))
    before = step(one)
    two = copied(one)
    assert step(one) == step(two) != before


def test_a_training_says_why_it_is_not_copied():
    net = mlp(24, (5,), 4, 0)
    settings = Settings(epochs=1, batch_size=10, rate=0.1)
    training = Training(net, SoftmaxCrossEntropy(), IMAGES, LABELS, settings)
    for copied in (pickled, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match=r"jitprop\.save\(path, net, training\)") as caught:
            copied(training)
        assert "\n" not in str(caught.value)


def test_batches_are_not_in_what_a_graph_remembers():
    x = Input(24)
    net = Graph([x], [Linear(24, 4, 0)(x)])
    batch = Batches(net, IMAGES, LABELS, 10, "sparse").take(np.arange(10))[0]
    net.fprop(*batch)
    assert len(pickle.dumps(net)) < 5000
    expect_no_data(pickle.dumps(net), IMAGES)
