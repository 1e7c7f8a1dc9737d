"""kernels/sigmoid_cross_entropy.py: the loss of logits for several labels, and its gradient."""

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


def draw(shape, dtype, spread=4):
    """Logits, and targets: labels, and numbers from 0 to 1."""
    rng = np.random.default_rng(1)
    z = (spread * rng.standard_normal(shape)).astype(dtype)
    t = np.where(rng.random(shape) < 0.5, rng.integers(0, 2, shape), rng.random(shape))
    return z, t.astype(dtype)


def run(z, t, scale=1.0):
    losses, out = np.full(len(z), 7, z.dtype), np.full(z.shape, 7, z.dtype)
    kernels.sigmoid_cross_entropy(z, t, scale, out, losses)
    return losses, out


def assert_right(z, t, scale, losses, out):
    """Each within what its roundings come to; exp and log are off by 1 eps, 2 for float64.

    No term of the loss is negative: exp, log and their sum, or 1 - t, the product and the sum with
    it, make up to 2.5 eps of each (4.5), and n/16 + 4 sums half an eps each. In q = e / (1 + e) exp
    and three operations make 2.5 (3.5), and 1 - t half an eps; the difference, the scale and the
    product make half an eps each. What is rounded below the normal numbers is off by the smallest.
    The reference is rounded to float64.
    """
    dtype, n = z.dtype, z.shape[1]
    single = dtype == np.float32
    least = float(np.finfo(dtype).smallest_subnormal)
    expected = reference.sigmoid_cross_entropy(z, t)
    bound = (2.5 if single else 5) + (n / 16 + 4) / 2
    assert_within(losses, expected, eps(dtype) * expected + n * least, bound)
    expected = reference.sigmoid_cross_entropy_bprop(z, t, scale)
    q, wide = reference.sigmoid(-np.abs(z)), t.astype(np.longdouble)
    unit = abs(scale) * (q + np.where(z < 0, wide, 1 - wide))
    assert_within(out, expected, eps(dtype) * unit + least, 4 if single else 5.5)


@every_dtype
@every_shape
@pytest.mark.parametrize("scale", [1, 0.01, -3])
def test_loss_and_gradient(scale, shape, dtype, guarded):
    z, t = map(guarded, draw(shape, dtype))
    losses, out = guarded(np.full(shape[0], 7, dtype)), guarded(np.full(shape, 7, dtype))
    kernels.sigmoid_cross_entropy(z, t, scale, out, losses)
    assert_right(z, t, scale, losses, out)


@every_dtype
@pytest.mark.parametrize("t", [0, 1])
def test_large_logits(t, dtype):
    """Over all z with an exp(-|z|) that is not 0, and beyond: one element a row, so that what is
    small is not lost in a sum."""
    end = 120 if dtype == np.float32 else 800
    z = np.random.default_rng(2).uniform(-end, end, (200 if PLAIN else 50_000, 1)).astype(dtype)
    t = np.full_like(z, t)
    assert_right(z, t, 1, *run(z, t))


@every_dtype
def test_small_exponentials(dtype):
    """log(1 + e) where 1 + e is rounded to 1, or loses most digits of e."""
    z = np.linspace(1, 45, 200 if PLAIN else 20_000).astype(dtype)[:, None]
    t = np.ones_like(z)
    losses, out = run(z, t)
    assert_right(z, t, 1, losses, out)
    assert (losses > 0).all()
    assert (out < 0).all()


@every_dtype
def test_special_values(dtype):
    """NaN and infinity as in NumPy's formula, but that a wrong label of no weight is no loss."""
    largest = np.finfo(dtype).max
    for z, t, loss, gradient in [
        (INF, 1, 0, 0), (INF, 0, INF, 1), (INF, 0.5, INF, 0.5), (-INF, 0, 0, 0),
        (-INF, 1, INF, -1), (-INF, 0.25, INF, -0.25), (NAN, 0, NAN, NAN), (NAN, 1, NAN, NAN),
        (2, NAN, NAN, NAN), (-2, NAN, NAN, NAN), (0, 1, np.log(2), -0.5), (-0.0, 0, np.log(2), 0.5),
        (largest, 0, largest, 1), (-largest, 0, 0, 0), (-largest, 1, largest, -1),
        (1e4, 1, 0, 0), (-1e4, 1, 1e4, -1), (3, INF, -INF, -INF), (-3, -INF, -INF, INF),
    ]:  # fmt: skip
        losses, out = run(np.array([[z]], dtype), np.array([[t]], dtype))
        assert_within(losses, [loss], eps(dtype) * abs(loss) if np.isfinite(loss) else 0)
        assert_within(out, [[gradient]], 0.0)


@every_dtype
def test_nan_and_infinity_stay_in_their_row(dtype):
    z, t = draw((20, 37), dtype)
    z[3, 36], z[5, 0], t[18, 20] = NAN, INF, NAN
    t[5, 0] = 0
    losses, out = run(z, t)
    assert np.flatnonzero(~np.isfinite(losses)).tolist() == [3, 5, 18]
    assert np.isnan(losses[[3, 18]]).all()
    assert losses[5] == INF
    assert np.argwhere(~np.isfinite(out)).tolist() == [[3, 36], [18, 20]]


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_nothing_outside(before, dtype, fenced):
    for shape in [(3, 5), (17, 17)]:
        z, t = (fenced(array, before) for array in draw(shape, dtype))
        out, losses = fenced(np.empty_like(z), before), fenced(np.empty(shape[0], dtype), before)
        kernels.sigmoid_cross_entropy(z, t, 1.0, out, losses)
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
    loss = torch.nn.BCEWithLogitsLoss()(theirs, torch.tensor(t))
    loss.backward()
    losses, out = run(z, t, 1 / 370)
    # Terms up to 16 and a few dozen roundings; gradients below 1 / 370.
    np.testing.assert_allclose(kernels.total(losses) / 370, loss.item(), rtol=1e-14)
    np.testing.assert_allclose(out, theirs.grad.numpy(), rtol=0, atol=1e-17)
