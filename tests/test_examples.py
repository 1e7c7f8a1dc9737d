"""training/examples.py: data as people have them are taken for what they are, or refused."""

import re
import tracemalloc

import numpy as np
import pytest

from jitprop import (
    CrossEntropy,
    DivergedError,
    Graph,
    Input,
    Linear,
    Losses,
    MeanSquaredError,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    confusion,
    evaluate,
    fit,
    mlp,
    weights_sha256,
)
from jitprop.kernels.compiler import messages
from jitprop.layers import Loss
from jitprop.training import progress
from jitprop.training.examples import inputs, taken, targets

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 4)).astype(np.float32)
T = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
ONE_HOT = np.eye(3)[T]
PIXELS = RNG.integers(0, 256, (60, 3, 4), np.uint8)
LABELS = np.arange(60) % 5
SETTINGS = {"epochs": 3, "batch_size": 50, "rate": 0.1, "rng": 0}


@pytest.fixture(autouse=True)
def _say_again(monkeypatch):
    """What was said once is said again; not that compiling takes long."""
    messages.say_once.cache_clear()
    monkeypatch.setattr(progress, "PATIENCE", 10.0**6)


def train(t, x=X, loss=None, **given):
    """The history, and the weights."""
    net = mlp(4, [6], 3, 0)
    history = fit(net, loss or SoftmaxCrossEntropy(), x, t, **{**SETTINGS, **given})
    return [(e.train_loss, e.train_errors, e.test_errors) for e in history], weights_sha256(net)


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8, np.uint8, bool])
def test_one_hot_targets_count_errors_as_labels_do(dtype):
    one_hot = ONE_HOT.astype(dtype)
    history, _ = train(one_hot, test=(X, one_hot))
    expected, _ = train(T, test=(X, T))
    assert [errors for _, *errors in history] == [errors for _, *errors in expected]
    assert history[0][1] > 0
    np.testing.assert_allclose(
        [loss for loss, *_ in history], [loss for loss, *_ in expected], rtol=1e-6
    )


def test_soft_targets_count_the_largest():
    net = mlp(4, [6], 3, 0)
    soft = 0.8 * ONE_HOT + 0.2 / 3
    assert (
        evaluate(net, SoftmaxCrossEntropy(), X, soft).errors
        == evaluate(net, SoftmaxCrossEntropy(), X, T).errors
    )
    np.testing.assert_array_equal(confusion(net, X, ONE_HOT), confusion(net, X, T))


def test_probabilities_and_one_hot():
    net = Sequential(Linear(4, 3, 0), Softmax())
    for t in (T, ONE_HOT):
        assert evaluate(net, CrossEntropy(), X, t).errors == evaluate(net, CrossEntropy(), X, T)[0]


def test_early_stopping_with_one_hot_ends_where_it_does_with_labels():
    ends = []
    for t in (T, ONE_HOT):
        given = {"validation": (X[:100], t[:100]), "early_stopping": True, "patience": 2}
        history, _ = train(t, **given, epochs=30, rate=0.5)
        ends.append(len(history))
    assert ends[0] == ends[1] < 30


@pytest.mark.parametrize(
    "labels", [T.astype(np.float32), T[:, None], T[:, None] / 1, T.astype(np.uint8), list(T)]
)
def test_labels_in_any_dtype(labels):
    assert train(labels) == train(T)


@pytest.mark.parametrize("labels", [T > 0, (T > 0)[:, None]])
def test_labels_that_are_bools(labels):
    assert train(labels) == train((T > 0).astype(int))


Y = X @ np.array([1.0, -2.0, 0.5, 0.0], np.float32) + 1
WHOLE = np.rint(Y).astype(int)


@pytest.mark.parametrize(
    "t",
    [Y, Y[:, None], Y.astype(np.float64), WHOLE, WHOLE[:, None], Y > 0, (Y > 0)[:, None], [*Y]],
)
def test_regression(t):
    """A vector is a column where the network has one output; there are no errors to count."""
    column = np.asarray(t, np.float32).reshape(-1, 1)
    found = []
    for values in (t, column):
        net = Linear(4, 1, 0)
        history = fit(net, MeanSquaredError(), X, values, test=(X, values), **SETTINGS)
        found.append((weights_sha256(net), [e.train_loss for e in history]))
        assert history[-1].train_errors is history[-1].test_errors is None
        assert history[-1].train_loss < history[0].train_loss
        assert type(history[-1].train_loss) is type(history[-1].test_loss) is float
    assert found[0] == found[1]
    assert evaluate(net, MeanSquaredError(), X, t).errors is None


def test_early_stopping_of_a_regression_goes_by_the_loss():
    net = Linear(4, 1, 0)
    given = {"validation": (X[:100], Y[:100]), "early_stopping": True, "patience": 2}
    history = fit(net, MeanSquaredError(), X, Y, **given, **SETTINGS | {"epochs": 5})
    best = min(e.validation_loss for e in history)
    assert best == history[-1].validation_loss
    assert evaluate(net, MeanSquaredError(), X[:100], Y[:100]).loss == best


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.float16, np.float64, ">f4", np.longdouble])
def test_numbers_are_numbers(dtype):
    whole = np.rint(X * 3)
    assert train(T, whole.astype(dtype)) == train(T, whole)


def test_bool_is_a_number():
    assert train(T, X > 0) == train(T, (X > 0).astype(np.float32))


def test_images_of_floats_and_other_layouts():
    images = X.reshape(300, 2, 2)
    for x in (images, images.astype(np.float64), np.asfortranarray(X), np.repeat(X, 2, 0)[::2]):
        assert train(T, x) == train(T)
    assert train(T, X.tolist()) == train(T)


def test_a_vector_where_the_network_takes_one_number():
    net = Linear(1, 1, 0)
    fit(net, MeanSquaredError(), X[:, 0], 2 * X[:, 0], epochs=100, batch_size=50, rate=0.1, rng=0)
    np.testing.assert_allclose(net.w, 2, rtol=1e-3)


def test_what_fits_is_not_copied():
    net = Linear(4, 1, 0)
    (x,) = inputs(net, X)
    assert np.shares_memory(x, X)
    (t,) = targets(net, MeanSquaredError(), Y[:, None], [x])
    assert np.shares_memory(t.values, Y)
    big = np.zeros((2**20, 32), np.float32)  # 128 MiB
    tracemalloc.start()
    inputs(Linear(32, 1, 0), big)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


WRONG = [
    (np.nan, "NaN (row 7, column 2)"),
    (np.inf, "infinity (row 7, column 2)"),
    (-np.inf, "-infinity (row 7, column 2)"),
    (1e300, "1e+300, too large for float32, (row 7, column 2)"),
]


@pytest.mark.parametrize("which", ["x", "validation: x", "test: x", "t", "validation: t"])
@pytest.mark.parametrize(("value", "said"), WRONG)
def test_what_is_not_finite_is_refused_before_any_step(which, value, said):
    x, y = X.astype(np.float64), np.repeat(X, 2, axis=1)[:, :6].astype(np.float64)
    bad_x, bad_y = x.copy(), y.copy()
    bad_x[7, 2] = bad_y[7, 2] = value
    sets = {"train": [x, y], "validation": [x, y], "test": [x, y]}
    *name, letter = which.split(": ")
    sets[name[0] if name else "train"]["xt".index(letter)] = {"x": bad_x, "t": bad_y}[letter]
    net = Linear(4, 6, 0)
    before = weights_sha256(net)
    with pytest.raises(ValueError, match="holds") as error:
        fit(net, MeanSquaredError(), *sets.pop("train"), **{k: tuple(v) for k, v in sets.items()},
            **SETTINGS)  # fmt: skip
    assert one_line(error) == f"{which} holds {said}"
    assert weights_sha256(net) == before


def test_where_a_wrong_number_is():
    x = np.zeros((10**5, 3, 4), np.float32)
    x[98_765, 2, 1] = np.nan
    with pytest.raises(ValueError, match=re.escape("x holds NaN (row 98765, column (2, 1))")):
        inputs(Linear(12, 1, 0), x)
    with pytest.raises(ValueError, match=re.escape("t holds NaN (row 3)")):
        fit(Linear(4, 1, 0), MeanSquaredError(), X, np.where(np.arange(300) == 3, np.nan, Y),
            **SETTINGS)  # fmt: skip
    inputs(Linear(4, 1, 0, np.float64), np.full((2, 4), 1e300))  # not too large for that


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.ma.masked_greater(X, 1), "x is a masked array"),
        (np.array([["a", "b", "c", "d"]] * 300), "x holds text, expected numbers"),
        (np.array([[1, 2, None, 4]] * 300, object), "x holds objects such as 1, expected numbers"),
        (X * 1j, "x holds complex64, expected numbers"),
        (X.astype("datetime64[s]"), "x holds datetime64[s], expected numbers"),
        (X[:, :3], "x has 3 features, the network takes 4"),
        (X[0], "x has shape (4,), expected (n, 4), an example a row"),
        (X[0, 0], "x has shape (), expected (n, 4), an example a row"),
        (X[:299], "t has shape (300,), expected (299, ...)"),
        (X[:0], "x holds no example"),
        ((X, X), "x is a tuple of 2, the network takes 1"),
    ],
)
def test_inputs_that_are_refused(x, said):
    with pytest.raises((TypeError, ValueError)) as error:
        train(T, x)
    assert one_line(error).startswith(said)


def test_targets_are_no_sparse_matrix():
    class Matrix:
        tocsr = None

    with pytest.raises(TypeError, match=r"^t is a sparse matrix.* pass t.toarray\(\)$"):
        train(Matrix())


UNIQUE = "numpy.unique(t, return_inverse=True)[1] numbers"


@pytest.mark.parametrize(
    ("t", "said", "cure"),
    [
        (np.array(list("abc"))[T], "t holds text, expected class labels 0, 1, 2, ...", UNIQUE),
        (np.array(list("abc"), object)[T], "t holds text, expected class labels", UNIQUE),
        (T + 1, "t holds labels 1 ... 3, they must be 0 ... 2", UNIQUE),
        (T - 1, "t holds labels -1 ... 1, they must be 0 ... 2", UNIQUE),
        (T * 0.5, "t holds 0.5, expected class labels", "MeanSquaredError"),
        (np.ma.masked_equal(T, 1), "t is a masked array", "t.filled(0)"),
        (2 * ONE_HOT - 1, "t holds -1, expected 0 or more: one-hot targets, or prob", ""),
        (ONE_HOT * (T != 1)[:, None], f"t holds no class (row {np.argmax(T == 1)})", "all its"),
        (np.eye(4)[T], "t has shape (300, 4), expected class labels (n,) or (n, 3)", ""),
        (ONE_HOT[:, None], "t has shape (300, 1, 3), expected class labels (n,) or (n, 3)", ""),
        (T.reshape(3, 100), "t has shape (3, 100), expected (300, ...)", ""),
        ((T, T), "t holds a tuple of 2", ""),
    ],
)
def test_labels_that_are_refused(t, said, cure):
    for given, of in (({}, ""), ({"test": (X, t)}, "test: ")):
        with pytest.raises((TypeError, ValueError)) as error:
            train(T if given else t, **given)
        assert of + said in one_line(error)
        assert cure in one_line(error)


@pytest.mark.parametrize("labels", [T > 0, np.zeros(300, int), (T > 0)[:, None]])
def test_one_output_is_one_class(labels):
    said = "^a network with one output knows one class: give it 2 outputs"
    with pytest.raises(ValueError, match=said):
        fit(mlp(4, [3], 1, 0), SoftmaxCrossEntropy(), X, labels, **SETTINGS)


@pytest.mark.parametrize(
    ("t", "said"),
    [
        (X, "t has shape (300, 4), expected (n, 3)"),
        (Y, "t has shape (300,), expected (n, 3)"),
        (T, "t has shape (300,), expected (n, 3)"),
    ],
)
def test_numbers_for_several_outputs(t, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        train(t, loss=MeanSquaredError())


@pytest.mark.parametrize("name", ["validation", "test"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((X[:, :3], T), ": x has 3 features, the network takes 4"),
        ((X, T + 1), ": t holds labels 1 ... 3, they must be 0 ... 2"),
        ((X, T[:5]), ": t has shape (5,), expected (300, ...)"),
        ((X,), " must be a pair (x, t), examples and their targets"),
        (X, " must be a pair (x, t), examples and their targets"),
        ((), " must be a pair (x, t), examples and their targets"),
        ((X, T, T, T), " must be a pair (x, t), examples and their targets"),
        ({"x": X, "t": T}, " must be a pair (x, t), examples and their targets"),
    ],
)
def test_sets_are_looked_at_before_the_first_step(name, given, said):
    net = mlp(4, [6], 3, 0)
    before = weights_sha256(net)
    with pytest.raises((TypeError, ValueError)) as error:
        fit(net, SoftmaxCrossEntropy(), X, T, **{name: given}, **SETTINGS)
    assert one_line(error).startswith(name + said)
    assert weights_sha256(net) == before


def test_a_set_of_another_width_where_the_network_takes_any():
    with pytest.raises(ValueError, match=r"^test: x has 3 features, the training set 4$"):
        fit(Tanh(), MeanSquaredError(), X, X, test=(X[:, :3], X[:, :3]), **SETTINGS)


def test_several_inputs_and_outputs():
    a, b = Input(4), Input()
    net = Graph([a, b], [Linear(4, 3, 0)(a), Linear(2, 1, 1)(b)])
    assert taken(net) == (4, 2)
    loss = Losses((SoftmaxCrossEntropy(), 1), (MeanSquaredError(), 0.5))
    x = X, X[:, :2].astype(np.float64)
    history = fit(net, loss, x, (ONE_HOT, Y), test=(x, (T, Y)), **SETTINGS)
    assert history[-1].test_errors < history[0].train_errors
    for wrong, said in (
        ((x[0], X), "x1 has 4 features, the network takes 2"),
        ((x[0], x[1][:5]), "inputs differ in their rows: x0 300 and x1 5"),
        (X, "x is one array, the network takes 2"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            fit(net, loss, wrong, (T, Y), **SETTINGS)
    with pytest.raises(ValueError, match=re.escape("t1 holds NaN (row 0)")):
        fit(net, loss, x, (T, Y * np.nan), **SETTINGS)


class Own(Loss):
    """A person's: half the squared distance, to numbers of any shape."""

    def rows(self, z, t):
        self.d = z - np.asarray(t, z.dtype).reshape(len(z), -1)
        return (self.d**2).sum(axis=1) / 2

    def bprop(self, scale):
        return self.d * self.d.dtype.type(scale)


def test_a_loss_of_ones_own_takes_what_it_likes():
    for t, counted in ((Y, False), (Y[:, None], False), (WHOLE % 1, True)):
        history = fit(Linear(4, 1, 0), Own(), X, t, **SETTINGS)
        assert (history[-1].train_errors is not None) == counted


def test_bytes_are_pixels_or_numbers(caplog):
    """A table of bytes, asked with the same numbers as floats, gives what training counted."""
    table = RNG.integers(0, 17, (500, 13), np.uint8)
    labels = (table[:, 0] > 8).astype(int)
    given = {"epochs": 20, "batch_size": 50, "rate": 0.01, "rng": 0}

    def trained(**more):
        net = mlp(13, [8], 2, 0)
        history = fit(
            net, SoftmaxCrossEntropy(), table, labels, test=(table, labels), **given, **more
        )
        return net, history[-1].test_errors

    net, errors = trained(pixels=False)
    assert caplog.messages == []
    assert net.pixels is False
    for x in (table, table.astype(np.float32), table.astype(int)):
        assert evaluate(net, SoftmaxCrossEntropy(), x, labels).errors == errors
        assert np.trace(confusion(net, x, labels)) == 500 - errors

    net, errors = trained()
    (said,) = caplog.messages
    assert said.startswith("x is a table of bytes: they are divided by 255")
    assert evaluate(net, SoftmaxCrossEntropy(), table / 255, labels).errors == errors
    assert net.pixels is None

    caplog.clear()
    divided, _ = trained(pixels=True)
    assert weights_sha256(divided) == weights_sha256(net)
    assert caplog.messages == []


def test_images_are_pixels_without_a_word(caplog):
    fit(mlp(12, [], 5, 0), SoftmaxCrossEntropy(), PIXELS, LABELS, **SETTINGS)
    assert caplog.messages == []


def test_a_network_keeps_how_it_takes_bytes():
    net = mlp(12, [], 5, 0)
    fit(net, SoftmaxCrossEntropy(), PIXELS, LABELS, pixels=False, **SETTINGS | {"rate": 1e-5})
    before = evaluate(net, SoftmaxCrossEntropy(), PIXELS, LABELS)
    assert before == evaluate(net, SoftmaxCrossEntropy(), PIXELS.astype(np.float64), LABELS)
    fit(net, SoftmaxCrossEntropy(), PIXELS, LABELS, **SETTINGS | {"epochs": 0})
    assert evaluate(net, SoftmaxCrossEntropy(), PIXELS, LABELS) == before


@pytest.mark.parametrize(
    "x", [PIXELS.astype(np.float32), PIXELS.astype(int), X.repeat(3, 1)[:60] * 1e4]
)
def test_large_numbers_are_warned_of_once(x, caplog):
    for _ in range(2):
        fit(mlp(12, [], 5, 0), SoftmaxCrossEntropy(), x, LABELS, **SETTINGS)
    (said,) = caplog.messages
    assert said.startswith("x holds numbers of 100 and more")
    assert "x / 255" in said
    assert "x.std(0)" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lr": 0.1}, "there is no setting lr; you may mean rate; settings are epochs,"),
        ({"epoch": 1, "rate": 1}, "there is no setting epoch; you may mean epochs;"),
        ({"n_epochs": 1}, "there is no setting n_epochs; you may mean epochs;"),
        ({"seed": 1}, "there is no setting seed; you may mean rng;"),
        ({"validation_data": 1}, "there is no setting validation_data; you may mean validation;"),
        ({"zebra": 1}, "there is no setting zebra; settings are"),
        ({"batch_size": 5, "rate": 0.1}, "epochs is missing, such as epochs=10"),
        ({"epochs": 1}, "batch_size and rate are missing, such as batch_size=100, rate=0.1"),
    ],
)  # fmt: skip
def test_settings_are_named(given, said):
    with pytest.raises(TypeError) as error:
        fit(mlp(4, [], 3, 0), SoftmaxCrossEntropy(), X, T, **given)
    assert one_line(error).startswith(said)


def test_an_input_that_changes_while_it_is_trained_on():
    x = X.copy()

    def spoil(*batch):
        x[:] = np.nan

    given = SETTINGS | {"batch_size": 1, "epochs": 50}
    said = r"^the loss became nan in epoch 1, batch \d+: x is not finite \(row \d+\)"
    with pytest.raises(DivergedError, match=said):
        fit(mlp(4, [6], 3, 0), SoftmaxCrossEntropy(), x, T, on_batch=spoil, **given)


def test_a_tuple_of_one_target_is_called_a_tuple():
    with pytest.raises(ValueError, match=r"returns one array, t holds a tuple of 1$"):
        targets(Linear(3, 2, 0), SoftmaxCrossEntropy(), ([0, 1],), [np.ones((2, 3))])
