"""kernels/cross_entropy.py: the loss of probabilities, and its gradient; labels and targets."""

import numpy as np
import pytest
import reference
from plain import cut
from reference import assert_same_bits, assert_ulps, assert_within, eps, one_hot

from jitprop import kernels

FLOATS = (np.float32, np.float64)
SHAPES = [(1, 1), (3, 10), (16, 16), (17, 15), (5, 33), (211, 113), (0, 10)]
SHAPES = cut(SHAPES, 5, 200)
every_dtype = pytest.mark.parametrize("dtype", FLOATS)
every_shape = pytest.mark.parametrize("shape", SHAPES)


def draw(shape, dtype):
    """Probabilities, labels, and soft targets with zeros among them."""
    rng = np.random.default_rng(1)
    p = reference.softmax(3 * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, shape[1], shape[0])
    targets = rng.random(shape).astype(dtype) * (rng.random(shape) < 0.7)
    return p, labels, targets


def cross_entropy(p, labels):
    losses = np.full(len(p), 7, p.dtype)
    kernels.cross_entropy_fprop(p, labels, losses)
    return kernels.total(losses)


@every_dtype
@every_shape
def test_loss_of_labels(shape, dtype, guarded):
    p, labels, _ = map(guarded, draw(shape, dtype))
    loss = cross_entropy(p, labels)
    assert isinstance(loss, float)
    # Each -log is within 1 ulp (2 for float64), at most an eps (two) of itself. The sum is in
    # float64: batch roundings, in the reference as well, that only count for float64.
    losses = reference.cross_entropy(p, one_hot(labels, shape[1]))
    bound = 1 if dtype == np.float32 else 3 + shape[0]
    assert_within(loss, losses.sum(), eps(dtype) * losses.sum(), bound * 1.01)


@every_dtype
@every_shape
def test_loss_of_targets(shape, dtype, guarded):
    p, _, targets = map(guarded, draw(shape, dtype))
    loss = cross_entropy(p, targets)
    # A log of 1 or 2 ulps, a product, n/16 + 4 sums of half an eps; then as for labels.
    losses = reference.cross_entropy(p, targets)
    bound = 3 + (shape[1] / 16 + 4) / 2 + (shape[0] if dtype == np.float64 else 0)
    assert_within(loss, losses.sum(), eps(dtype) * losses.sum(), bound)


@every_dtype
@every_shape
@pytest.mark.parametrize("scale", [1, 0.25, -2.0])
def test_gradient(scale, shape, dtype, guarded):
    p, labels, targets = map(guarded, draw(shape, dtype))
    out = guarded(np.full(shape, 7, dtype))
    kernels.cross_entropy_bprop(p, labels, scale, out)
    expected = reference.cross_entropy_bprop(p, one_hot(labels, shape[1]), scale)
    assert_ulps(out, expected, 0.51)  # one division; these scales are exact
    kernels.cross_entropy_bprop(p, targets, scale, out)
    assert_ulps(out, reference.cross_entropy_bprop(p, targets, scale), 0.51)
    in_place = p.copy()
    kernels.cross_entropy_bprop(in_place, targets, scale, in_place)
    assert_same_bits(in_place, out)
    in_place = p.copy()
    kernels.cross_entropy_bprop(in_place, labels, scale, in_place)
    kernels.cross_entropy_bprop(p, labels, scale, out)
    assert_same_bits(in_place, out)


@every_dtype
def test_any_scale(dtype):
    p, labels, _ = draw((100, 10), dtype)
    out = np.empty_like(p)
    kernels.cross_entropy_bprop(p, labels, 1 / 100, out)
    # The scale is rounded to the dtype, then a division and a product: half an eps each.
    expected = reference.cross_entropy_bprop(p, one_hot(labels, 10), 1 / 100)
    assert_within(out, expected, eps(dtype) * np.abs(expected), 2)


@every_dtype
def test_one_hot_targets_are_labels(dtype):
    p, labels, _ = draw((33, 21), dtype)
    targets = one_hot(labels, 21).astype(dtype)
    by_label, by_target = np.empty_like(p), np.empty_like(p)
    kernels.cross_entropy_bprop(p, labels, 0.5, by_label)
    kernels.cross_entropy_bprop(p, targets, 0.5, by_target)
    assert_same_bits(by_label, by_target)
    assert cross_entropy(p, labels) == cross_entropy(p, targets)


@every_dtype
def test_impossible_classes(dtype):
    """log 0 is -inf and 1 / 0 infinite where there is weight, and costs nothing where not."""
    p = np.array([[0, 1, 0], [0.5, 0, 0.5]], dtype)
    sure = np.array([[0, 1, 0], [0, 0, 1]], dtype)
    assert cross_entropy(p[:1], np.array([1])) == 0
    assert cross_entropy(p, np.array([0, 1])) == np.inf
    log_2 = -np.log(0.5)
    assert_ulps(dtype(cross_entropy(p, sure)), log_2, 2)
    assert cross_entropy(p, 1 - sure) == np.inf
    out = np.empty_like(p)
    kernels.cross_entropy_bprop(p, np.array([1, 2]), 1.0, out)
    assert_same_bits(out, np.array([[0, -1, 0], [0, 0, -2]], dtype))
    kernels.cross_entropy_bprop(p, sure, 1.0, out)
    assert_same_bits(out, np.array([[0, -1, 0], [0, 0, -2]], dtype))
    kernels.cross_entropy_bprop(p, np.array([0, 1]), 1.0, out)
    assert_same_bits(out, np.array([[-np.inf, 0, 0], [0, -np.inf, 0]], dtype))


@every_dtype
def test_subnormal_probabilities(dtype):
    tiny = float(np.finfo(dtype).smallest_subnormal)
    loss = cross_entropy(np.array([[tiny, 1]], dtype), np.array([0]))
    assert_ulps(dtype(loss), -np.log(tiny), 2)


@every_dtype
def test_a_loss_for_each_row_and_nothing_else(dtype, guarded):
    p, labels, targets = draw((37, 5), dtype)
    for t in (labels, targets):
        losses = guarded(np.full(37, 7, dtype))
        kernels.cross_entropy_fprop(p, t, losses)
        for i in range(37):
            assert losses[i] == cross_entropy(p[i : i + 1], t[i : i + 1])


@every_dtype
def test_nan_stays_in_its_row(dtype):
    p = np.full((3, 5), 0.2, dtype)
    p[1, 2] = np.nan
    assert np.isnan(cross_entropy(p, np.array([2, 2, 2])))
    assert np.isfinite(cross_entropy(p, np.array([2, 3, 2])))
    out = np.empty_like(p)
    kernels.cross_entropy_bprop(p, np.array([2, 2, 2]), 1.0, out)
    assert np.argwhere(np.isnan(out)).tolist() == [[1, 2]]
    targets = np.ones_like(p)
    assert np.isnan(cross_entropy(p, targets))
    kernels.cross_entropy_bprop(p, targets, 1.0, out)
    assert np.argwhere(np.isnan(out)).tolist() == [[1, 2]]


@every_dtype
@pytest.mark.parametrize("before", [False, True])
def test_no_read_outside(before, dtype, fenced):
    for shape in [(3, 5), (17, 17)]:
        p, labels, targets = (fenced(array, before) for array in draw(shape, dtype))
        out = fenced(np.empty(shape, dtype), before)
        for t in (labels, targets):
            assert np.isfinite(cross_entropy(p, t))
            kernels.cross_entropy_bprop(p, t, 1.0, out)
            assert np.isfinite(out).all()
