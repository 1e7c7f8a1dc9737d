"""layers/dropout.py: masks that are drawn again backwards, and none in evaluation."""

import copy

import numpy as np
import pytest
import reference

from jitprop.layers import Dropout

DTYPES = [np.float32, np.float64]


def kept(module, shape, step):
    """What the generator says about each element."""
    bits = reference.dropout_bits(int(np.prod(shape)), int(module.state[0]), step)
    return (bits >= round(module.p * 2**32)).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0, 0.25, 0.9])
def test_fprop_and_bprop(p, dtype):
    rng = np.random.default_rng(1)
    module = Dropout(p, rng)
    for step in (1, 2):
        x, dy = rng.standard_normal((2, 20, 33)).astype(dtype)
        mask = kept(module, x.shape, step)
        y, dx = module.fprop(x), module.bprop(dy)
        assert y.dtype == dx.dtype == dtype
        # The factor is rounded, and the product.
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(y, x * mask / (1 - p), rtol=2 * eps)
        np.testing.assert_allclose(dx, dy * mask / (1 - p), rtol=2 * eps)
        again = dx.copy()
        np.testing.assert_array_equal(module.bprop(dy), again)
        assert module.bprop(dy, need_dx=False) is None
        assert module.state[1] == step


def test_the_probability_is_met_to_one_in_four_billion():
    """An element is dropped where its 32 bits, as a fraction, are below p."""
    state, x = Dropout(0.5, 2).state, np.ones((1, 500))
    bits = reference.dropout_bits(500, int(state[0]), 1)
    for threshold in [*map(int, bits[::100]), *(int(b) + 1 for b in bits[::100])]:
        module = Dropout(threshold / 2**32)
        module.state[:] = state
        np.testing.assert_array_equal(module.fprop(x)[0] != 0, bits >= threshold)


def test_in_evaluation_nothing_happens():
    module = Dropout(0.5, 1)
    module.training = False
    x, dy = np.random.default_rng(2).standard_normal((2, 3, 4))
    assert module.fprop(x) is x
    assert module.bprop(dy) is dy
    assert module.bprop(dy, need_dx=False) is None
    assert module.state[1] == 0


def test_bprop_belongs_to_the_last_fprop():
    """Whatever mode the module is in by then."""
    module, x = Dropout(0.5, 1), np.ones((20, 20))
    y = module.fprop(x).copy()
    module.training = False
    np.testing.assert_array_equal(module.bprop(x), y)
    module.fprop(x)
    module.training = True
    np.testing.assert_array_equal(module.bprop(x), x)


def test_the_state_is_all_that_a_run_needs_to_go_on():
    x = np.ones((8, 30), np.float32)
    one = Dropout(0.5, 3)
    one.fprop(x)
    other = Dropout(0.5, 4)
    (state,), (saved,) = other.states(), one.states()
    assert state.name == "state"
    state.value[:] = saved.value
    np.testing.assert_array_equal(other.fprop(x), one.fprop(x))


def test_twins_share_the_count_and_not_the_mask():
    """Two places of a graph: each goes back with its own mask."""
    x = np.ones((16, 16))
    first = Dropout(0.5, 5)
    second = copy.deepcopy(first, {id(first.state): first.state})
    y, y2 = first.fprop(x), second.fprop(x)
    assert first.state[1] == 2
    assert np.any(y != y2)
    np.testing.assert_array_equal(second.bprop(x), y2)
    np.testing.assert_array_equal(first.bprop(x), y)


def test_seeds():
    x = np.ones((16, 16))
    same = [Dropout(0.5, seed).fprop(x).copy() for seed in (6, 6, 7)]
    np.testing.assert_array_equal(same[0], same[1])
    assert np.any(same[0] != same[2])
    rng = np.random.default_rng(6)
    assert Dropout(rng=rng).state[0] != Dropout(rng=rng).state[0]
    assert Dropout().state[0] != Dropout().state[0]


def test_buffers_and_widths():
    module, x = Dropout(0.5, 8), np.ones((6, 3), np.float32)
    y, dx = module.fprop(x), module.bprop(x)
    assert np.shares_memory(module.fprop(x[:2]), y)
    assert np.shares_memory(module.bprop(x[:2]), dx)
    assert module.fprop(x[:0]).shape == module.bprop(x[:0]).shape == (0, 3)
    assert module.out_width(3) == 3
    assert module.parameters() == []
    assert repr(module) == "Dropout(0.5)"


def test_refusals():
    for p in (-0.1, 1, 1.5, np.nan):
        with pytest.raises(ValueError, match=r"p must be at least 0 and below 1"):
            Dropout(p)
    module, x = Dropout(0.5), np.zeros((2, 3), np.float32)
    with pytest.raises(RuntimeError, match=r"^Dropout\(0.5\): bprop before fprop"):
        module.bprop(x)
    with pytest.raises(TypeError, match="x is int64, expected float32 or float64"):
        module.fprop(x.astype(int))
    module.fprop(x)
    with pytest.raises(ValueError, match=r"dy has shape \(1, 3\), the last fprop returned \(2, 3"):
        module.bprop(x[:1])
