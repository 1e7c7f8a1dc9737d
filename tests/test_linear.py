"""layers/linear.py: y = x @ w + b and its gradients, its initial weights, and what it refuses."""

import math

import numpy as np
import pytest

from jitprop.layers import Linear, gradcheck

# One sample, an odd batch, more rows than columns and fewer, and the size of the MNIST layers.
SHAPES = [(1, 1, 1), (1, 7, 3), (5, 3, 7), (13, 2, 11), (37, 784, 10)]


def assert_product(result, a, b, extra=0.0):
    """Judge a float product by |err| <= c eps (|a| @ |b|): a sum of K terms, rounded K times.

    c is K + 2, the textbook bound for any order of summation, with one more rounding for each of
    the bias and the final result.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    bound = (a.shape[1] + 2) * np.finfo(result.dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(extra))
    assert np.all(np.abs(result - (a @ b + extra)) <= bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("batch", "in_features", "out_features"), SHAPES)
def test_fprop_and_bprop(batch, in_features, out_features, dtype):
    rng = np.random.default_rng(1)
    linear = Linear(in_features, out_features, rng, dtype)
    linear.b[:] = rng.standard_normal(out_features)
    x = rng.standard_normal((batch, in_features)).astype(dtype)
    dy = rng.standard_normal((batch, out_features)).astype(dtype)

    y = linear.fprop(x)
    assert y.dtype == dtype
    assert_product(y, x, linear.w, linear.b.astype(np.float64))

    dx = linear.bprop(dy)
    assert dx.dtype == dtype
    assert_product(dx, dy, linear.w.T)
    assert_product(linear.dw, x.T, dy)
    assert_product(linear.db[None], np.ones((1, batch)), dy)


def test_bprop_overwrites_the_gradients():
    linear = Linear(4, 3, 0)
    rng = np.random.default_rng(2)
    x, dy = (rng.standard_normal((5, n)).astype(np.float32) for n in (4, 3))
    linear.fprop(x)
    linear.bprop(dy)
    dw, db = linear.dw.copy(), linear.db.copy()
    linear.bprop(dy)
    np.testing.assert_array_equal(linear.dw, dw)
    np.testing.assert_array_equal(linear.db, db)


def test_without_dx_the_gradients_are_the_same():
    linear = Linear(4, 3, 0)
    rng = np.random.default_rng(3)
    x, dy = (rng.standard_normal((5, n)).astype(np.float32) for n in (4, 3))
    linear.fprop(x)
    linear.bprop(dy)
    dw, db = linear.dw.copy(), linear.db.copy()
    linear.dw[:] = linear.db[:] = np.nan
    assert linear.bprop(dy, need_dx=False) is None
    np.testing.assert_array_equal(linear.dw, dw)
    np.testing.assert_array_equal(linear.db, db)


def test_update_is_gradient_descent():
    linear = Linear(4, 3, 0, np.float64)
    w, b = linear.w.copy(), linear.b.copy()
    linear.update(0.5)  # before any bprop the gradients are zero
    np.testing.assert_array_equal(linear.w, w)
    linear.dw[:] = 2.0
    linear.db[:] = -4.0
    linear.update(0.5)
    # Each product and each difference rounds once; halves and fours make the products exact.
    np.testing.assert_array_equal(linear.w, w - 1.0)
    np.testing.assert_array_equal(linear.b, b + 2.0)


@pytest.mark.parametrize(("init", "fans"), [("glorot", 500), ("he", 300)])
def test_initial_weights(init, fans):
    linear = Linear(300, 200, 5, np.float64, init)
    deviation = math.sqrt(2 / fans)
    n = linear.w.size
    # Five standard errors of a mean and of a standard deviation of n normal numbers.
    assert abs(linear.w.mean()) < 5 * deviation / math.sqrt(n)
    assert abs(linear.w.std() - deviation) < 5 * deviation / math.sqrt(2 * n)
    np.testing.assert_array_equal(linear.b, np.zeros(200))
    with pytest.raises(
        ValueError, match=r"^Linear\(3, 2\): init is 'xavier', expected glorot or he"
    ):
        Linear(3, 2, init="xavier")
    np.testing.assert_array_equal(linear.dw, np.zeros((300, 200)))


def test_seeds_generators_and_precisions_agree():
    w = Linear(7, 5, 3).w
    np.testing.assert_array_equal(Linear(7, 5, 3).w, w)
    np.testing.assert_array_equal(Linear(7, 5, np.random.default_rng(3)).w, w)
    np.testing.assert_array_equal(Linear(7, 5, 3, np.float64).w.astype(np.float32), w)
    rng = np.random.default_rng(3)
    first, second = Linear(7, 5, rng), Linear(7, 5, rng)
    np.testing.assert_array_equal(first.w, w)
    assert not np.array_equal(second.w, w)
    assert not np.array_equal(Linear(7, 5).w, Linear(7, 5).w)


def test_numpys_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    Linear(7, 5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients(dtype):
    rng = np.random.default_rng(4)
    linear = Linear(5, 3, rng, dtype)
    linear.b[:] = rng.standard_normal(3)
    assert gradcheck(linear, rng.standard_normal((4, 5)))


def test_an_empty_batch_has_zero_gradients():
    linear = Linear(4, 3, 0)
    linear.dw[:] = linear.db[:] = 1.0
    assert linear.fprop(np.zeros((0, 4), np.float32)).shape == (0, 3)
    assert linear.bprop(np.zeros((0, 3), np.float32)).shape == (0, 4)
    np.testing.assert_array_equal(linear.dw, np.zeros((4, 3)))
    np.testing.assert_array_equal(linear.db, np.zeros(3))


def test_buffers_are_reused_for_shorter_batches():
    linear = Linear(4, 3, 0)
    x = np.random.default_rng(5).standard_normal((8, 4)).astype(np.float32)
    whole = linear.fprop(x)
    expected = whole[:3].copy()
    short = linear.fprop(x[:3])
    assert np.shares_memory(short, whole)
    np.testing.assert_array_equal(short, expected)
    assert linear.bprop(short).shape == (3, 4)


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1][::-1],
        lambda x: x.tolist(),
    ],
    ids=["fortran", "strided", "reversed twice", "list"],
)
def test_any_layout_gives_the_same_result(layout):
    linear = Linear(4, 3, 0, np.float64)
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((5, 4)), rng.standard_normal((5, 3))
    y = linear.fprop(x).copy()
    dx, dw = linear.bprop(dy).copy(), linear.dw.copy()
    np.testing.assert_array_equal(linear.fprop(layout(x)), y)
    np.testing.assert_array_equal(linear.bprop(layout(dy)), dx)
    np.testing.assert_array_equal(linear.dw, dw)


def test_read_only_input():
    linear = Linear(4, 3, 0)
    x = np.ones((5, 4), np.float32)
    x.flags.writeable = False
    dy = np.ones((5, 3), np.float32)
    dy.flags.writeable = False
    linear.fprop(x)
    linear.bprop(dy)
    np.testing.assert_array_equal(linear.dw, np.full((4, 3), 5))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            np.zeros((100, 28, 28), np.float32),
            ValueError,
            r"Linear\(784, 200\): x has shape \(100, 28, 28\), expected \(batch, 784\)",
        ),
        (np.zeros(784, np.float32), ValueError, r"x has shape \(784,\), expected \(batch, 784\)"),
        (np.zeros((3, 783), np.float32), ValueError, r"x has shape \(3, 783\)"),
        (None, ValueError, r"x has shape \(\)"),
        (
            np.zeros((3, 784)),
            TypeError,
            r"Linear\(784, 200\): x is float64, the parameters are float32: .*np\.float32",
        ),
        (np.zeros((3, 784), np.uint8), TypeError, "x is uint8, the parameters are float32"),
        (np.zeros((3, 784), ">f4"), TypeError, "x is >f4, the parameters are float32"),
    ],
)
def test_wrong_x(x, error, message):
    with pytest.raises(error, match=message):
        Linear(784, 200, 0).fprop(x)


@pytest.mark.parametrize(
    ("dy", "error", "message"),
    [
        (
            np.zeros((4, 3), np.float32),
            ValueError,
            r"Linear\(4, 3\): dy has shape \(4, 3\), the last fprop returned \(5, 3\)",
        ),
        (np.zeros((5, 4), np.float32), ValueError, r"dy has shape \(5, 4\)"),
        (np.zeros(3, np.float32), ValueError, r"dy has shape \(3,\)"),
        (np.zeros((5, 3)), TypeError, "dy is float64, the last fprop returned float32"),
    ],
)
def test_wrong_dy(dy, error, message):
    linear = Linear(4, 3, 0)
    linear.fprop(np.zeros((5, 4), np.float32))
    with pytest.raises(error, match=message):
        linear.bprop(dy)


def test_a_refused_x_leaves_the_last_fprop():
    linear = Linear(4, 3, 0)
    linear.fprop(np.ones((5, 4), np.float32))
    with pytest.raises(ValueError, match="x has shape"):
        linear.fprop(np.ones((6, 5), np.float32))
    linear.bprop(np.ones((5, 3), np.float32))
    np.testing.assert_array_equal(linear.dw, np.full((4, 3), 5))


def test_bprop_before_fprop():
    with pytest.raises(RuntimeError, match=r"Linear\(4, 3\): bprop before fprop"):
        Linear(4, 3).bprop(np.zeros((5, 3), np.float32))


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 3)])
def test_impossible_sizes(sizes):
    with pytest.raises(ValueError, match="both sizes must be at least 1"):
        Linear(*sizes)


def test_impossible_arguments():
    with pytest.raises(TypeError, match="expected an integer"):
        Linear(3.0, 2)
    with pytest.raises(TypeError, match=r"Linear\(3, 2\): dtype is float16, expected float32"):
        Linear(3, 2, dtype=np.float16)


def test_parameters_are_the_modules_own():
    linear = Linear(np.int64(4), 3)
    w, b = linear.parameters()
    assert (w.name, b.name) == ("w", "b")
    assert w.value is linear.w
    assert w.grad is linear.dw
    assert b.value is linear.b
    assert b.grad is linear.db
    assert repr(linear) == "Linear(4, 3)"
