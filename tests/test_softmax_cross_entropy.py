"""kernels/softmax_cross_entropy.py: the loss of logits with its gradient; labels and targets."""

import numpy as np
import pytest
import reference
from plain import cut
from reference import assert_same_bits, assert_ulps, assert_within, eps, one_hot

from jitprop import kernels

FLOATS = (np.float32, np.float64)
SHAPES = [(1, 1), (3, 10), (16, 16), (17, 15), (5, 33), (211, 113), (2, 10000), (0, 10)]
SHAPES = cut(SHAPES, 5, 200)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)
every_shape = pytest.mark.parametrize("shape", SHAPES)


def draw(shape, dtype, spread=3):
    rng = np.random.default_rng(1)
    logits = (spread * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    targets = rng.random(shape).astype(dtype) * (rng.random(shape) < 0.7)
    return logits, labels, targets


def softmax_cross_entropy(logits, labels, scale, out):
    """Writes the gradient to `out`, returns the loss of the whole batch."""
    losses = np.full(len(logits), 7, logits.dtype)
    kernels.softmax_cross_entropy(logits, labels, scale, out, losses)
    return kernels.total(losses)


def assert_right(logits, targets, scale, loss, out):
    """Loss and gradient, for labels as well in the form of targets.

    With gap = max - z: exp is off by 1 ulp (2 for float64) and by half an eps of its rounded
    argument; the sum of n of them by n/16 + 4 more roundings; log, 1 ulp of about log(n), adds
    little to what its argument brings. All of that is relative to 1 in log(sum), so the loss of a
    row is off by eps * (what the sum is off by, relatively, + |gap| + log n), times its weight;
    the gradient by eps * (the same) of softmax, and the difference to the target. The float64
    reference has errors of this kind itself.
    """
    dtype = logits.dtype
    n = logits.shape[1]
    weight = targets.sum(axis=1, keepdims=True, dtype=np.float64)
    with np.errstate(all="ignore"):
        gap = logits.max(axis=1, keepdims=True) - logits.astype(np.float64)
    y = reference.softmax(logits)
    mean_gap = np.where(y == 0, 0, y * np.where(y == 0, 0, gap)).sum(axis=1, keepdims=True)
    total = 4 + mean_gap + (n / 16 + 4) / 2
    row = reference.weighted(targets, gap + total + np.log(n)).sum(axis=1)
    terms = (n / 16 + 4) / 2  # roundings of the sum over targets
    bound = 2 * (1 + terms) + (len(logits) if dtype == np.float64 else 0)
    losses = reference.softmax_cross_entropy(logits, targets)
    assert_within(loss, losses.sum(), eps(dtype) * row.sum(), bound)

    expected = reference.softmax_cross_entropy_bprop(logits, targets, scale)
    unit = y * (4 + np.where(y == 0, 0, gap) + total + terms) * weight + targets
    unit = eps(dtype) * abs(scale) * unit + float(np.finfo(dtype).smallest_subnormal)
    assert_within(out, expected, unit, 2)


@every_dtype
@every_shape
@pytest.mark.parametrize("scale", [1, 0.01])
def test_labels(scale, shape, dtype, guarded):
    logits, labels, _ = map(guarded, draw(shape, dtype))
    out = guarded(np.full(shape, 7, dtype))
    loss = softmax_cross_entropy(logits, labels, scale, out)
    assert isinstance(loss, float)
    assert_right(logits, one_hot(labels, shape[1]), scale, loss, out)


@every_dtype
@every_shape
@pytest.mark.parametrize("scale", [1, 0.01])
def test_targets(scale, shape, dtype, guarded):
    logits, _, targets = map(guarded, draw(shape, dtype))
    out = guarded(np.full(shape, 7, dtype))
    loss = softmax_cross_entropy(logits, targets, scale, out)
    assert_right(logits, targets, scale, loss, out)


@every_dtype
def test_is_softmax_then_cross_entropy(dtype):
    """p - onehot has the bits of softmax_fprop's p."""
    logits, labels, _ = draw((50, 21), dtype)
    out, p = np.empty_like(logits), np.empty_like(logits)
    softmax_cross_entropy(logits, labels, 1.0, out)
    kernels.softmax_fprop(logits, p)
    assert_same_bits(out, p - one_hot(labels, 21).astype(dtype))


@every_dtype
def test_gradient_of_a_row_sums_to_nothing(dtype):
    logits, labels, _ = draw((50, 33), dtype)
    out = np.empty_like(logits)
    softmax_cross_entropy(logits, labels, 1.0, out)
    # 33 probabilities that sum to 1, each off by some eps of itself.
    assert_within(out.sum(axis=1, dtype=np.float64), np.zeros(50), eps(dtype), 20)


@every_dtype
def test_extreme_logits(dtype):
    """±1e4, equal logits and -inf: finite where the formula is."""
    x = np.array(
        [
            [1e4, -1e4, 0, 1e4],
            [-1e4, -1e4, -1e4, -1e4],
            [3, 3, 3, 3],
            [0, -np.inf, 0, -np.inf],
            [-np.inf, 7, -np.inf, -np.inf],
            [-80, -100, 0, -90],
        ],
        dtype,
    )
    labels = np.array([1, 3, 0, 2, 1, 1])
    out = np.empty_like(x)
    loss = softmax_cross_entropy(x, labels, 1.0, out)
    assert_right(x, one_hot(labels, 4), 1.0, loss, out)
    targets = one_hot(labels, 4).astype(dtype)
    assert_right(x, targets, 1.0, softmax_cross_entropy(x, targets, 1.0, out), out)
    one = np.array([1e4, -1e4], dtype)[None, :]
    assert softmax_cross_entropy(one, np.array([1]), 1.0, np.empty_like(one)) == 2e4
    assert softmax_cross_entropy(one, np.array([0]), 1.0, np.empty_like(one)) == 0


@every_dtype
def test_impossible_label(dtype):
    """A label whose logit is -inf costs infinity; its gradient is finite."""
    x = np.array([[0, -np.inf, 0]], dtype)
    out = np.empty_like(x)
    for t in (np.array([1]), np.array([[0, 1, 0]], dtype)):
        assert softmax_cross_entropy(x, t, 1.0, out) == np.inf
        assert_same_bits(out, np.array([[0.5, -1, 0.5]], dtype))


@every_dtype
@pytest.mark.parametrize("n", [3, 21])
def test_nan_stays_in_its_row(n, dtype):
    for place in (0, n - 1):
        x, labels, targets = draw((3, n), dtype)
        for t in (labels, targets + dtype(0.1)):
            clean, out = np.empty_like(x), np.empty_like(x)
            softmax_cross_entropy(x, t, 1.0, clean)
            bad = x.copy()
            bad[1, place] = np.nan
            assert np.isnan(softmax_cross_entropy(bad, t, 1.0, out))
            assert np.isnan(out[1]).all()
            assert_same_bits(out[::2], clean[::2])


@every_dtype
def test_loss_is_a_sum_over_the_batch(dtype):
    logits, labels, _ = draw((40, 10), dtype)
    out = np.empty_like(logits)
    whole = softmax_cross_entropy(logits, labels, 1.0, out)
    row = np.empty((1, 10), dtype)
    rows = [
        softmax_cross_entropy(logits[i : i + 1], labels[i : i + 1], 1.0, row) for i in range(40)
    ]
    assert whole == sum(rows)  # the rows are summed in their order, in float64
    assert_same_bits(row, out[39:])
    assert_ulps(np.float64(np.mean(rows)), whole / 40, 2)


@every_dtype
def test_a_loss_for_each_row_and_nothing_else(dtype, guarded):
    logits, labels, targets = draw((37, 5), dtype)
    for t in (labels, targets):
        losses, out = guarded(np.full(37, 7, dtype)), np.empty_like(logits)
        kernels.softmax_cross_entropy(logits, t, 1.0, out, losses)
        for i in range(37):
            row = slice(i, i + 1)
            assert losses[i] == softmax_cross_entropy(logits[row], t[row], 1.0, out[row])


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, dtype, fenced):
    for shape in [(3, 5), (17, 17)]:
        logits, labels, targets = (fenced(array, before) for array in draw(shape, dtype))
        out = fenced(np.empty(shape, dtype), before)
        for t in (labels, targets):
            assert np.isfinite(softmax_cross_entropy(logits, t, 1.0, out))
            assert np.isfinite(out).all()


def smoothed(labels, n, smoothing):
    """Targets of smoothed labels: Szegedy et al., 2016, section 7."""
    return (1 - smoothing) * one_hot(labels, n) + smoothing / n


@every_dtype
@every_shape
@pytest.mark.parametrize("smoothing", [0, 0.1, 1])
def test_smoothed_labels(smoothing, shape, dtype, guarded):
    """The bound for targets holds: as many terms, of the same sizes, are added."""
    logits, labels, _ = map(guarded, draw(shape, dtype))
    out, losses = guarded(np.full(shape, 7, dtype)), guarded(np.full(shape[0], 7, dtype))
    kernels.smoothed_cross_entropy(logits, labels, smoothing, 0.01, out, losses)
    targets = smoothed(labels, shape[1], smoothing)
    assert_right(logits, targets, 0.01, kernels.total(losses), out)


@every_dtype
def test_smoothed_labels_of_extreme_logits(dtype):
    x = np.array([[1e4, -1e4, 0], [3, 3, 3], [-80, -100, 0]], dtype)
    labels, out, losses = np.array([1, 0, 2]), np.empty_like(x), np.empty(3, dtype)
    kernels.smoothed_cross_entropy(x, labels, 0.3, 1.0, out, losses)
    assert_right(x, smoothed(labels, 3, 0.3), 1.0, kernels.total(losses), out)
    x = np.array([[0, -np.inf, 0], [0, np.nan, 0], [1, 2, 3]], dtype)
    kernels.smoothed_cross_entropy(x, labels, 0.3, 1.0, out, losses)
    assert losses[0] == np.inf  # every class has a share of the target, the impossible one as well
    assert np.isfinite(out[0]).all()
    assert np.isnan(losses[1])
    assert np.isnan(out[1]).all()
    assert np.isfinite(losses[2])


@every_dtype
def test_a_share_of_nothing_is_nothing(dtype):
    logits, labels, _ = draw((37, 21), dtype)
    out, losses, plain, plain_losses = (np.empty(n, dtype) for n in ((37, 21), 37) * 2)
    kernels.smoothed_cross_entropy(logits, labels, 0, 0.01, out, losses)
    kernels.softmax_cross_entropy(logits, labels, 0.01, plain, plain_losses)
    assert_same_bits(out, plain)
    assert_same_bits(losses, plain_losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_pytorch_smooths_labels_alike(smoothing):
    torch = pytest.importorskip("torch")
    logits, labels, _ = draw((37, 10), np.float64)
    z = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(z, torch.tensor(labels))
    loss.backward()
    out, losses = np.empty_like(logits), np.empty(37)
    kernels.smoothed_cross_entropy(logits, labels, smoothing, 1 / 37, out, losses)
    # Losses are below 16, gradients below 1, both of a few dozen roundings.
    np.testing.assert_allclose(kernels.total(losses) / 37, loss.item(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(out, z.grad.numpy(), rtol=0, atol=1e-15)


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside_with_smoothed_labels(before, dtype, fenced):
    for shape in [(3, 5), (17, 17)]:
        logits, labels, _ = (fenced(array, before) for array in draw(shape, dtype))
        out, losses = (fenced(np.empty(n, dtype), before) for n in (shape, shape[0]))
        kernels.smoothed_cross_entropy(logits, labels, 0.1, 1.0, out, losses)
        assert np.isfinite(losses).all()
