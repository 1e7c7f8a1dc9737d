"""layers/weighted.py: every loss with a weight for each row."""

import copy

import numpy as np
import pytest
import reference

from jitprop import kernels
from jitprop.layers import (
    CrossEntropy,
    Loss,
    Losses,
    MeanSquaredError,
    PoissonLoss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Weighted,
    gradcheck,
)

RNG = np.random.default_rng(1)
BATCH = 6
Z = RNG.uniform(0.1, 0.9, (BATCH, 4))
LABELS = RNG.integers(0, 4, BATCH)
WEIGHTS = np.array([0.5, 0, 2, 0.25, 3, 1])


class Own(Loss):
    """A person's: of float64, and with the same array for each gradient."""

    def rows(self, z, t):
        self.dz = 2 * (z - t)
        return ((z - t) ** 2).sum(axis=1).astype(np.float64)

    def bprop(self, scale):
        return self.dz if scale == 1 else self.dz * self.dz.dtype.type(scale)


CASES = {
    "labels": (SoftmaxCrossEntropy, LABELS),
    "one-hot": (SoftmaxCrossEntropy, np.eye(4)[LABELS]),
    "smoothed": (lambda: SoftmaxCrossEntropy(0.2), LABELS),
    "probabilities": (CrossEntropy, LABELS),
    "distributions": (CrossEntropy, np.eye(4)[LABELS]),
    "squares": (MeanSquaredError, Z[::-1].copy()),
    "sigmoid": (SigmoidCrossEntropy, Z[::-1].copy()),
    "counts": (PoissonLoss, np.rint(4 * Z)),
    "own": (Own, Z[::-1].copy()),
    "twice": (lambda: Weighted(MeanSquaredError()), (Z[::-1].copy(), WEIGHTS[::-1].copy())),
}
every_case = pytest.mark.parametrize("name", CASES)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def of(name, dtype):
    make, t = CASES[name]

    def cast(one):
        if isinstance(one, tuple):
            return tuple(map(cast, one))
        return one.astype(dtype) if one.dtype.kind == "f" else one

    return make(), Z.astype(dtype), cast(t)


@every_dtype
@every_case
def test_weights_of_1_are_the_bits_of_no_weights(name, dtype):
    loss, z, t = of(name, dtype)
    ones = Weighted(copy.deepcopy(loss))
    for scale in (1, 1 / 3):
        expected = loss.rows(z, t).copy(), loss.bprop(scale).copy(), loss.fprop(z, t)
        given = ones.rows(z, (t, np.ones(BATCH, dtype))), ones.bprop(scale)
        assert ones.fprop(z, (t, np.ones(BATCH))) == expected[2]
        for one, other in zip(given, expected, strict=False):
            reference.assert_same_bits(one, other)


@every_dtype
@every_case
def test_rows_and_gradients_are_weighed(name, dtype):
    loss, z, t = of(name, dtype)
    weighted = Weighted(copy.deepcopy(loss))
    weights = WEIGHTS.astype(dtype)
    losses, dz = loss.rows(z, t).copy(), loss.bprop(0.25)
    # One rounding more than the loss itself.
    reference.assert_ulps(
        weighted.rows(z, (t, weights)), reference.weigh(losses, weights.astype(losses.dtype)), 0.5
    )
    for _ in range(2):  # and again after one fprop
        reference.assert_ulps(weighted.bprop(0.25), reference.weigh(dz, weights), 0.5)
    mean, factors = reference.weighted_mean(losses, weights)
    total = weights.sum(dtype=np.float64)
    assert weighted.fprop(z, (t, weights)) / total == pytest.approx(mean, rel=1e-6)
    dz = loss.bprop(1).astype(np.float64) * factors[:, None]
    np.testing.assert_allclose(weighted.bprop(1 / total), dz, rtol=1e-6, atol=0)


@every_case
def test_gradients(name):
    loss, z, t = of(name, np.float64)
    assert gradcheck(Weighted(loss), z, (t, WEIGHTS))
    assert gradcheck(Weighted(loss), z, (t, WEIGHTS.astype(np.float32)))


def test_a_wrong_gradient_is_found():
    class Wrong(Weighted):
        def bprop(self, scale):
            return self.loss.bprop(scale)

    assert not gradcheck(Wrong(MeanSquaredError()), Z, (Z[::-1].copy(), WEIGHTS))


def test_several_outputs():
    losses = Losses((SoftmaxCrossEntropy(), 1), (MeanSquaredError(), 0.3))
    t = LABELS, Z[::-1].copy()
    weighted = Weighted(copy.deepcopy(losses))
    rows, dzs = losses.rows((Z, Z), t).copy(), losses.bprop(0.5)
    np.testing.assert_array_equal(weighted.rows((Z, Z), (t, WEIGHTS)), rows * WEIGHTS)
    given = weighted.bprop(0.5)
    assert isinstance(given, tuple)
    for one, dz in zip(given, dzs, strict=True):
        np.testing.assert_array_equal(one, dz * WEIGHTS[:, None])
    assert gradcheck(weighted, (Z, Z), (t, WEIGHTS))
    # The other way round: each output with weights of its own.
    mixed = Losses((Weighted(SoftmaxCrossEntropy()), 1), (MeanSquaredError(), 0.3))
    assert gradcheck(mixed, (Z, Z), ((LABELS, WEIGHTS), t[1]))
    nested = Weighted(Losses((MeanSquaredError(), 1), (losses, 0.5)))
    nested.fprop((Z, (Z, Z)), ((Z, t), WEIGHTS))
    dz, (dz1, dz2) = nested.bprop(1)
    assert dz.shape == dz1.shape == dz2.shape


def test_a_row_of_weight_0_is_nothing_whatever_it_holds():
    z = Z.copy()
    z[1] = np.nan
    loss = Weighted(MeanSquaredError())
    value = loss.fprop(z, (Z[::-1].copy(), WEIGHTS))
    rest = np.arange(BATCH) != 1
    assert value == loss.fprop(z[rest], (Z[::-1][rest], WEIGHTS[rest]))
    loss.fprop(z, (Z[::-1].copy(), WEIGHTS))
    dz = loss.bprop(1)
    np.testing.assert_array_equal(dz[1], 0)
    assert np.isfinite(dz).all()


@pytest.mark.parametrize("name", [*CASES, "several"])
def test_a_tape_reads_the_scale_when_it_runs(name):
    """All but a person's own loss, which no tape knows."""
    if name == "own":
        return
    if name == "several":
        inner = Losses((MeanSquaredError(), 1), (PoissonLoss(), 0.3))
        loss = Losses((SoftmaxCrossEntropy(), 0.7), (inner, 1 / 3))
        z, t = (Z, (Z, Z)), (LABELS, (Z[::-1].copy(), np.rint(Z)))
    else:
        loss, z, t = of(name, np.float64)
    loss = Weighted(loss)
    weights, scale = WEIGHTS.copy(), np.zeros(())
    with kernels.Tape() as tape:
        losses = loss.rows(z, (t, weights))
        dz = loss.bprop(scale)
    apart = copy.deepcopy(loss)
    for factor in (1 / 3, 0.1):
        weights[:], scale[...] = np.random.default_rng(2).random(BATCH) * factor, factor
        tape.run()
        np.testing.assert_array_equal(losses, apart.rows(z, (t, weights)))
        for one, other in zip(flat(dz), flat(apart.bprop(factor)), strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(flat(dz), flat(apart.bprop(scale)), strict=True):
            np.testing.assert_array_equal(one, other)


def flat(given):
    return [x for one in given for x in flat(one)] if isinstance(given, tuple) else [given]


def test_it_follows_the_loss():
    loss = Weighted(CrossEntropy())
    assert loss.classification
    assert not Weighted(MeanSquaredError()).classification
    assert Weighted(SigmoidCrossEntropy()).target_range == (0, 1)
    assert loss.hint(np.inf) == CrossEntropy().hint(np.inf) != ""
    assert repr(loss) == "Weighted(CrossEntropy())"
    with pytest.raises(ValueError, match=r"^SigmoidCrossEntropy\(\): t holds 2, expected 0 to 1"):
        Weighted(SigmoidCrossEntropy()).fprop(np.zeros((1, 1)), ([[2.0]], [1]))


def test_buffers_are_reused_and_batches_may_be_empty():
    loss = Weighted(MeanSquaredError())
    rows, dz = loss.rows(Z, (Z, WEIGHTS)), loss.bprop(1)
    assert np.shares_memory(loss.rows(Z[:2], (Z[:2], WEIGHTS[:2])), rows)
    assert np.shares_memory(loss.bprop(1), dz)
    assert loss.fprop(Z[:0], (Z[:0], WEIGHTS[:0])) == 0
    assert loss.bprop(1).shape == (0, 4)


@pytest.mark.parametrize("weights", [WEIGHTS > 0, np.array([3, 0, 1, 2, 1, 1], np.uint8)])
def test_weights_of_whole_numbers(weights):
    loss = Weighted(MeanSquaredError())
    value = loss.fprop(Z, (Z[::-1].copy(), weights.astype(float)))
    assert loss.fprop(Z, (Z[::-1].copy(), weights)) == value
    assert loss.fprop(Z, [Z[::-1].copy(), weights.tolist()]) == value


def test_refusals():
    class Whole(Loss):
        def fprop(self, z, t):
            return 1.0

        def bprop(self, scale):
            return np.zeros((1, 1))

        def __repr__(self):
            return "Whole()"

    for loss in (Whole(), Losses((MeanSquaredError(), 1), (Whole(), 1)), Weighted):
        match = (
            r"^(Whole\(\) has no rows\(z, t\), the loss of each row, |Weighted: loss is a class)"
        )
        with pytest.raises(TypeError, match=match) as error:
            Weighted(loss)
        assert "\n" not in str(error.value)
    loss = Weighted(MeanSquaredError())
    with pytest.raises(RuntimeError, match=r"^Weighted\(MeanSquaredError\(\)\): bprop before"):
        loss.bprop(1)
    for t, said in (
        (Z, "t is of type ndarray, expected a pair"),
        ((Z,), "t is of type tuple, expected a pair"),
        ((Z, WEIGHTS[:5]), r"weights have shape \(5,\), the losses of the rows \(6,\), expected"),
        ((Z, WEIGHTS[:, None]), r"weights have shape \(6, 1\)"),
        ((Z, 1.0), r"weights have shape \(\)"),
        ((Z, ["1"] * 6), "weights are <U1, expected numbers"),
        ((Z, WEIGHTS - 0.5), "a weight is -0.5, expected finite numbers, 0 or more"),
        ((Z, [1, 1, 1, 1, np.inf, 1]), "a weight is inf"),
        ((Z, np.full(6, np.nan)), "a weight is nan"),
    ):
        match = r"^Weighted\(MeanSquaredError\(\)\): " + said
        with pytest.raises((TypeError, ValueError), match=match):
            loss.fprop(Z, t)
