"""layers/add.py, subtract.py, multiply.py: elementwise modules of several inputs."""

import numpy as np
import pytest
from side_by_side import SideBySide

from jitprop.layers import Add, Multiply, Subtract, gradcheck

DTYPES = [np.float32, np.float64]
# Module, number of inputs, y and every dx. One operation each: NumPy has the same bits.
CASES = [
    (Add, (), 2, lambda a, b: a + b, lambda dy, a, b: (dy, dy)),
    (Add, (), 4, lambda a, b, c, d: a + b + c + d, lambda dy, *xs: (dy, dy, dy, dy)),
    (Subtract, (), 2, lambda a, b: a - b, lambda dy, a, b: (dy, -dy)),
    (Multiply, (), 2, lambda a, b: a * b, lambda dy, a, b: (dy * b, dy * a)),
    (Multiply, (0.3,), 1, lambda a: a * a.dtype.type(0.3), lambda dy, a: dy * dy.dtype.type(0.3)),
]
every_case = pytest.mark.parametrize(("kind", "args", "count", "fprop", "bprop"), CASES)


def many(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("dtype", DTYPES)
@every_case
def test_fprop_and_bprop(kind, args, count, fprop, bprop, dtype):
    rng = np.random.default_rng(1)
    module = kind(*args)
    for shape in [(5, 33), (2, 33), (0, 4), (7, 1)]:
        dy, *xs = rng.standard_normal((count + 1, *shape)).astype(dtype)
        y = module.fprop(*xs)
        np.testing.assert_array_equal(y, fprop(*xs), strict=True)
        expected = many(bprop(dy, *xs))
        for _ in range(2):
            dxs = module.bprop(dy)
            assert isinstance(dxs, tuple) == (count > 1)
            assert len(many(dxs)) == count
            for dx, wanted in zip(many(dxs), expected, strict=True):
                np.testing.assert_array_equal(dx, wanted, strict=True)
        assert module.bprop(dy, need_dx=False) is None


@every_case
def test_gradients(kind, args, count, fprop, bprop):
    x = np.random.default_rng(2).standard_normal((3, 4 * count))
    assert gradcheck(SideBySide(kind(*args), [4] * count), x)


@every_case
def test_the_same_array_at_every_input(kind, args, count, fprop, bprop):
    x, dy = np.random.default_rng(3).standard_normal((2, 4, 3))
    module = kind(*args)
    np.testing.assert_array_equal(module.fprop(*[x] * count), fprop(*[x] * count))
    for dx, wanted in zip(many(module.bprop(dy)), many(bprop(dy, *[x] * count)), strict=True):
        np.testing.assert_array_equal(dx, wanted)


@every_case
def test_inputs_and_gradients_stay_as_they_are(kind, args, count, fprop, bprop):
    dy, *xs = np.random.default_rng(4).standard_normal((count + 1, 4, 3))
    kept = [array.copy() for array in (dy, *xs)]
    module = kind(*args)
    module.fprop(*xs)
    module.bprop(dy)
    np.testing.assert_array_equal([dy, *xs], kept)


@every_case
def test_buffers_are_reused(kind, args, count, fprop, bprop):
    module = kind(*args)
    x = np.ones((6, 3), np.float32)
    y, dxs = module.fprop(*[x] * count), many(module.bprop(x))
    short = module.fprop(*[x[:2]] * count)
    assert np.shares_memory(short, y)
    for dx, before in zip(many(module.bprop(x[:2])), dxs, strict=True):
        assert np.shares_memory(dx, before)


@every_case
def test_widths(kind, args, count, fprop, bprop):
    module = kind(*args)
    assert module.out_width(*[5] * count) == 5
    assert module.parameters() == []
    if count > 1:
        with pytest.raises(ValueError, match=r"inputs have 5 and .* features, expected the same"):
            module.out_width(5, *[6] * (count - 1))


def test_repr():
    assert list(map(repr, [Add(), Subtract(), Multiply(), Multiply(2)])) == [
        "Add()", "Subtract()", "Multiply()", "Multiply(2.0)",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [Add, Subtract, Multiply])
def test_refusals(kind):
    module, name = kind(), rf"^{kind.__name__}\(\): "
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(RuntimeError, match=name + "bprop before fprop"):
        module.bprop(x)
    match = name + r"x0 has shape \(2, 3\) and x1 \(2, 1\), expected the same shape"
    with pytest.raises(ValueError, match=match):
        module.fprop(x, x[:, :1])
    with pytest.raises(ValueError, match=name + r"x0 has shape \(2, 3\) and x1 \(1, 3\)"):
        module.fprop(x, x[:1])
    with pytest.raises(TypeError, match=name + "x0 is float32 and x1 float64: convert one"):
        module.fprop(x, x.astype(np.float64))
    with pytest.raises(ValueError, match=name + r"x1 has shape \(3,\)"):
        module.fprop(x, x[0])
    module.fprop(x, x)
    with pytest.raises(ValueError, match=name + r"dy has shape \(1, 3\), the last fprop returned"):
        module.bprop(x[:1])


def test_numbers_of_inputs():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match=r"^Add\(\): 1 inputs, expected 2 or more"):
        Add().fprop(x)
    with pytest.raises(TypeError, match=r"^Multiply\(\): 1 inputs, expected 2"):
        Multiply().fprop(x)
    with pytest.raises(TypeError, match=r"^Multiply\(0.5\): 2 inputs, expected 1"):
        Multiply(0.5).fprop(x, x)
    with pytest.raises(TypeError, match=r"^Multiply\(0.5\): 2 inputs, expected 1"):
        Multiply(0.5).out_width(3, 3)
    with pytest.raises(TypeError, match=r"^Subtract\(\): 3 inputs, expected 2"):
        Subtract().out_width(3, 3, 3)
    with pytest.raises(TypeError, match=r"^Add\(\): 1 inputs, expected 2 or more"):
        Add().out_width(3)
