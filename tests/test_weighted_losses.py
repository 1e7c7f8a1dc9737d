"""layers/losses.py: several outputs, each with its loss and weight."""

import numpy as np
import pytest

from jitprop.layers import CrossEntropy, Loss, Losses, MeanSquaredError, SoftmaxCrossEntropy

PARTS = (SoftmaxCrossEntropy(), MeanSquaredError(), SoftmaxCrossEntropy())
WEIGHTS = (1, 0.3, -2)


def outputs(batch=7, dtype=np.float64):
    rng = np.random.default_rng(1)
    zs = [rng.standard_normal((batch, width)).astype(dtype) for width in (4, 3, 5)]
    ts = [rng.integers(0, 4, batch), zs[1] + dtype(0.5), rng.integers(0, 5, batch)]
    return zs, ts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch", [7, 1, 0])
def test_a_weighted_sum(batch, dtype):
    zs, ts = outputs(batch, dtype)
    losses = Losses(*zip(PARTS, WEIGHTS, strict=True))
    value = losses.fprop(zs, ts)
    dzs = losses.bprop(0.25)
    rows = losses.rows(zs, ts).copy()
    apart = [type(part)() for part in PARTS]
    expected = [part.rows(z, t) for part, z, t in zip(apart, zs, ts, strict=True)]
    eps = float(np.finfo(dtype).eps)  # numbers below 10, a few roundings
    np.testing.assert_allclose(rows, np.array(WEIGHTS) @ expected, rtol=0, atol=64 * eps)
    assert type(value) is float
    assert value == pytest.approx(rows.sum(dtype=np.float64), rel=1e-14)
    assert isinstance(dzs, tuple)
    for dz, part, weight in zip(dzs, apart, WEIGHTS, strict=True):
        np.testing.assert_array_equal(dz, part.bprop(0.25 * weight), strict=True)


def test_one_loss_is_that_loss():
    zs, ts = outputs()
    one, alone = Losses((MeanSquaredError(), 1)), MeanSquaredError()
    assert one.fprop(zs[1:2], ts[1:2]) == alone.fprop(zs[1], ts[1])
    np.testing.assert_array_equal(one.bprop(0.1)[0], alone.bprop(0.1))


def test_buffers_are_reused():
    zs, ts = outputs()
    losses = Losses(*zip(PARTS, WEIGHTS, strict=True))
    rows = losses.rows(zs, ts)
    assert np.shares_memory(losses.rows([z[:3] for z in zs], [t[:3] for t in ts]), rows)


def test_they_nest():
    zs, ts = outputs()
    flat = Losses(*zip(PARTS, (1, 0.5, 0.25), strict=True))
    inner = Losses((MeanSquaredError(), 1), (SoftmaxCrossEntropy(), 0.5))
    nested = Losses((SoftmaxCrossEntropy(), 1), (inner, 0.5))
    value = nested.fprop([zs[0], zs[1:]], [ts[0], ts[1:]])
    assert value == pytest.approx(flat.fprop(zs, ts), rel=1e-14)
    dz, (dz1, dz2) = nested.bprop(1)
    for nested_dz, flat_dz in zip((dz, dz1, dz2), flat.bprop(1), strict=True):
        np.testing.assert_array_equal(nested_dz, flat_dz)  # powers of two


def test_repr():
    losses = Losses((CrossEntropy(), 1), (MeanSquaredError(), 0.5))
    assert repr(losses) == "Losses((CrossEntropy(), 1.0), (MeanSquaredError(), 0.5))"


class Own(Loss):
    def fprop(self, z, t):
        return 1.0

    def bprop(self, scale):
        return np.zeros((1, 1))


def test_refusals():
    with pytest.raises(ValueError, match="needs at least one pair"):
        Losses()
    for wrong in (MeanSquaredError(), (MeanSquaredError,), (0.5, MeanSquaredError())):
        with pytest.raises(TypeError, match=r"^Losses: argument 1 is .*, expected a pair \(loss, "):
            Losses((MeanSquaredError(), 1), wrong)
    zs, ts = outputs()
    losses = Losses((MeanSquaredError(), 1), (MeanSquaredError(), 1))
    with pytest.raises(ValueError, match=r"Losses\(.*3 outputs and 3 targets, expected 2 of each"):
        losses.fprop(zs, ts)
    with pytest.raises(RuntimeError, match=r"^MeanSquaredError\(\): bprop before fprop"):
        losses.bprop(1)
    assert Own().fprop(zs[0], ts[0]) == 1
    with pytest.raises(NotImplementedError, match=r"^Own\(\) has no rows\(z, t\), the loss of"):
        Losses((Own(), 1)).fprop(zs[:1], ts[:1])


@pytest.mark.parametrize("t", [[1], [[0.5, 0.5]]])
def test_a_hint_where_a_probability_was_0(t):
    z = np.array([[1.0, 0.0]])
    loss = CrossEntropy()
    value = loss.fprop(z, t)
    assert value == np.inf
    hint = loss.hint(value)
    assert hint.startswith(": CrossEntropy is infinite where a target class gets the probability 0")
    assert "SoftmaxCrossEntropy on the logits" in hint
    assert "\n" not in hint
    assert Losses((MeanSquaredError(), 0.5), (loss, 1.0)).hint(value) == hint
    assert np.isfinite(SoftmaxCrossEntropy().fprop(np.array([[1000.0, -1000.0]]), t))


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1.5])
def test_no_hint_where_no_probability_was_0(value):
    assert CrossEntropy().hint(value) == Losses((CrossEntropy(), 1.0)).hint(value) == ""


@pytest.mark.parametrize("loss", [MeanSquaredError(), SoftmaxCrossEntropy()])
def test_other_losses_have_no_hint(loss):
    assert loss.hint(np.inf) == Losses((loss, 1.0)).hint(np.inf) == ""
