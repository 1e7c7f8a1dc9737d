"""layers/cross_entropy.py: both losses, their gradients, and every form of targets."""

import numpy as np
import pytest

from jitprop.layers import CrossEntropy, Softmax, SoftmaxCrossEntropy, gradcheck

LOSSES = [CrossEntropy, SoftmaxCrossEntropy]


def outputs(loss, rng, batch, classes, dtype=np.float64):
    """Signed logits for the one loss, probabilities for the other."""
    z = rng.standard_normal((batch, classes))
    if loss is CrossEntropy:
        z = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return z.astype(dtype)


def reference(loss, z, t):
    z = z.astype(np.float64)
    if loss is CrossEntropy:
        return -(t * np.log(z)).sum(), -t / z
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -(t * log_p).sum(), np.exp(log_p) - t


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("batch", "classes"), [(1, 1), (1, 10), (13, 2), (6, 10)])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient(loss, batch, classes, dtype):
    rng = np.random.default_rng(1)
    z = outputs(loss, rng, batch, classes, dtype)
    labels = rng.integers(0, classes, batch)
    expected, expected_dz = reference(loss, z, np.eye(classes)[labels])
    criterion = loss()
    value = criterion.fprop(z, labels)
    assert type(value) is float
    # Terms are below 8 in size: a few roundings each, relative to the terms and not to their sum.
    eps = np.finfo(dtype).eps
    assert abs(value - expected) <= 64 * eps * batch
    dz = criterion.bprop(0.25)
    assert dz.dtype == dtype
    assert np.all(np.abs(dz - 0.25 * expected_dz) <= 32 * eps * (1 + np.abs(expected_dz)))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss):
    rng = np.random.default_rng(2)
    z = outputs(loss, rng, 3, 5)
    assert gradcheck(loss(), z, [4, 0, 2])
    soft = rng.uniform(0, 1, (3, 5))
    assert gradcheck(loss(), z, soft / soft.sum(axis=1, keepdims=True))
    assert gradcheck(loss(), z, soft.astype(np.float32))  # whatever the rows sum to


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("loss", LOSSES)
def test_class_indices_of_any_integer_type(loss, dtype):
    rng = np.random.default_rng(3)
    z = outputs(loss, rng, 4, 3, np.float32)
    labels = np.array([2, 0, 1, 2])
    criterion = loss()
    value = criterion.fprop(z, labels)
    dz = criterion.bprop(1).copy()
    assert criterion.fprop(z, labels.astype(dtype)) == value
    np.testing.assert_array_equal(criterion.bprop(1), dz)
    assert criterion.fprop(z, labels.tolist()) == value


@pytest.mark.parametrize("dtype", [np.float32, bool, np.uint8, np.int64])
@pytest.mark.parametrize("loss", LOSSES)
def test_one_hot_targets_mean_the_same_as_class_indices(loss, dtype):
    rng = np.random.default_rng(4)
    z = outputs(loss, rng, 4, 3, np.float32)
    labels = np.array([2, 0, 1, 2])
    one_hot = np.eye(3)[labels].astype(dtype)
    criterion = loss()
    value = criterion.fprop(z, labels)
    dz = criterion.bprop(0.5).copy()
    # The same terms, with zeros added in between: a few roundings of sums below 10.
    eps = float(np.finfo(np.float32).eps)
    assert criterion.fprop(z, one_hot) == pytest.approx(value, rel=8 * eps)
    np.testing.assert_allclose(criterion.bprop(0.5), dz, rtol=8 * eps, atol=4 * eps)
    assert criterion.fprop(z, np.asfortranarray(one_hot)) == pytest.approx(value, rel=8 * eps)


@pytest.mark.parametrize("loss", LOSSES)
def test_bprop_twice(loss):
    rng = np.random.default_rng(5)
    z = outputs(loss, rng, 4, 3)
    criterion = loss()
    criterion.fprop(z, [0, 1, 2, 0])
    dz = criterion.bprop(1).copy()
    # Powers of two are exact.
    np.testing.assert_array_equal(criterion.bprop(0.25), dz / 4)
    np.testing.assert_array_equal(criterion.bprop(1), dz)


def test_logits_and_softmax_first_agree():
    rng = np.random.default_rng(6)
    z = rng.standard_normal((5, 4))
    labels = rng.integers(0, 4, 5)
    on_logits, softmax, on_probabilities = SoftmaxCrossEntropy(), Softmax(), CrossEntropy()
    value = on_probabilities.fprop(softmax.fprop(z), labels)
    # Probabilities here are above 1e-3, so 1/p costs some thousand eps at most.
    assert on_logits.fprop(z, labels) == pytest.approx(value, rel=1e-12)
    dz = softmax.bprop(on_probabilities.bprop(1 / 5))
    np.testing.assert_allclose(on_logits.bprop(1 / 5), dz, atol=1e-12)


def test_logits_that_underflow_keep_their_loss():
    loss = SoftmaxCrossEntropy()
    assert loss.fprop(np.array([[0.0, 2000.0]]), [0]) == 2000
    np.testing.assert_array_equal(loss.bprop(1), [[-1, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
def test_rows(loss, dtype):
    """The loss of each row is that of the row alone; their sum, in float64, is the loss."""
    rng = np.random.default_rng(8)
    z = outputs(loss, rng, 6, 4, dtype)
    for t in (rng.integers(0, 4, 6), rng.uniform(0, 1, (6, 4)).astype(dtype)):
        criterion = loss()
        rows = criterion.rows(z, t)
        assert rows.dtype == dtype
        assert [loss().fprop(z[i : i + 1], t[i : i + 1]) for i in range(6)] == rows.tolist()
        assert criterion.fprop(z, t) == sum(rows.tolist())
        assert np.shares_memory(criterion.rows(z[:2], t[:2]), rows)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_empty_batch_has_no_loss(loss):
    criterion = loss()
    assert criterion.fprop(np.zeros((0, 3), np.float32), np.zeros(0, np.uint8)) == 0
    assert criterion.bprop(1).shape == (0, 3)


@pytest.mark.parametrize("loss", LOSSES)
def test_buffers_are_reused_for_shorter_batches(loss):
    rng = np.random.default_rng(7)
    z = outputs(loss, rng, 6, 3)
    criterion = loss()
    criterion.fprop(z, [0, 1, 2, 0, 1, 2])
    whole = criterion.bprop(1)
    expected = whole[:2].copy()
    criterion.fprop(z[:2], [0, 1])
    short = criterion.bprop(1)
    assert np.shares_memory(short, whole)
    np.testing.assert_array_equal(short, expected)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("t", "error", "message"),
    [
        (
            [0, 1],
            ValueError,
            r"t has shape \(2,\), expected \(4,\) or \(4, 3\) for z of shape \(4, 3\)",
        ),
        (np.zeros((4, 1), int), ValueError, r"t has shape \(4, 1\)"),
        (np.zeros((4, 2)), ValueError, r"t has shape \(4, 2\)"),
        (2, ValueError, r"t has shape \(\)"),
        (np.zeros(4), TypeError, "t is float64, class indices must be integers"),
        (np.zeros(4, bool), TypeError, "t is bool, class indices must be integers"),
        (np.zeros((4, 3)), TypeError, "t is float64, z is float32"),
    ],
)
def test_wrong_targets(loss, t, error, message):
    with pytest.raises(error, match=rf"^{loss.__name__}\(\): {message}"):
        loss().fprop(np.full((4, 3), 0.5, np.float32), t)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("label", [-1, 3])
def test_class_indices_out_of_range(loss, label):
    with pytest.raises(ValueError, match="label"):
        loss().fprop(np.full((4, 3), 0.5, np.float32), [0, 1, label, 2])


@pytest.mark.parametrize("loss", LOSSES)
def test_wrong_outputs(loss):
    with pytest.raises(ValueError, match=r"z has shape \(3,\), expected \(batch, features\)"):
        loss().fprop(np.zeros(3, np.float32), [0])
    with pytest.raises(TypeError, match="z is int64, expected float32 or float64"):
        loss().fprop(np.zeros((1, 3), int), [0])
    with pytest.raises(RuntimeError, match=rf"{loss.__name__}\(\): bprop before fprop"):
        loss().bprop(1)


def test_label_smoothing():
    rng = np.random.default_rng(8)
    z, labels = rng.standard_normal((6, 5)), rng.integers(0, 5, 6)
    loss, plain = SoftmaxCrossEntropy(label_smoothing=0.2), SoftmaxCrossEntropy()
    targets = 0.8 * np.eye(5)[labels] + 0.04
    np.testing.assert_allclose(loss.fprop(z, labels), plain.fprop(z, targets), rtol=1e-14)
    np.testing.assert_allclose(loss.bprop(0.5), plain.bprop(0.5), rtol=0, atol=1e-15)
    assert gradcheck(loss, z, labels)
    assert repr(loss) == "SoftmaxCrossEntropy(label_smoothing=0.2)"
    assert repr(plain) == "SoftmaxCrossEntropy()"
    alike = SoftmaxCrossEntropy(label_smoothing=1).fprop(z, labels)  # 1 is a share, too
    np.testing.assert_allclose(alike, plain.fprop(z, np.full((6, 5), 0.2)), rtol=1e-14)


def test_label_smoothing_refuses():
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=f"label smoothing must be from 0 to 1, not {wrong}"):
            SoftmaxCrossEntropy(wrong)
    with pytest.raises(ValueError, match=r"t has shape \(2, 3\), expected class indices"):
        SoftmaxCrossEntropy(0.1).fprop(np.zeros((2, 3)), np.eye(3)[:2])
