"""kernels/poisson_loss.py: the loss of counts, and its gradient."""

import numpy as np
import pytest
import reference
from plain import PLAIN, cut
from reference import assert_same_bits, assert_within, eps

from jitprop import kernels

SHAPES = [(1, 1), (3, 10), (16, 16), (17, 15), (5, 33), (211, 113), (2, 10_000), (0, 10)]
SHAPES = cut(SHAPES, 5, 200)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_shape = pytest.mark.parametrize("shape", SHAPES)
INF, NAN = np.inf, np.nan


def draw(shape, dtype):
    """Logarithms of rates, and counts of other rates; some of them are not whole."""
    rng = np.random.default_rng(1)
    t = rng.poisson(np.exp(1 + rng.standard_normal(shape))) * rng.choice([1, 0.3], shape)
    return (2 * rng.standard_normal(shape)).astype(dtype), t.astype(dtype)


def run(z, t, scale=1.0):
    losses, out = np.full(len(z), 7, z.dtype), np.full(z.shape, 7, z.dtype)
    kernels.poisson_loss(z, t, scale, out, losses)
    return losses, out


def assert_right(z, t, scale, losses, out):
    """Terms cancel, so the bounds are relative to the sum of their magnitudes.

    Of exp(z), t log(t), t z and t each: exp and log are off by 1 eps, 2 for float64, and two
    operations by half of one; n/16 + 4 sums and the quotient, half an eps. In the gradient, exp,
    the difference, scale / n, which is two roundings, and the product. What is rounded below the
    normal numbers is off by the smallest. The reference is rounded to float64.
    """
    dtype, n = z.dtype, z.shape[1]
    single = dtype == np.float32
    least = float(np.finfo(dtype).smallest_subnormal)
    rate, t_wide = np.exp(z.astype(np.longdouble)), t.astype(np.longdouble)
    log = np.log(np.where(t == 0, 1, t_wide))
    sizes = rate + t_wide * (np.abs(log) + np.abs(z) + 1)
    unit = eps(dtype) * sizes.mean(axis=1) + 2 * least
    bound = (2 if single else 3.5) + (n / 16 + 5) / 2
    assert_within(losses, reference.poisson_loss(z, t), unit, bound)
    unit = eps(dtype) * abs(scale) / n * (rate + t_wide) + 2 * least
    expected = reference.poisson_loss_bprop(z, t, scale)
    assert_within(out, expected, unit, 3 if single else 4.5)


@every_dtype
@every_shape
@pytest.mark.parametrize("scale", [1, 0.01, -3])
def test_loss_and_gradient(scale, shape, dtype, guarded):
    z, t = map(guarded, draw(shape, dtype))
    losses, out = guarded(np.full(shape[0], 7, dtype)), guarded(np.full(shape, 7, dtype))
    kernels.poisson_loss(z, t, scale, out, losses)
    assert_right(z, t, scale, losses, out)


@every_dtype
def test_rates_and_counts_of_all_sizes(dtype):
    """Up to where exp(z) is just finite; one element a row."""
    rng = np.random.default_rng(2)
    end, count = 88 if dtype == np.float32 else 709, 200 if PLAIN else 50_000
    z = rng.uniform(-1.1 * end, end, (count, 1)).astype(dtype)
    t = np.exp(rng.uniform(-end / 2, end / 2, (count, 1))).astype(dtype)
    assert_right(z, t, 1, *run(z, t))


@every_dtype
def test_the_least_loss(dtype):
    """At the rate that is the count: off by no more than z, which is rounded, brings."""
    t = np.arange(0, 300, 1, dtype)[:, None]
    z = np.log(np.maximum(t, 1e-30)).astype(dtype)
    losses, out = run(z, t)
    assert_within(losses, np.zeros(300), eps(dtype) * (t[:, 0] * (np.abs(z[:, 0]) + 3) + 1), 2)
    assert_within(out, np.zeros((300, 1)), eps(dtype) * (t * (np.abs(z) + 3) + 1), 2)


@every_dtype
def test_special_values(dtype):
    """NaN and infinity as in NumPy's formula, where 0 log(0) is 0, and 0 z, too."""
    for z, t, loss, gradient in [
        (INF, 0, INF, INF), (INF, 3, NAN, INF), (-INF, 0, 0, 0), (-INF, 2, INF, -2),
        (NAN, 0, NAN, NAN), (NAN, 1, NAN, NAN), (0, NAN, NAN, NAN), (0, INF, NAN, -INF),
        (1000, 2, INF, INF), (-1000, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 0), (-0.0, 1, 0, 0),
        (0, -1, NAN, 2),
    ]:  # fmt: skip
        losses, out = run(np.array([[z]], dtype), np.array([[t]], dtype))
        assert_within(losses, [loss], 0.0)
        assert_within(out, [[gradient]], 0.0)


@every_dtype
def test_nan_and_infinity_stay_in_their_row(dtype):
    z, t = draw((20, 37), dtype)
    z[3, 36], z[5, 0], t[18, 20] = NAN, 1e4, NAN
    losses, out = run(z, t)
    assert np.flatnonzero(~np.isfinite(losses)).tolist() == [3, 5, 18]
    assert np.isnan(losses[[3, 18]]).all()
    assert losses[5] == INF
    assert np.argwhere(~np.isfinite(out)).tolist() == [[3, 36], [5, 0], [18, 20]]


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_nothing_outside(before, dtype, fenced):
    for shape in [(3, 5), (17, 17)]:
        z, t = (fenced(array, before) for array in draw(shape, dtype))
        out, losses = fenced(np.empty_like(z), before), fenced(np.empty(shape[0], dtype), before)
        kernels.poisson_loss(z, t, 1.0, out, losses)
        assert_right(z, t, 1.0, losses, out)


def test_threads_do_not_show():
    z, t = draw((9 if PLAIN else 1000, 37), np.float32)
    before, results = kernels.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            results.append(run(z, t, 0.1))
    finally:
        kernels.set_num_threads(before)
    for losses, out in results[1:]:
        assert_same_bits(losses, results[0][0])
        assert_same_bits(out, results[0][1])


def test_pytorch_has_the_same_gradient():
    torch = pytest.importorskip("torch")
    z, t = draw((37, 10), np.float64)
    theirs = torch.tensor(z, requires_grad=True)
    loss = torch.nn.PoissonNLLLoss(log_input=True)(theirs, torch.tensor(t))
    loss.backward()
    losses, out = run(z, t, 1 / 37)
    constant = (t * np.log(np.where(t == 0, 1, t)) - t).mean()
    # Terms up to some hundred and a few dozen roundings; rates up to 1000, gradients up to 3.
    np.testing.assert_allclose(kernels.total(losses) / 37, loss.item() + constant, atol=1e-12)
    np.testing.assert_allclose(out, theirs.grad.numpy(), rtol=1e-13, atol=1e-15)
