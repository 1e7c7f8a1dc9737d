"""kernels/gaussian_noise.py and its layer: normal numbers, the same for any dtype and threads."""

import math

import numpy as np
import pytest
import reference
from elementwise import LONGEST, assert_elementwise, run
from plain import PLAIN
from reference import assert_same_bits, eps

from jitprop import kernels
from jitprop.layers import GaussianNoise, gradcheck

DTYPES = [np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
MANY = 2_000 if PLAIN else 1_000_000


def with_key(seed, step, scale):
    key = np.array([seed, step, 99])
    return lambda x, out: kernels.gaussian_noise(x, key, scale, out)


@every_dtype
@pytest.mark.parametrize(
    ("seed", "step"), [(0, 0), (1, 2), (2**63 - 1, 2**40 + 3), (-(2**62) - 5, 2**31)]
)
def test_numbers_are_box_and_mullers(seed, step, dtype):
    """A logarithm off by an eps is half of that under the root, which rounds; the sine is off by 2.

    The product rounds, and the sum; in float64 the reference is off as much.
    """
    x = np.random.default_rng(1).standard_normal(1000).astype(dtype)
    normal = reference.normals(1000, seed, step)
    alone = run(with_key(seed, step, 1), np.zeros_like(x))
    assert (np.abs(alone - normal) <= 4 * eps(dtype) * np.abs(normal)).all()
    out, wanted = run(with_key(seed, step, 0.25), x), x + 0.25 * normal
    bound = np.abs(normal) + np.abs(wanted)
    assert (np.abs(out - wanted) <= eps(dtype) * bound).all()


@every_dtype
def test_every_element(dtype, guarded, fenced):
    x = np.random.default_rng(2).standard_normal(LONGEST).astype(dtype)
    assert_elementwise(with_key(3, 4, 0.5), [x], guarded, fenced)


@every_dtype
def test_the_numbers_are_normal(dtype):
    """Shares below some bounds, moments, neighbours: 4 standard deviations."""
    z = run(with_key(5, 6, 1), np.zeros(MANY, dtype)).astype(np.float64)
    off = 4 / math.sqrt(MANY)
    for bound in (-3, -2, -1, -0.5, 0, 0.1, 1, 2.5):
        share = (1 + math.erf(bound / math.sqrt(2))) / 2
        assert abs((z < bound).mean() - share) < off * math.sqrt(share * (1 - share))
    for power, moment, deviation in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < off * math.sqrt(deviation)
    for apart in (1, 16, 32, 64):
        assert abs((z[apart:] * z[:-apart]).mean()) < off
        assert abs((z[apart:] ** 2 * z[:-apart] ** 2).mean() - 1) < off * math.sqrt(8)


def test_what_is_no_number_stays_so():
    x = np.array([np.nan, np.inf, -np.inf, 1e30] * 16, np.float32)
    assert_same_bits(run(with_key(7, 8, 1), x), x)


@every_dtype
def test_layer(dtype):
    rng = np.random.default_rng(1)
    module = GaussianNoise(0.5, rng)
    for step in (1, 2):
        x, dy = rng.standard_normal((2, 20, 33)).astype(dtype)
        y = module.fprop(x)
        normal = reference.normals(x.size, int(module.state[0]), step).reshape(x.shape)
        assert y.dtype == dtype
        # Both terms are below 5, and off by some eps.
        np.testing.assert_allclose(y, x + 0.5 * normal, rtol=0, atol=10 * eps(dtype))
        assert module.bprop(dy) is dy
        assert module.bprop(dy, need_dx=False) is None
        assert module.state[1] == step
    assert gradcheck(GaussianNoise(0.5, 1), x[:4].astype(np.float64))
    module.eval()
    assert module.fprop(x) is x
    assert module.bprop(dy) is dy
    assert module.state[1] == 2


def test_seeds_and_words():
    x = np.ones((16, 16))
    same = [GaussianNoise(0.5, seed).fprop(x).copy() for seed in (6, 6, 7)]
    np.testing.assert_array_equal(same[0], same[1])
    assert np.any(same[0] != same[2])
    np.testing.assert_array_equal(GaussianNoise(0).fprop(x), x)
    assert repr(GaussianNoise(0.5)) == "GaussianNoise(0.5)"
    assert GaussianNoise(0.5).out_width(3) == 3


def test_refusals():
    for std in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"^GaussianNoise\(.*\): std must be 0 or more"):
            GaussianNoise(std)
    with pytest.raises(TypeError, match=r"^GaussianNoise: std is 'x', expected a number"):
        GaussianNoise("x")
    with pytest.raises(RuntimeError, match=r"^GaussianNoise\(0.1\): bprop before fprop"):
        GaussianNoise().bprop(np.zeros((2, 3)))
