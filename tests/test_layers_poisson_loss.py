"""layers/poisson_loss.py: the loss, its gradient, its targets, and training with it."""

import numpy as np
import pytest
import reference

from jitprop.layers import (
    Graph,
    Input,
    Linear,
    Losses,
    MeanSquaredError,
    PoissonLoss,
    Sequential,
    Tanh,
    gradcheck,
)
from jitprop.training import DivergedError, fit, predict, weights_sha256


def draw(shape, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(dtype), rng.poisson(2, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (6, 10), (13, 2), (0, 3)])
def test_loss_and_gradient(shape, dtype):
    z, t = draw(shape, dtype)
    loss = PoissonLoss()
    value = loss.fprop(z, t)
    assert type(value) is float
    expected = reference.poisson_loss(z, t).astype(float)
    eps = float(np.finfo(dtype).eps)  # tens of roundings of terms that are below 20
    assert value == pytest.approx(expected.sum(), abs=200 * eps * shape[0])
    gradient = reference.poisson_loss_bprop(z, t, 0.25).astype(float)
    np.testing.assert_allclose(loss.bprop(0.25), gradient, rtol=0, atol=64 * eps)
    rows = loss.rows(z, t)
    assert rows.dtype == dtype
    np.testing.assert_allclose(rows, expected, rtol=0, atol=200 * eps)


def test_the_formula_of_scikit_learn():
    """Half of its mean_poisson_deviance; for one output, the loss "poisson" of MLPRegressor."""
    z, t = draw((7, 3))
    rate = np.exp(z)
    deviance = np.where(t == 0, 0, t * np.log(np.where(t == 0, 1, t) / rate)) - t + rate
    loss = PoissonLoss()
    assert loss.fprop(z, t) / 7 == pytest.approx(deviance.mean(), rel=1e-13)
    np.testing.assert_allclose(loss.bprop(1 / 7), (rate - t) / 21, rtol=1e-13, atol=1e-15)


def test_the_loss_is_nothing_at_the_count():
    t = np.array([[0.5, 1, 2, 100]])
    loss = PoissonLoss()
    assert loss.fprop(np.log(t), t) == pytest.approx(0, abs=1e-13)
    assert loss.fprop(np.array([[-np.inf]]), [[0]]) == 0
    for z in (np.log(t) - 0.1, np.log(t) + 0.1):
        assert loss.fprop(z, t) > 0.1


def test_gradients():
    z, t = draw((3, 4))
    assert gradcheck(PoissonLoss(), z, t)
    assert gradcheck(PoissonLoss(), z, t + 0.25)
    assert gradcheck(Losses((PoissonLoss(), 0.5), (MeanSquaredError(), 1)), (z, z), (t, t))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_targets_of_whole_numbers(dtype):
    (z, _), t = draw((4, 3)), np.array([[0, 1, 1]] * 4, dtype)
    loss = PoissonLoss()
    value = loss.fprop(z, t.astype(np.float64))
    assert loss.fprop(z, t) == loss.fprop(z, t.tolist()) == value
    assert loss.fprop(z, np.asfortranarray(t)) == value


def test_buffers_are_reused():
    z = np.full((6, 3), 0.5, np.float32)
    loss = PoissonLoss()
    rows, dz = loss.rows(z, z), loss.bprop(1)
    assert np.shares_memory(loss.rows(z[:2], z[:2]), rows)
    assert np.shares_memory(loss.bprop(1), dz)
    dz = loss.bprop(1).copy()
    np.testing.assert_array_equal(loss.bprop(0.25), dz / 4)  # powers of two are exact


def test_refusals():
    loss, z = PoissonLoss(), np.zeros((4, 1), np.float32)
    with pytest.raises(RuntimeError, match=r"^PoissonLoss\(\): bprop before fprop"):
        loss.bprop(1)
    match = r"^PoissonLoss\(\): t has shape \(4,\), expected \(4, 1\), that of z"
    with pytest.raises(ValueError, match=match):
        loss.fprop(z, np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="t is float64, z is float32: convert one with astype"):
        loss.fprop(z, np.zeros((4, 1)))
    for wrong in ([[3], [-2], [0], [1]], np.float32([[3], [-0.5], [0], [1]])):
        with pytest.raises(ValueError, match=r"^PoissonLoss\(\): t holds -\S+, expected 0 or more"):
            loss.fprop(z, wrong)
    assert np.isnan(loss.fprop(z, np.full_like(z, np.nan)))
    assert loss.fprop(z[:0], z[:0]) == 0


RNG = np.random.default_rng(5)
X = RNG.standard_normal((2000, 3)).astype(np.float32)
LOG_RATES = X @ np.array([0.5, -1, 0.25]) + 1
COUNTS = RNG.poisson(np.exp(LOG_RATES))


def test_training_finds_the_rates():
    """A linear network is a Poisson regression: at its end, the gradient of the mean is 0."""
    net = Linear(3, 1, 0, np.float64)
    x = X.astype(np.float64)
    history = fit(net, PoissonLoss(), x, COUNTS, epochs=200, batch_size=2000, rate=0.1, rng=0)
    np.testing.assert_allclose(net.w.ravel(), [0.5, -1, 0.25], atol=0.05)  # 2,000 draws
    np.testing.assert_allclose(net.b, [1], atol=0.05)
    assert history[-1].train_loss < history[0].train_loss / 2
    assert history[-1].train_errors is None
    rates = np.exp(predict(net, x)[:, 0])
    np.testing.assert_allclose((rates - COUNTS).mean(), 0, atol=1e-6)


def test_recorded_as_layer_by_layer():
    """Against the loop of slide 12, typed out: the same bits."""
    net, twin = (Sequential(Linear(3, 8, 0), Tanh(), Linear(8, 1, 1)) for _ in range(2))
    t, loss = COUNTS.astype(np.float32)[:, None], PoissonLoss()
    fit(net, loss, X, COUNTS, epochs=1, batch_size=50, rate=0.01, rng=1)
    order = np.random.default_rng(1).permutation(2000)
    for first in range(0, 2000, 50):
        index = order[first : first + 50]
        loss.fprop(twin.fprop(X[index]), t[index])
        twin.bprop(loss.bprop(1 / 50), need_dx=False)
        twin.update(0.01)
    assert weights_sha256(net) == weights_sha256(twin)


def test_targets_that_fit_refuses():
    with pytest.raises(ValueError, match=r"^t holds -1, expected 0 or more for PoissonLoss\(\)$"):
        fit(Linear(3, 1, 0), PoissonLoss(), X, COUNTS - 1, epochs=1, batch_size=50, rate=0.1)
    sets = {"test": (X, -0.5 * COUNTS)}
    with pytest.raises(ValueError, match=r"^test: t holds -\S+, expected 0 or more for Poisson"):
        fit(Linear(3, 1, 0), PoissonLoss(), X, COUNTS, epochs=1, batch_size=50, rate=0.1, **sets)
    x = Input(3)
    net = Graph(x, [Linear(3, 1, 0)(x), Linear(3, 1, 1)(x)])
    loss = Losses((MeanSquaredError(), 1), (PoissonLoss(), 1))
    with pytest.raises(ValueError, match="t1 holds -1, expected 0 or more for PoissonLoss"):
        fit(net, loss, X, (COUNTS - 1, COUNTS - 1), epochs=1, batch_size=50, rate=0.1)


def test_rates_beyond_the_dtype_are_told():
    with pytest.raises(DivergedError, match=r"exp\(z\), the rate, is too large for the dtype"):
        fit(Linear(3, 1, 0), PoissonLoss(), X, COUNTS, epochs=9, batch_size=50, rate=50)
