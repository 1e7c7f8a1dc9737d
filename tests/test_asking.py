"""training/asking.py: what a network answers, whoever asks, in whatever form, how often ever.

One file: every way to ask is compared with the same rows.
"""

import copy
import os
import pickle
import re
import signal
import threading
import time

import numpy as np
import pytest

import jitprop
from jitprop import (
    Add,
    Concatenate,
    CrossEntropy,
    Dropout,
    GaussianNoise,
    Graph,
    Input,
    Linear,
    LogSoftmax,
    Losses,
    MeanSquaredError,
    Module,
    Multiply,
    Predictor,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    confusion,
    evaluate,
    fit,
    kernels,
    mlp,
    predict,
    probabilities,
    weights_sha256,
)
from jitprop.kernels.compiler.messages import say_once
from jitprop.training.asking import BATCH, FEW, MOST, check_endings

RNG = np.random.default_rng(0)
IMAGES = (RNG.integers(0, 256, (1203, 4, 6)) * (RNG.random((1203, 4, 6)) < 0.3)).astype(np.uint8)
X = (IMAGES / 255).astype(np.float32).reshape(1203, 24)
LABELS = RNG.integers(0, 5, 1203)
SETTINGS = {"epochs": 2, "batch_size": 50, "rate": 0.1, "rng": 0}


class Own(Module):
    """A person's: a product in NumPy, row by row, so that a row's bits do not depend on others."""

    def __init__(self):
        self.w = np.random.default_rng(1).standard_normal((24, 5)).astype(np.float32)
        self.calls = 0

    def fprop(self, x):
        self.calls += 1
        return np.stack([row @ self.w for row in x]) if len(x) else x @ self.w

    def bprop(self, dy, need_dx=True):
        raise NotImplementedError


def skip(dtype=np.float32):
    x = Input(24)
    h = Dropout(0.5, 1)(Tanh()(Linear(24, 8, 0, dtype)(x)))
    return Graph(x, Linear(8, 5, 1, dtype)(h) + Linear(24, 5, 2, dtype)(x))


def several():
    a, b = Input(24), Input(24)
    h = Linear(24, 7, 0)
    left, right = h(a), h(b)
    return Graph([a, b], [left, Tanh()(left), Concatenate()(Tanh()(right), left), a])


NETS = {
    "mlp": lambda: mlp(24, [9], 5, 0),
    "float64": lambda: mlp(24, [9], 5, 0, np.float64),
    "linear": lambda: Linear(24, 5, 0),
    "dropout": lambda: mlp(24, [9, 7], 5, 0, dropout=0.5),
    "noise": lambda: mlp(24, [9, 7], 5, 0, input_noise=0.5),
    "skip": skip,
    "relu": lambda: Sequential(Linear(24, 9, 0), ReLU(), Linear(9, 5, 1), Softmax()),
    "tanh": Tanh,
    "own": Own,
    "own within": lambda: Sequential(Own(), Tanh(), Linear(5, 5, 0)),
}
every_net = pytest.mark.parametrize("make", NETS.values(), ids=NETS)


def plain(net, *xs):
    """What `fprop` gives in evaluation, a row at a time."""
    other = copy.deepcopy(net).eval()
    dtype = next((p.value.dtype for p in net.parameters()), np.float32)
    rows = []
    for n in range(len(xs[0])):
        y = other.fprop(*(np.ascontiguousarray(x[n : n + 1], dtype) for x in xs))
        rows.append(tuple(z.copy() for z in y) if isinstance(y, tuple) else y.copy())
    if isinstance(rows[0], tuple):
        return tuple(map(np.concatenate, zip(*rows, strict=True)))
    return np.concatenate(rows)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@every_net
def test_a_row_has_the_same_bits_whatever_is_asked_with_it(make):
    net = make()
    ask = Predictor(net)
    expected = plain(net, X[:600])
    for rows in (1, 2, 3, 4, FEW, FEW + 1, BATCH - 1, BATCH, BATCH + 1, 600):
        for _ in range(2):
            assert same(ask(X[:rows]), expected[:rows])
        assert same(ask(X[600 - rows : 600]), expected[600 - rows :])
        assert same(predict(net, X[:rows]), expected[:rows])
    assert same(ask(X[:0]), expected[:0])


@pytest.mark.parametrize("name", ["mlp", "float64", "skip", "own"])
def test_bytes_floats_and_other_forms_of_the_same(name):
    net = NETS[name]()
    dtype = np.float64 if name == "float64" else np.float32
    pixels = (np.arange(256, dtype=dtype) / dtype(255))[IMAGES[:40]]
    expected = plain(net, pixels.reshape(40, 24))
    ask = Predictor(net)
    flat = pixels.reshape(40, 24)
    forms = [IMAGES[:40], pixels, flat, np.asfortranarray(flat), flat.astype(f">f{flat.itemsize}"),
             np.repeat(flat, 2, 0)[::2], flat.tolist(), (flat,)]  # fmt: skip
    for form in forms:
        assert same(ask(form), expected)
        for rows in (1, 5):
            piece = (form[0][:rows],) if isinstance(form, tuple) else form[:rows]
            for _ in range(2):
                assert same(ask(piece), expected[:rows])


def test_several_inputs_and_outputs():
    net = several()
    expected = plain(net, X[:7], X[7:14])
    found = predict(net, (X[:7], X[7:14]))
    assert isinstance(found, tuple)
    assert len(found) == 4
    assert all(map(same, found, expected))
    assert all(map(same, predict(net, (X[:1], X[7:8])), (y[:1] for y in expected)))
    mixed = predict(net, (IMAGES[:7], X[7:14]))
    assert all(map(same, mixed[:3], expected[:3]))


@every_net
def test_answers_stay_as_they_are(make):
    """Nothing that is asked later, and no training, writes to them."""
    ask = Predictor(make())
    first = [ask(X[n : n + 1]) for n in range(3)] + [ask(X[:20]), ask(X)]
    kept = [y.copy() for y in first]
    ask(X[5:6]), ask(X[20:40]), ask(X[::-1])
    assert all(map(same, first, kept))
    assert all(y.flags.owndata and y.flags.writeable for y in first)
    first[0][:] = 7
    assert same(ask(X[:1]), kept[0])


@every_net
def test_asking_changes_nothing_of_the_network(make):
    net = make()
    net.train()
    x = np.ascontiguousarray(X[:4], np.float64 if make is NETS["float64"] else np.float32)
    y = net.fprop(x)
    before = np.array(y)
    states = [state.value.copy() for state in net.states()]
    digest = weights_sha256(net)
    for ask in (Predictor(net), lambda x: predict(net, x), lambda x: probabilities(net, x)):
        ask(X[:1]), ask(X[:30])
    assert net.training
    if not isinstance(net, Own):
        np.testing.assert_array_equal(y, before)
    assert weights_sha256(net) == digest
    for state, kept in zip(net.states(), states, strict=True):
        np.testing.assert_array_equal(state.value, kept)


def test_dropout_is_off():
    """Whatever mode the network is in, and as often as one asks, what `fit` counted is found."""
    net = mlp(24, [30], 5, 0, dropout=0.5)
    examples = IMAGES[:300], LABELS[:300]
    history = fit(net, SoftmaxCrossEntropy(), *examples, test=examples, **SETTINGS)
    for mode in (True, False, True, False):
        net.train(mode)
        found = predict(net, examples[0]).argmax(axis=1)
        assert np.sum(found != examples[1]) == history[-1].test_errors
        assert evaluate(net, SoftmaxCrossEntropy(), *examples).errors == history[-1].test_errors
        assert net.training == mode


def test_later_training_is_seen():
    net = mlp(24, [9], 5, 0)
    ask = Predictor(net)
    for _ in range(3):
        assert same(ask(X[:1]), plain(net, X[:1]))
        assert same(ask(X[:700]), plain(net, X[:700]))
        fit(net, SoftmaxCrossEntropy(), IMAGES, LABELS, **SETTINGS)
    net[0].w = net[0].w * 2  # another array
    assert same(ask(X[:1]), plain(net, X[:1]))
    net[2].b[...] = 1
    assert same(ask(X[:1]), plain(net, X[:1]))


def test_a_constant_that_is_changed_is_seen():
    half = Multiply(0.5)
    ask = Predictor(Sequential(Linear(24, 5, 0), half))
    before = ask(X[:3])
    half.constant = 1.0
    np.testing.assert_array_equal(ask(X[:3]), 2 * before)


def test_a_checkpoint_asks_alike(tmp_path):
    table = RNG.integers(0, 17, (300, 13), np.uint8)
    labels = (table[:, 0] > 8).astype(int)
    net = mlp(13, [8], 2, 0, dropout=0.1)
    history = fit(
        net, SoftmaxCrossEntropy(), table, labels, pixels=False, test=(table, labels),
        **SETTINGS | {"rate": 0.01, "epochs": 9},
    )  # fmt: skip
    jitprop.save(tmp_path / "net", net)
    for asked in (net, jitprop.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        assert asked.pixels is False
        for x in (table, table.astype(np.float32), table.astype(int)):
            assert same(predict(asked, x), predict(net, table))
            assert (predict(asked, x).argmax(1) != labels).sum() == history[-1].test_errors


def test_a_network_that_is_told_otherwise_later():
    net = mlp(24, [], 5, 0)
    ask = Predictor(net)
    net.pixels = True
    assert same(ask(IMAGES[:1]), plain(net, X[:1]))
    net.pixels = False
    assert same(ask(IMAGES[:1]), plain(net, IMAGES[:1].reshape(1, 24)))


def in_threads(functions, times):
    """Call each function in a thread of its own; return what the threads raised."""
    errors = []
    start = threading.Barrier(len(functions))

    def work(function):
        start.wait()
        try:
            for n in range(times):
                function(n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.parametrize("name", ["mlp", "dropout", "own"])
def test_several_threads_ask_one_network(name):
    net = NETS[name]()
    ask = Predictor(net)
    expected = plain(net, X[:50])
    counted = [evaluate(net, SoftmaxCrossEntropy(), X[:50], LABELS[:50])]
    table = confusion(net, X[:50], LABELS[:50])

    def one(n):
        assert same(ask(X[n % 50 : n % 50 + 1]), expected[n % 50 : n % 50 + 1])

    def many(n):
        assert same(predict(net, X[: n % 50 + 1]), expected[: n % 50 + 1])

    def count(n):
        assert [evaluate(net, SoftmaxCrossEntropy(), X[:50], LABELS[:50])] == counted
        assert (confusion(net, X[:50], LABELS[:50]) == table).all()

    assert in_threads([one, many, one, count], 100) == []


def test_asking_while_it_is_trained():
    net = mlp(24, [9], 5, 0)
    expected = copy.deepcopy(net)
    ask = Predictor(net)
    done = threading.Event()

    def train(n):
        fit(net, SoftmaxCrossEntropy(), IMAGES, LABELS, **SETTINGS | {"epochs": 5})
        done.set()

    def asking(n):
        while not done.is_set():
            assert np.isfinite(ask(X[:1])).all()

    assert in_threads([train, asking], 1) == []
    fit(expected, SoftmaxCrossEntropy(), IMAGES, LABELS, **SETTINGS | {"epochs": 5})
    assert weights_sha256(net) == weights_sha256(expected)


LOGITS = [lambda: mlp(24, [9], 5, 0), skip, lambda: Sequential(Linear(24, 5, 0), Dropout(0.5, 0))]
OWN = [
    lambda: Sequential(Linear(24, 5, 0), Softmax()),
    lambda: Sequential(Linear(24, 5, 0), Sequential(Softmax(), Dropout(0.5, 0))),
    lambda: Sequential(Linear(24, 5, 0), Softmax(), GaussianNoise(0.5, 0)),
    lambda: Sequential(Linear(24, 5, 0), Sigmoid()),
]


@pytest.mark.parametrize("make", LOGITS)
def test_logits_get_one_softmax(make):
    net = make()
    z = predict(net, X[:9]).astype(np.float64)
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(net, X[:9]), expected, rtol=1e-5)


@pytest.mark.parametrize("make", OWN)
def test_probabilities_of_the_networks_own_are_left_alone(make):
    net = make()
    assert same(probabilities(net, X[:9]), predict(net, X[:9]))


def test_logarithms_of_probabilities():
    net = Sequential(Linear(24, 5, 0), LogSoftmax())
    np.testing.assert_allclose(probabilities(net, X[:9]), np.exp(predict(net, X[:9])), rtol=1e-5)


def test_probabilities_of_several_outputs():
    x = Input(24)
    z = Linear(24, 5, 0)(x)
    net = Graph(x, [z, Softmax()(z)])
    p, q = probabilities(net, X[:9])
    np.testing.assert_allclose(p, q, rtol=1e-6)
    assert same(q, predict(net, X[:9])[1])


def test_a_softmax_of_ones_own_is_told_by_its_numbers():
    class Mine(Own):
        def fprop(self, x):
            e = np.exp(super().fprop(x))
            return e / e.sum(axis=1, keepdims=True)

    assert same(probabilities(Mine(), X[:9]), predict(Mine(), X[:9]))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X[:, :7], "x has 7 features, the network takes 24"),
        (X[0], "x has shape (24,), expected (n, 24), an example a row"),
        (np.where(X[2, 3] == X, np.nan, X), "x holds NaN"),
        (np.full((1, 24), np.inf, np.float32), "x holds infinity (row 0, column 0)"),
        (np.full((1, 24), 1e300), "x holds 1e+300, too large for float32"),
        (np.full((1, 24), "a"), "x holds text"),
        ((X, X), "x is a tuple of 2, the network takes 1"),
        (np.ma.masked_less(X[:1], 1), "x is a masked array"),
    ],
)
def test_what_is_refused(x, said):
    ask = Predictor(mlp(24, [9], 5, 0))
    ask(X[:1]), ask(X)
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)) as error:
            ask(x)
        assert str(error.value).startswith(said)
        assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match=r"^net is of type list, expected a module"):
        Predictor([Tanh()])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, BATCH - 1, BATCH, 1202])
def test_where_it_is_not_finite_among_many_rows(value, row):
    """Also behind a tanh, which makes a plain number of infinity."""
    ask = Predictor(Sequential(Tanh(), Linear(24, 5, 0)))
    x = X.copy()
    x[row, 23] = value
    for _ in range(2):
        with pytest.raises(
            ValueError, match=rf"^x holds -?(NaN|infinity) \(row {row}, column 23\)$"
        ):
            ask(x)
    x[row, 23] = 3e38
    x[(row + 1) % BATCH, 23] = 3e38  # their sum is infinite, they are not
    assert np.isfinite(ask(x)).all()


def test_a_network_that_gives_another_number_of_rows():
    class Sum(Own):
        def fprop(self, x):
            return x.sum(axis=0, keepdims=True)

    with pytest.raises(ValueError, match=r"^the network gave 1 rows for 3$"):
        predict(Sum(), X[:3])


def test_weights_that_are_no_numbers_answer_none():
    net = mlp(24, [9], 5, 0)
    net[2].w[...] = np.nan
    assert np.isnan(predict(net, X[:3])).all()


def test_memory_stays_bounded():
    ask = Predictor(mlp(24, [9], 5, 0))
    for rows in range(1, 3 * MOST):
        ask(X[:rows])
    assert len(ask._here_now().runs) <= MOST


def test_a_copy_of_a_predictor_asks_alike():
    ask = Predictor(mlp(24, [9], 5, 0))
    expected = ask(X[:3])
    for other in (copy.deepcopy(ask), pickle.loads(pickle.dumps(ask))):
        assert same(other(X[:3]), expected)


def test_threads_of_kernels_change_no_bit():
    net = mlp(24, [300, 300], 5, 0)
    expected = plain(net, X[:600])
    before = kernels.get_num_threads()
    try:
        for number in (1, 2, 3):
            kernels.set_num_threads(number)
            assert same(predict(net, X[:600]), expected)
    finally:
        kernels.set_num_threads(before)


def test_ten_batches_by_fprop_are_the_trap_that_predict_avoids():
    net = mlp(24, [9], 5, 0)
    trap = [net.fprop(X[n : n + 10]) for n in range(0, 100, 10)]
    assert all(np.shares_memory(one, trap[0]) for one in trap)
    right = np.concatenate([predict(net, X[n : n + 10]) for n in range(0, 100, 10)])
    assert same(right, plain(net, X[:100]))


def test_errors_of_other_losses():
    net = Sequential(Linear(24, 5, 0), Softmax())
    found = evaluate(net, CrossEntropy(), IMAGES, LABELS)
    assert found.errors == np.sum(predict(net, IMAGES).argmax(1) != LABELS)
    assert evaluate(Linear(24, 1, 0), MeanSquaredError(), X, X[:, 0]).errors is None
    x = Input(24)
    twice = Linear(24, 5, 0)
    shared = Graph(x, Add()(twice(x), twice(x)))
    assert same(predict(shared, X[:8]), plain(shared, X[:8]))


class Locked(Own):
    """One that Python cannot copy."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def test_a_module_that_cannot_be_copied():
    net = Sequential(Locked(), Softmax())
    assert same(predict(net, X[:7]), net.fprop(X[:7]))
    assert predict(net, X[:0]).shape == (0, 5)


def test_a_copy_that_fails_is_told_each_time():
    """What only adds a lock to a built-in module is run on a copy."""
    net = Sequential(Linear(24, 5, 0))
    net[0].lock = threading.Lock()
    ask = Predictor(net)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"cannot be copied: cannot pickle '_thread.lock'"):
            ask(X[:3])
    with pytest.raises(TypeError, match="cannot be copied"):
        evaluate(net, SoftmaxCrossEntropy(), X, LABELS)


def test_a_module_that_writes_over_its_input_changes_no_array_of_the_caller():
    class Twice(Own):
        def fprop(self, x):
            x *= 2
            return x

    x = X[:5].copy()
    assert same(predict(Twice(), x), 2 * X[:5])
    assert same(x, X[:5])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "output is of type NoneType, expected an array of numbers"),
        ([[1.0]], "output is of type list"),
        (np.full((3, 2), "a"), "output is an array of <U1"),
        (np.ones(3), r"output has shape \(3,\)"),
    ],
)
def test_a_module_whose_output_is_none(y, message):
    class Bad(Own):
        def fprop(self, x):
            return y

    for ask in (predict, probabilities, lambda net, x: confusion(net, x, LABELS[:3])):
        with pytest.raises((TypeError, ValueError), match=message):
            ask(Bad(), X[:3])
    with pytest.raises((TypeError, ValueError), match=message):
        evaluate(Bad(), SoftmaxCrossEntropy(), X[:3], LABELS[:3])


def test_others_ask_while_a_module_of_a_person_is_trained():
    class Same(Module):
        def fprop(self, x):
            return x

        def bprop(self, dy, need_dx=True):
            return dy

    def make():
        return Sequential(Linear(24, 9, 0), Dropout(0.3, 0), Linear(9, 5, 1), Same())

    alone, net = make(), make()
    fit(alone, SoftmaxCrossEntropy(), X, LABELS, **SETTINGS)
    ask, done, failed = Predictor(net), threading.Event(), []

    def others():
        try:
            while not done.is_set():
                ask(X[:9])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=others) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        fit(net, SoftmaxCrossEntropy(), X, LABELS, **SETTINGS)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert weights_sha256(net) == weights_sha256(alone)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_asks_though_a_thread_was_asking():
    class Slow(Own):
        def fprop(self, x):
            asked.set()
            time.sleep(0.1)
            return super().fprop(x)

    asked = threading.Event()
    thread = threading.Thread(target=predict, args=(Slow(), X[:3]))
    thread.start()
    asked.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends what hangs
        predict(Own(), X[:3])
        os._exit(0)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


ENDINGS = [
    (lambda: Sequential(Linear(24, 5, 0), Softmax()), SoftmaxCrossEntropy(), "leave out Softmax"),
    (lambda: Sequential(Linear(24, 5, 0), Sigmoid()), SigmoidCrossEntropy(), "leave out Sigmoid"),
    (lambda: Linear(24, 5, 0), CrossEntropy(), r"add Softmax\(\), or take SoftmaxCrossEntropy"),
    (lambda: Linear(24, 5, 0), SoftmaxCrossEntropy(), None),
    (lambda: Linear(24, 5, 0), MeanSquaredError(), None),
    (lambda: Sequential(Linear(24, 5, 0), Softmax(), Dropout(0.1)), CrossEntropy(), None),
    (lambda: Sequential(Linear(24, 5, 0), Softmax()), SigmoidCrossEntropy(), None),
    (lambda: Own(), SoftmaxCrossEntropy(), None),
]


@pytest.mark.parametrize(("make", "loss", "line"), ENDINGS)
def test_a_loss_that_does_not_fit_the_last_module_is_told(make, loss, line, caplog):
    say_once.cache_clear()
    check_endings(make(), loss)
    x = Input(24)
    both = Graph(x, [Tanh()(x), make()(x)])
    check_endings(both, Losses((MeanSquaredError(), 1), (loss, 1)))
    assert len(caplog.messages) == (line is not None)  # the second time is the same line
    for said in caplog.messages:
        assert re.search(line, said)


def test_training_and_evaluation_look_at_the_last_module(caplog):
    say_once.cache_clear()
    net = Sequential(mlp(24, [4], 5, 0), Softmax())
    x, t = np.zeros((6, 24), np.float32), np.arange(6) % 5
    fit(net, SoftmaxCrossEntropy(), x, t, epochs=1, batch_size=6, rate=0.1)
    assert any("leave out Softmax" in said for said in caplog.messages)
    caplog.clear()
    say_once.cache_clear()
    evaluate(net, SoftmaxCrossEntropy(), x, t)
    assert any("leave out Softmax" in said for said in caplog.messages)
