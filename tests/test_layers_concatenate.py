"""layers/concatenate.py: columns side by side, and apart again."""

import numpy as np
import pytest
from side_by_side import SideBySide

from jitprop.layers import Concatenate, Split, gradcheck

DTYPES = [np.float32, np.float64]
WIDTHS = [(3,), (1, 1), (16, 5, 17), (40, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_there_and_back(widths, dtype):
    rng = np.random.default_rng(1)
    concatenate, split = Concatenate(), Split(widths)
    ends = np.cumsum(widths)[:-1]
    for batch in (5, 2, 9, 0):
        parts = [rng.standard_normal((batch, width)).astype(dtype) for width in widths]
        whole = np.hstack(parts)
        other = rng.standard_normal(whole.shape).astype(dtype)
        others = np.split(other, ends, axis=1)
        np.testing.assert_array_equal(concatenate.fprop(*parts), whole, strict=True)
        for dx, expected in zip(concatenate.bprop(other), others, strict=True):
            np.testing.assert_array_equal(dx, expected, strict=True)
        for y, expected in zip(split.fprop(whole), parts, strict=True):
            np.testing.assert_array_equal(y, expected, strict=True)
        np.testing.assert_array_equal(split.bprop(*others), other, strict=True)
        assert concatenate.bprop(other, need_dx=False) is None
        assert split.bprop(*others, need_dx=False) is None


def test_gradients():
    x = np.random.default_rng(2).standard_normal((3, 6))
    assert gradcheck(SideBySide(Concatenate(), [1, 3, 2]), x)
    assert gradcheck(SideBySide(Split([1, 3, 2]), [6]), x)


def test_a_concatenation_takes_other_widths_each_time():
    module = Concatenate()
    for widths in [(2, 3), (3, 2), (5,), (1, 2, 3)]:
        parts = [np.full((2, width), place + 1.0) for place, width in enumerate(widths)]
        np.testing.assert_array_equal(module.fprop(*parts), np.hstack(parts))
        dx = module.bprop(np.hstack(parts))
        for part, expected in zip(dx, parts, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_buffers_are_reused():
    concatenate, split = Concatenate(), Split([2, 1])
    x = np.ones((6, 3))
    y, dxs = concatenate.fprop(x, x), concatenate.bprop(np.ones((6, 6)))
    assert np.shares_memory(concatenate.fprop(x[:2], x[:2]), y)
    for dx, before in zip(concatenate.bprop(np.ones((2, 6))), dxs, strict=True):
        assert np.shares_memory(dx, before)
    ys = split.fprop(x)
    dx = split.bprop(*ys)
    for y, before in zip(split.fprop(x[:4]), ys, strict=True):
        assert np.shares_memory(y, before)
    assert np.shares_memory(split.bprop(*split.fprop(x[:4])), dx)


def test_widths():
    assert Concatenate().out_width(2, 3, 4) == 9
    assert Split([2, 3]).out_width(5) == (2, 3)
    assert (Split([2, 3]).outputs, Concatenate().outputs) == (2, None)
    assert (repr(Split((2, 3))), repr(Concatenate())) == ("Split([2, 3])", "Concatenate()")
    for wrong in (4, 6):
        match = rf"^Split\(\[2, 3\]\): x has {wrong} features, expected 5"
        with pytest.raises(ValueError, match=match):
            Split([2, 3]).out_width(wrong)


def test_refusals_of_concatenate():
    module, x = Concatenate(), np.zeros((2, 3), np.float32)
    with pytest.raises(RuntimeError, match=r"^Concatenate\(\): bprop before fprop"):
        module.bprop(x)
    with pytest.raises(TypeError, match=r"^Concatenate\(\): no inputs, expected 1 or more"):
        module.fprop()
    match = r"^Concatenate\(\): x0 has shape \(2, 3\) and x1 \(1, 3\), expected the same batch"
    with pytest.raises(ValueError, match=match):
        module.fprop(x, x[:1])
    with pytest.raises(TypeError, match="x0 is float32 and x1 float64"):
        module.fprop(x, x.astype(np.float64))
    module.fprop(x, x)
    with pytest.raises(ValueError, match=r"dy has shape \(2, 3\), the last fprop returned \(2, 6"):
        module.bprop(x)


def test_refusals_of_split():
    for widths in ([], [2, 0], [-1]):
        with pytest.raises(ValueError, match="expected widths of at least 1, and at least one"):
            Split(widths)
    module, x = Split([1, 2]), np.zeros((2, 3), np.float32)
    name = r"^Split\(\[1, 2\]\): "
    with pytest.raises(RuntimeError, match=name + "bprop before fprop"):
        module.bprop(x, x)
    with pytest.raises(ValueError, match=name + r"x has shape \(2, 2\), expected \(batch, 3\)"):
        module.fprop(x[:, :2])
    y0, y1 = module.fprop(x)
    with pytest.raises(TypeError, match=name + "bprop of 1 gradients, expected 2"):
        module.bprop(y0)
    with pytest.raises(ValueError, match=name + r"dy has shape \(2, 2\), the last fprop returned"):
        module.bprop(y1, y0)
