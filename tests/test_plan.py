"""training/plan.py: batches replayed from a tape, and batch by batch where that cannot be."""

from itertools import product

import numpy as np
import pytest
from numba.core.runtime import _nrt_python
from numba.core.runtime.nrt import rtsys

import perf.same_bits
from jitprop import kernels
from jitprop.kernels.compiler.cpu import INSTRUCTIONS
from jitprop.kernels.compiler.jit import DISABLED
from jitprop.layers import (
    Activation,
    Dropout,
    Graph,
    Input,
    Linear,
    Loss,
    Losses,
    MeanSquaredError,
    Module,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
)
from jitprop.training import evaluate, fit, mlp, weights_sha256
from jitprop.training.batches import Batches
from jitprop.training.optimisers import SGD
from jitprop.training.plan import CHUNK, Pace, Plan

rng = np.random.default_rng(5)
LABELS = rng.integers(0, 4, 103)
IMAGES = rng.integers(0, 256, (103, 4, 6), np.uint8)


class Halve(Module):
    """A person's own module, in NumPy."""

    def fprop(self, x):
        return x * np.float32(0.5)

    def bprop(self, dy, need_dx=True):
        return dy * np.float32(0.5)


class OwnLoss(SoftmaxCrossEntropy):
    """A person's own loss, which tells one number only."""

    rows = None

    def fprop(self, z, t):
        self.inner = SoftmaxCrossEntropy()
        return self.inner.fprop(z, t)

    def bprop(self, scale):
        return self.inner.bprop(scale)


def plan_of(net, loss=None, size=10, **given):
    return Plan(net, loss or SoftmaxCrossEntropy(), Batches(net, IMAGES, LABELS, size), **given)


def run(plan):
    return sum(1 for _ in plan.run(np.arange(len(plan.batches))))


@pytest.mark.skipif(DISABLED, reason="nothing is compiled")
@pytest.mark.slow
@pytest.mark.parametrize(
    "cpus", ["with other instructions", pytest.param("all", marks=pytest.mark.ci)]
)
def test_every_way_leads_to_the_same_bits(cpus, monkeypatch, capfd):
    """Compiled or not, dense or sparse, 1 to 4 threads, other CPUs; three networks, four sizes."""
    if cpus != "all" and INSTRUCTIONS == "avx512":  # as skylake-avx512 has, which compiles the same
        monkeypatch.delitem(perf.same_bits.CPUS, "skylake-avx512")
    result = perf.same_bits.run(small=True)
    assert capfd.readouterr() == ("", "")  # a table follows, and nothing else
    assert len(result) == 12
    for what, by_digest in result.items():
        assert len(by_digest) == 1, (what, by_digest)
        (ways,) = by_digest.values()
        assert len(ways) >= 16
    assert len({digest for by_digest in result.values() for digest in by_digest}) == 12


def test_what_fails_there_is_told(monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no kernels' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(perf.same_bits.sys, "executable", str(broken))
    with pytest.raises(RuntimeError, match=r"^this CPU: the process ended with 3\nno kernels\n$"):
        perf.same_bits.run(small=True)


@pytest.mark.parametrize("own", ["module", "loss"])
def test_what_is_not_ours_runs_layer_by_layer(own, caplog, monkeypatch):
    """To the same bits as a module or a loss of ours that computes the same."""
    monkeypatch.setattr("jitprop.training.progress.PATIENCE", 10.0**6)

    def train(halve, loss):
        net = Sequential(Linear(24, 5, 0), halve, Tanh(), Linear(5, 4, 1))
        fit(net, loss, IMAGES, LABELS, epochs=2, batch_size=10, rate=0.1, rng=1)
        return weights_sha256(net)

    from jitprop.layers import Multiply

    expected = train(Multiply(0.5), SoftmaxCrossEntropy())
    assert caplog.messages == []
    if own == "module":
        found = train(Halve(), SoftmaxCrossEntropy())
    else:
        OwnLoss.rows = Losses.__mro__[1].rows  # as if it were not defined
        found = train(Multiply(0.5), OwnLoss())
    assert found == expected
    name = "Halve" if own == "module" else "OwnLoss"
    assert caplog.messages == [
        f"{name}() is not of the package layers: training runs layer by layer, not compiled"
    ]


def test_a_module_of_ones_own_within_a_graph_is_found():
    x = Input(24)
    inner = Graph(x, Halve()(Linear(24, 4, 0)(x)))
    outer = Input(24)
    assert plan_of(Graph(outer, Tanh()(inner(outer)))).own is inner.modules[1]
    assert plan_of(mlp(24, (5,), 4, 0)).own is None


def test_a_method_of_ones_own_is_found():
    class Mine(Tanh):
        def fprop(self, x):
            return super().fprop(x)

    mine = Mine()
    assert plan_of(Sequential(Linear(24, 4, 0), mine)).own is mine


class Clip(Activation):
    """With functions where the package has kernels."""

    forwards = staticmethod(lambda x, y: np.clip(x, 0, 6, out=y))
    backwards = staticmethod(lambda y, dy, dx: np.multiply(dy, (y > 0) & (y < 6), out=dx))


class Doubled(Linear):
    """With a property where the package has an array."""

    w = property(lambda self: 2 * self.v, lambda self, v: setattr(self, "v", v))


class Mixed:
    def fprop(self, x):
        return super().fprop(x)


class MixedIn(Mixed, Tanh):
    pass


def patched():
    module = Tanh()
    module.fprop = lambda x: x
    return module


@pytest.mark.parametrize("make", [Clip, lambda: Doubled(4, 4), MixedIn, patched])
def test_what_a_tape_would_miss_is_found(make):
    module = make()
    assert plan_of(Sequential(Linear(24, 4, 0), module)).own is module


class Rectifier(Activation):
    forwards, backwards = kernels.relu_fprop, kernels.relu_bprop


class Network(Sequential):
    """As people write them."""

    outputs = None

    def __init__(self):
        super().__init__(Linear(24, 4, 0), Rectifier())

    def predict(self, x):
        return self.fprop(x).argmax(axis=1)


def test_what_a_tape_knows_stays_compiled():
    assert plan_of(Network()).own is None


def test_a_loss_of_ones_own_within_losses(caplog):
    """To the same bits as without them."""

    class Absolute(Loss):
        def rows(self, z, t):
            self.d = z - t
            return np.abs(self.d).sum(axis=1)

        def bprop(self, scale):
            return np.sign(self.d) * self.d.dtype.type(scale)

    x = np.random.default_rng(0).standard_normal((30, 3))
    digests = set()
    for several in (False, True):
        node = Input(3)
        y = Linear(3, 3, 0, np.float64)(node)
        loss = Losses((Absolute(), 1)) if several else Absolute()
        net = Graph(node, [y] if several else y)
        targets = (1 - x,) if several else 1 - x
        history = fit(net, loss, x, targets, epochs=2, batch_size=10, rate=0.1, rng=1)
        assert history[1].train_loss < history[0].train_loss
        assert "Absolute() is not of the package layers" in caplog.text
        digests.add(weights_sha256(net))
    assert len(digests) == 1


@pytest.mark.skipif(DISABLED, reason="there is no machine code")
def test_replaying_allocates_nothing():
    plan = plan_of(mlp(24, (5,), 4, 0), optimiser=None)
    run(plan)
    (tape,) = (tape for size, tape in plan._tapes.items() if size == 10)
    enabled = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        tape.run(100)
        assert rtsys.get_allocation_stats() == before
    finally:
        if not enabled:
            _nrt_python.memsys_disable_stats()


def test_batches_and_history():
    """103 examples: ten batches of 10 and one of 3, in the order asked for."""
    net = mlp(24, (5,), 4, 0, np.float64)
    plan = plan_of(net)
    order = np.random.default_rng(2).permutation(103)
    for _ in plan.run(order):
        pass
    assert plan.done == 11
    assert sorted(plan._tapes) == [3, 10]
    for batch in range(11):
        index = order[10 * batch : 10 * batch + 10]
        z = net.fprop(IMAGES[index].reshape(-1, 24) / 255)
        loss = SoftmaxCrossEntropy().fprop(z, LABELS[index])
        assert plan.history[batch, 0] == pytest.approx(loss, rel=1e-13)
        assert plan.history[batch, 1] == np.sum(z.argmax(1) != LABELS[index])
    assert plan.last_loss == pytest.approx(loss / 3, rel=1e-13)


def test_looks_up_often(monkeypatch):
    plan = plan_of(mlp(24, (5,), 4, 0))
    monkeypatch.setattr("jitprop.training.plan.CHUNK", 0)
    assert run(plan) == 11
    monkeypatch.setattr("jitprop.training.plan.CHUNK", 1e9)
    assert run(plan) == 2  # it is known how long a batch takes: all whole ones, and the short one


def test_the_faster_of_one_thread_and_all_is_taken():
    """Both are tried once compiling is over; the slower one now and then."""
    kernels.set_num_threads(2)
    for slow, small in product((False, True), repeat=2):
        pace, chosen = Pace(small), []
        for chunk in range(60):
            alone, times = pace.choose()
            chosen.append(alone)
            assert 1 <= times <= 1000
            a_batch = CHUNK / (100 if alone == slow else 1000)
            pace.note(alone, 100.0 if chunk == 0 else times * a_batch, times)
        assert chosen[:4] == [small, small, small, not small]
        trials = [chunk for chunk in range(5, 60) if chosen[chunk] == slow]
        assert len(trials) == 2
        assert 20 <= trials[0] <= 26
        assert 20 <= trials[1] - trials[0] <= 22


@pytest.mark.parametrize(("threads", "seconds"), [(1, 0.001), (2, 2 * CHUNK), (2, CHUNK / 5)])
def test_no_choice_with_one_thread_and_for_large_batches(threads, seconds):
    kernels.set_num_threads(threads)
    pace = Pace(False)
    for _ in range(40):
        alone, times = pace.choose()
        assert not alone
        assert times <= max(1, CHUNK / seconds)
        pace.note(alone, seconds * times, times)


def test_where_all_is_short_nothing_is_tried():
    pace = Pace(True)
    for _ in range(20):
        alone, times = pace.choose()
        assert alone
        pace.note(alone, 1e-3, min(times, 10))


def test_an_infinite_loss_ends_training_and_no_evaluation():
    net = mlp(24, (), 4, 0)
    net[0].b[0] = np.inf
    weights = net[0].w.copy()
    training = plan_of(net, optimiser=SGD(net, 0.1))
    run(training)
    assert (training.done, training.diverged) == (1, True)
    np.testing.assert_array_equal(net[0].w, weights)
    evaluation = plan_of(net)
    run(evaluation)
    assert (evaluation.done, evaluation.diverged) == (11, False)


def test_dropout_is_off_in_evaluation_and_on_in_training():
    dropout = Dropout(0.5, 0)
    net = Sequential(Linear(24, 4, 0), dropout)
    loss = evaluate(net, SoftmaxCrossEntropy(), IMAGES, LABELS).loss
    assert loss == evaluate(net[:1], SoftmaxCrossEntropy(), IMAGES, LABELS).loss
    assert dropout.state[1] == 0
    assert net.training
    run(plan_of(net, optimiser=SGD(net, 0.1)))
    assert dropout.state[1] == 11


def several():
    """Two inputs and two outputs: a class and a number."""
    rng = np.random.default_rng(3)
    a, b = Input(24), Input(7)
    hidden = Tanh()(Linear(24, 6, rng)(a)) + Linear(7, 6, rng)(b)
    return Graph([a, b], [Linear(6, 4, rng)(hidden), Linear(6, 2, rng)(hidden)])


def test_several_inputs_outputs_and_losses():
    """Against the loop of slide 12, typed out; errors are those of the first output."""
    numbers = np.random.default_rng(4).standard_normal((103, 7)).astype(np.float32)
    targets = np.random.default_rng(5).standard_normal((103, 2)).astype(np.float32)
    loss = Losses((SoftmaxCrossEntropy(), 1), (MeanSquaredError(), 0.1))
    net, twin = several(), several()
    history = fit(
        net, loss, (IMAGES, numbers), (LABELS, targets), epochs=1, batch_size=50, rate=0.1, rng=1
    )
    order = np.random.default_rng(1).permutation(103)
    total, errors = 0.0, 0
    for first in range(0, 103, 50):
        index = order[first : first + 50]
        z = twin.fprop((IMAGES[index].reshape(-1, 24) / 255).astype(np.float32), numbers[index])
        total += loss.fprop(z, (LABELS[index], targets[index]))
        errors += np.sum(z[0].argmax(1) != LABELS[index])
        twin.bprop(*loss.bprop(1 / len(index)), need_dx=False)
        twin.update(0.1)
    assert weights_sha256(net) == weights_sha256(twin)
    assert history[0].train_loss == pytest.approx(total / 103, rel=1e-6)  # float32
    assert history[0].train_errors == errors


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_label_without_an_output_of_either(wrong):
    """Also of an output on which no errors are counted: nothing is read beyond its classes."""
    numbers = np.zeros((103, 7), np.float32)
    labels = [LABELS % 2, LABELS % 2]
    labels[wrong] = np.where(np.arange(103) == 102, 10**6, labels[wrong])
    loss = Losses((SoftmaxCrossEntropy(), 1), (SoftmaxCrossEntropy(), 1))
    with pytest.raises(
        ValueError, match=r"t[01] holds labels 0 ... 1000000, they must be 0 ... [31], one for each"
    ):
        fit(several(), loss, (IMAGES, numbers), tuple(labels), epochs=1, batch_size=10, rate=0.1)


def test_regression_on_ones_own_numbers():
    x = np.random.default_rng(3).standard_normal((200, 3))
    t = x @ np.array([[1.0], [-2.0], [0.5]]) + 1
    net = Linear(3, 1, 0, np.float64)
    history = fit(net, MeanSquaredError(), x, t, epochs=200, batch_size=20, rate=0.05, rng=0)
    np.testing.assert_allclose(net.w.ravel(), [1, -2, 0.5], rtol=1e-6)
    assert history[-1].train_loss < 1e-12
    assert history[-1].train_errors is None


def test_sparse_is_chosen_where_it_pays():
    sparse = IMAGES * (np.random.default_rng(1).random(IMAGES.shape) < 0.2)
    wide = Linear(24, 64, 0)
    x = Input(24)
    both = Graph(x, Linear(64, 4, 0)(wide(x)) + Linear(24, 4, 0)(x))
    first = Sequential(Tanh(), Linear(24, 64, 0))
    for net, images, given, expected in (
        (wide, sparse, "auto", True),
        (wide, IMAGES, "auto", False),
        (wide, sparse, "dense", False),
        (wide, IMAGES, "sparse", True),
        (both, sparse, "auto", True),
        (Sequential(wide), sparse, "auto", True),
        (first, sparse, "auto", False),
    ):
        found = Batches(net, images, LABELS, 10, given)
        assert (found.density is not None) == expected, (net, given)
    with pytest.raises(ValueError, match="input is sparse, but neither images nor a"):
        Batches(first, sparse, LABELS, 10, "sparse")
    with pytest.raises(ValueError, match="input is 'thin', expected one of auto, dense, sparse"):
        Batches(wide, sparse, LABELS, 10, "thin")


def test_sparse_batches_go_into_linear_alone():
    (x,), _ = Batches(Linear(24, 4, 0), IMAGES, LABELS, 10, "sparse").take(np.arange(10))
    with pytest.raises(TypeError, match=r"Tanh\(\): x is sparse, which only Linear takes"):
        Tanh().fprop(x)
    with pytest.raises(ValueError, match=r"Linear\(23, 4\): x has shape \(10, 24\)"):
        Linear(23, 4, 0).fprop(x)


def test_sparse_gradients_are_the_dense_ones():
    """dx too, which training never asks for."""
    layer, rng = Linear(24, 4, 0), np.random.default_rng(1)
    dy = rng.standard_normal((10, 4)).astype(np.float32)
    results = []
    for kind in ("dense", "sparse"):
        (x,), _ = Batches(layer, IMAGES, LABELS, 10, kind).take(np.arange(10))
        results.append([layer.fprop(x).copy(), layer.bprop(dy).copy(), layer.dw.copy()])
    for dense, sparse in zip(*results, strict=True):
        np.testing.assert_array_equal(dense, sparse)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_while_a_plan_lives(threads):
    digests = []
    for change in (threads, 4):
        net = mlp(24, (5,), 4, 0)
        plan = plan_of(net, optimiser=SGD(net, 0.1))
        kernels.set_num_threads(threads)
        run(plan)
        kernels.set_num_threads(change)
        run(plan)
        digests.append(weights_sha256(net))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("value", [None, np.ones(3), "1"])
def test_a_loss_that_is_no_number(value):
    class Wrong(Loss):
        def fprop(self, z, t):
            return value

        def bprop(self, scale):
            raise AssertionError("nothing is learned")

    with pytest.raises(TypeError, match=r"what fprop returned is .*, expected a number"):
        evaluate(Linear(3, 2, 0), Wrong(), np.ones((4, 3), np.float32), [0, 1, 0, 1])
