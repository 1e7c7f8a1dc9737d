"""layers/sigmoid_cross_entropy.py: the loss, its gradient, its targets, and training with it."""

import numpy as np
import pytest
import reference

from jitprop.layers import (
    Linear,
    Losses,
    MeanSquaredError,
    Sequential,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Tanh,
    gradcheck,
)
from jitprop.training import evaluate, fit, mlp, predict, weights_sha256


def draw(shape, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(dtype), rng.random(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (6, 10), (13, 2), (0, 3)])
def test_loss_and_gradient(shape, dtype):
    z, t = draw(shape, dtype)
    loss = SigmoidCrossEntropy()
    value = loss.fprop(z, t)
    assert type(value) is float
    expected = reference.sigmoid_cross_entropy(z, t).astype(float)
    eps = float(np.finfo(dtype).eps)  # tens of roundings of positive terms
    assert value == pytest.approx(expected.sum(), rel=16 * eps)
    gradient = reference.sigmoid_cross_entropy_bprop(z, t, 0.25).astype(float)
    np.testing.assert_allclose(loss.bprop(0.25), gradient, rtol=0, atol=4 * eps)
    rows = loss.rows(z, t)
    assert rows.dtype == dtype
    np.testing.assert_allclose(rows, expected, rtol=16 * eps)


def test_the_formula_of_scikit_learn():
    """binary_log_loss of its MLPClassifier: the sum over labels, the mean over the batch."""
    z, _ = draw((7, 5))
    t = np.random.default_rng(2).integers(0, 2, (7, 5))
    p = 1 / (1 + np.exp(-z))
    expected = -(np.log(p)[t == 1].sum() + np.log(1 - p)[t == 0].sum()) / 7
    loss = SigmoidCrossEntropy()
    assert loss.fprop(z, t) / 7 == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(loss.bprop(1 / 7), (p - t) / 7, rtol=1e-13)


def test_two_classes_are_one_output():
    """The softmax of 0 and z is the sigmoid of z."""
    z, _ = draw((9, 1))
    labels = np.random.default_rng(3).integers(0, 2, 9)
    one, two = SigmoidCrossEntropy(), SoftmaxCrossEntropy()
    value = two.fprop(np.hstack([np.zeros_like(z), z]), labels)
    assert one.fprop(z, labels[:, None]) == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(one.bprop(0.5)[:, 0], two.bprop(0.5)[:, 1], rtol=1e-13)


def test_gradients():
    z, t = draw((3, 4))
    assert gradcheck(SigmoidCrossEntropy(), z, t)
    assert gradcheck(SigmoidCrossEntropy(), z, t < 0.5)
    assert gradcheck(Losses((SigmoidCrossEntropy(), 0.5), (MeanSquaredError(), 1)), (z, z), (t, t))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_targets_of_whole_numbers(dtype):
    (z, _), t = draw((4, 3)), np.array([[0, 1, 1]] * 4, dtype)
    loss = SigmoidCrossEntropy()
    value = loss.fprop(z, t.astype(np.float64))
    assert loss.fprop(z, t) == loss.fprop(z, t.tolist()) == value
    assert loss.fprop(z, np.asfortranarray(t)) == value


def test_large_logits_keep_their_loss_and_their_gradient():
    loss = SigmoidCrossEntropy()
    assert loss.fprop(np.array([[-2000.0, 2000.0, 3000.0]]), [[1, 0, 1]]) == 4000
    np.testing.assert_array_equal(loss.bprop(1), [[-1, 1, 0]])
    z = np.array([[40.0]], np.float32)  # whose sigmoid is rounded to 1
    assert loss.fprop(z, [[1]]) == pytest.approx(np.exp(-40), rel=1e-6)
    assert loss.bprop(1)[0, 0] == pytest.approx(-np.exp(-40), rel=1e-6)


def test_buffers_are_reused():
    z = np.full((6, 3), 0.5, np.float32)
    loss = SigmoidCrossEntropy()
    rows, dz = loss.rows(z, z), loss.bprop(1)
    assert np.shares_memory(loss.rows(z[:2], z[:2]), rows)
    assert np.shares_memory(loss.bprop(1), dz)
    dz = loss.bprop(1).copy()
    np.testing.assert_array_equal(loss.bprop(0.25), dz / 4)  # powers of two are exact


def test_refusals():
    loss, z = SigmoidCrossEntropy(), np.zeros((4, 1), np.float32)
    with pytest.raises(RuntimeError, match=r"^SigmoidCrossEntropy\(\): bprop before fprop"):
        loss.bprop(1)
    match = r"^SigmoidCrossEntropy\(\): t has shape \(4,\), expected \(4, 1\), that of z"
    with pytest.raises(ValueError, match=match):
        loss.fprop(z, np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="t is float64, z is float32: convert one with astype"):
        loss.fprop(z, np.zeros((4, 1)))
    for wrong, said in ((-1, "-1"), (2, "2"), (1.5, "1.5")):
        t = np.zeros((4, 1), type(wrong)) if isinstance(wrong, int) else np.zeros_like(z)
        t[2] = wrong
        match = rf"^SigmoidCrossEntropy\(\): t holds {said}, expected 0 to 1$"
        with pytest.raises(ValueError, match=match):
            loss.fprop(z, t)
    assert np.isnan(loss.fprop(z, np.full_like(z, np.nan)))


RNG = np.random.default_rng(5)
X = RNG.standard_normal((600, 4)).astype(np.float32)
LABELS = np.stack([X[:, 0] > 0, X[:, 1] * X[:, 2] > 0, X[:, 3] > X[:, 0]], axis=1)
SETTINGS = {"epochs": 40, "batch_size": 25, "optimizer": "adam", "rate": 0.01, "rng": 1}


def test_training_learns_several_labels_at_once():
    net = mlp(4, [32], 3, 0)
    history = fit(net, SigmoidCrossEntropy(), X, LABELS, **SETTINGS)
    assert history[-1].train_loss < 0.3 < 1.9 < history[0].train_loss + 0.3  # 3 log 2 is 2.08
    assert history[-1].train_errors is None
    right = (predict(net, X) > 0) == LABELS
    assert right.mean() > 0.95
    loss = evaluate(net, SigmoidCrossEntropy(), X, LABELS).loss
    p = Sigmoid().fprop(predict(net, X)).astype(np.float64)
    expected = -np.log(np.where(LABELS, p, 1 - p)).sum() / 600
    assert loss == pytest.approx(expected, rel=1e-4)  # p is rounded to float32


def test_recorded_as_layer_by_layer():
    """Against the loop of slide 12, typed out: the same bits."""
    net, twin = (Sequential(Linear(4, 8, 0), Tanh(), Linear(8, 3, 1)) for _ in range(2))
    t, loss = LABELS.astype(np.float32), SigmoidCrossEntropy()
    fit(net, loss, X, LABELS, epochs=1, batch_size=25, rate=0.1, rng=1)
    order = np.random.default_rng(1).permutation(600)
    for first in range(0, 600, 25):
        index = order[first : first + 25]
        loss.fprop(twin.fprop(X[index]), t[index])
        twin.bprop(loss.bprop(1 / 25), need_dx=False)
        twin.update(0.1)
    assert weights_sha256(net) == weights_sha256(twin)


def test_targets_that_fit_refuses():
    with pytest.raises(ValueError, match=r"^t holds 2, expected 0 to 1 for SigmoidCrossEntropy"):
        fit(mlp(4, [], 3, 0), SigmoidCrossEntropy(), X, LABELS * 2, **SETTINGS)
    with pytest.raises(ValueError, match=r"^validation: t holds -1, expected 0 to 1"):
        fit(mlp(4, [], 3, 0), SigmoidCrossEntropy(), X, LABELS, validation=(X, LABELS * -1.0),
            **SETTINGS)  # fmt: skip
    with pytest.raises(ValueError, match=r"^t has shape \(600,\), expected \(n, 3\)"):
        fit(mlp(4, [], 3, 0), SigmoidCrossEntropy(), X, LABELS[:, 0], **SETTINGS)
