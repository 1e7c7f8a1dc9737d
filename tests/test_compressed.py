"""jitprop/training/compressed.py: sparse matrices do what the dense ones would, to the bit."""

import tracemalloc

import numpy as np
import pytest

import jitprop
from jitprop import kernels
from jitprop.kernels.compiler.messages import say_once
from jitprop.layers import Graph, Input, Linear, SoftmaxCrossEntropy, Tanh
from jitprop.training import (
    DivergedError,
    Predictor,
    Settings,
    Training,
    evaluate,
    fit,
    mlp,
    predict,
    weights_sha256,
)
from jitprop.training.batches import Batches
from jitprop.training.warming import warm_up

sparse = pytest.importorskip("scipy.sparse")

rng = np.random.default_rng(1)
X = np.where(rng.random((60, 40)) < 0.1, rng.standard_normal((60, 40)), 0)
X[7], X[59] = 0, 0
T = rng.integers(0, 3, 60)
FORMATS = ("csr", "csc", "coo", "bsr", "lil", "dok", "dia")


class LayerByLayer(SoftmaxCrossEntropy):
    """A person's own loss, as far as a plan can tell."""

    def rows(self, z, t):
        return super().rows(z, t)


class Own(Linear):
    """A person's own module."""

    def fprop(self, x):
        return super().fprop(x)


class Whole(sparse.csr_array):
    """Refuses to become dense."""

    def toarray(self, *args, **named):
        raise AssertionError("as a whole")

    todense = __array__ = toarray


def trained(net, x, loss=SoftmaxCrossEntropy, **settings):
    settings = {"epochs": 2, "batch_size": 17, "rate": 0.1, "rng": 0} | settings
    fit(net, loss(), x, T, test=(x, T), **settings)
    return weights_sha256(net)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "settings", [{}, {"momentum": 0.9, "weight_decay": 0.01}, {"optimizer": "adam"}]
)
def test_the_same_weights(settings, threads):
    kernels.set_num_threads(threads)
    for dtype in (np.float32, np.float64) if threads == 1 else (np.float32,):
        ways = [(X, "auto"), (sparse.csr_array(X), "auto"), (sparse.csr_array(X), "dense")]
        ways.append((sparse.csr_array(X.astype(dtype)), "sparse"))
        found = {
            trained(mlp(40, (20,), 3, 0, dtype), x, loss, input=input, **settings)
            for x, input in ways
            for loss in (SoftmaxCrossEntropy, LayerByLayer)
        }
        assert len(found) == 1


@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_format(kind):
    net = mlp(40, (20,), 3, 0)
    expected = predict(net, X)
    for form in FORMATS:
        x = getattr(sparse, f"{form}_{kind}")(X)
        np.testing.assert_array_equal(predict(net, x), expected)
        assert evaluate(net, SoftmaxCrossEntropy(), x, T) == evaluate(
            net, SoftmaxCrossEntropy(), X, T
        )
        warm_up(net, SoftmaxCrossEntropy(), x, T, batch_size=50)
    np.testing.assert_array_equal(
        jitprop.probabilities(net, sparse.coo_array(X)), jitprop.probabilities(net, X)
    )


def test_networks_that_do_not_begin_with_linear():
    x, more = Input(40), Input(40)
    two = Graph([x, more], Linear(40, 3, 0)(x) + Linear(40, 3, 1)(Tanh()(more)))
    for net, several in ((Tanh(), 1), (Own(40, 3, 0), 1), (two, 2)):
        given, dense = sparse.csr_array(X), X
        if several > 1:
            given, dense = (given, sparse.csc_array(X)), (X, X)
        np.testing.assert_array_equal(predict(net, given), predict(net, dense))
    index = np.arange(3)
    for net in (mlp(40, (), 3, 0), Linear(40, 3, 0, np.float64)):
        batch = Batches(net, sparse.csr_array(X), T, 4, "dense").take(index)[0][0]
        np.testing.assert_array_equal(batch, X[:3].astype(batch.dtype))
    (x, y), _ = Batches(two, (sparse.csr_array(X), X), T, 4).take(index)
    assert (x.shape, type(y)) == ((3, 40), np.ndarray)
    with pytest.raises(TypeError, match=r"Tanh.*x is sparse, which only Linear takes"):
        Tanh().fprop(x)
    with pytest.raises(ValueError, match="input is sparse, but"):
        Batches(Tanh(), sparse.csr_array(X), T, 4, "sparse")


def test_what_fit_shows(capsys):
    x = sparse.coo_array((np.ones(90), (np.arange(90) % 60, np.arange(90))), shape=(60, 1000))
    for given, said in ((x, "0.15%"), (sparse.csr_array(X), "9%")):
        trained(Linear(given.shape[1], 3, 0), given, verbose=True)
        line = next(line for line in capsys.readouterr().out.splitlines() if "input " in line)
        assert line == f"input     sparse, {said} of the inputs are not zero"


def test_what_is_dense_is_multiplied_as_dense():
    net, x = Linear(40, 3, 0), sparse.csr_array(np.ones((60, 40)))
    assert Batches(net, x, T, 4).density is None
    assert Batches(net, x, T, 4, "sparse").density == 1
    assert Batches(net, sparse.csr_array(X), T, 4).density == np.count_nonzero(X) / X.size
    np.testing.assert_array_equal(predict(net, x), predict(net, x.toarray()))


def test_what_is_given_stays_and_is_summed():
    """Columns in any order, some twice, some of them zeros; numbers behind the last row."""
    data = np.array([1, 2, 3, 0, -0.0, 5, 6, np.nan], np.float32)
    indices, places = np.array([3, 0, 3, 1, 2, 2, 0, 9], np.int32), np.array([0, 3, 3, 6, 7])
    x = sparse.csr_array((4, 40), dtype=np.float32)
    x.data, x.indices, x.indptr = data, indices, places.astype(np.int32)
    before = [array.tobytes() for array in (data, indices, x.indptr)]
    dense = np.zeros((4, 40), np.float32)
    dense[0, [3, 0]], dense[2, 2], dense[3, 0] = (4, 2), 5, 6
    net = mlp(40, (20,), 3, 0)
    np.testing.assert_array_equal(predict(net, x), predict(net, dense))
    assert [array.tobytes() for array in (x.data, x.indices, x.indptr)] == before
    assert (x.data is data, x.indices is indices) == (True, True)
    x = sparse.csr_array((np.array([0.5, 0.25]), [2, 2], [0, 2]), shape=(1, 3))
    np.testing.assert_array_equal(predict(Tanh(), x), predict(Tanh(), np.array([[0, 0, 0.75]])))


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int64, np.float64, np.longdouble, ">f4"])
def test_numbers_of_any_dtype_are_no_pixels(dtype):
    x = np.abs(4 * X).astype(np.dtype(dtype).newbyteorder("="))
    given = sparse.csr_array(x)
    given.data = given.data.astype(dtype)
    net = mlp(40, (20,), 3, 0)
    np.testing.assert_array_equal(predict(net, given), predict(net, x.astype(np.float64)))


def broken(**attributes):
    x = sparse.csr_array(X)
    for name, change in attributes.items():
        change(getattr(x, name))
    return x


def put(at, value):
    return lambda array: array.__setitem__(at, value)


LEADS = "x is a broken sparse matrix: its indptr or its indices lead outside it"


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (broken(data=put(0, np.nan)), f"x holds NaN (row 0, column {np.flatnonzero(X[0])[0]})"),
        (
            broken(data=put(-1, -np.inf)),
            f"x holds -infinity (row 58, column {np.flatnonzero(X[58])[-1]})",
        ),
        (broken(data=put(-1, 1e300)), "x holds 1e+300, too large for float32, (row 58, column"),
        (broken(indices=put(3, 40)), LEADS),
        (broken(indices=put(3, -1)), LEADS),
        (broken(indptr=put(3, 10**6)), LEADS),
        (broken(indptr=put(0, 1)), LEADS),
        (broken(indptr=put(-1, -5)), LEADS),
        (broken(indptr=put(-1, 10**6)), LEADS),
        (sparse.csc_array((np.ones(1), [10**8], [0, *[1] * 40]), shape=(60, 40)), LEADS),
        (sparse.csr_array(X[:, :39]), "x has 39 features, the network takes 40"),
        (sparse.coo_array(X[0]), "x has shape (40,), expected (n, 40)"),
        (sparse.csr_array(X * 1j), "x holds complex128, expected numbers"),
        (sparse.csr_array(X[:0]), "x holds no example"),
        (sparse.csr_array(X[:59]), "t has shape (60,), expected (59, ...)"),
        ((sparse.csr_array(X), X), "x is a tuple of 2, the network takes 1"),
    ],
)
def test_what_is_refused(x, said):
    with pytest.raises((TypeError, ValueError)) as error:
        trained(mlp(40, (), 3, 0), x)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_rows_and_sets_are_named():
    net, x = mlp(40, (), 3, 0), sparse.csr_array(X)
    with pytest.raises(ValueError, match=r"^test: x holds NaN"):
        fit(net, SoftmaxCrossEntropy(), x, T, test=(broken(data=put(0, np.nan)), T), epochs=1,
            batch_size=9, rate=0.1)  # fmt: skip
    with pytest.raises(TypeError, match=r"^t is a sparse matrix"):
        evaluate(net, SoftmaxCrossEntropy(), x, sparse.csr_array(np.eye(3)[T]))


@pytest.mark.parametrize("input", ["sparse", "dense"])
def test_a_number_that_becomes_nan_is_named(input):
    x = sparse.csr_array(X.astype(np.float32))
    row = int(np.searchsorted(x.indptr, 10, "right")) - 1

    def spoil(epoch):
        x.data[10] = np.nan

    with pytest.raises(DivergedError, match=rf"x is not finite \(row {row}\), and was"):
        fit(mlp(40, (), 3, 0), SoftmaxCrossEntropy(), x, T, epochs=2, batch_size=10, rate=0.1,
            rng=0, input=input, on_epoch=spoil)  # fmt: skip


def test_nothing_becomes_dense_as_a_whole():
    """Of 240 MB dense, and 1.2 MB of numbers and columns, some megabytes are needed."""
    rows, features = 3000, 20_000
    indices = rng.integers(0, features, (rows, 30))
    indices.sort(axis=1)
    x = Whole(
        (np.ones(indices.size, np.float32), indices.ravel(), 30 * np.arange(rows + 1)),
        shape=(rows, features),
    )
    t = np.arange(rows) % 3
    net = Linear(features, 3, 0)
    ask = Predictor(net)
    tracemalloc.start()
    try:
        y = ask(x)
        assert evaluate(net, SoftmaxCrossEntropy(), x, t).images == rows
        fit(net, SoftmaxCrossEntropy(), x, t, epochs=1, batch_size=500, rate=0.1, rng=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert y.shape == (rows, 3)
    assert peak < 20e6
    assert not ask._here.runs  # they would keep the matrix


def test_large_numbers_are_told(caplog):
    say_once.cache_clear()
    trained(mlp(40, (), 3, 0), sparse.csr_array(100 * np.sign(X)), rate=1e-4)
    (said,) = caplog.messages
    assert said.startswith("x holds numbers of 100 and more, and a network hardly learns")
    assert said.endswith("scale them, as x / 255 for pixels, or x / abs(x).max()")


def test_a_training_is_kept_and_goes_on(tmp_path):
    x, settings = sparse.csc_array(X), Settings(epochs=2, batch_size=17, rate=0.1)
    whole = mlp(40, (8,), 3, 0)
    fit(whole, SoftmaxCrossEntropy(), X, T, epochs=2, batch_size=17, rate=0.1, rng=0)
    net = mlp(40, (8,), 3, 0)

    def stop(epoch):
        raise KeyboardInterrupt

    training = Training(net, SoftmaxCrossEntropy(), x, T, settings, rng=0, on_epoch=stop)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    jitprop.save(tmp_path / "net", net, training)
    net = jitprop.load(tmp_path / "net")
    training = Training(net, SoftmaxCrossEntropy(), x, T, settings, rng=1)
    jitprop.resume(tmp_path / "net", training)
    training.run()
    assert weights_sha256(net) == weights_sha256(whole)
