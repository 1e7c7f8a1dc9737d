"""layers/gradcheck.py: it passes what is right, fails every planted error, and leaves no trace."""

import copy
import dataclasses

import numpy as np
import pytest

from jitprop.layers import (
    CrossEntropy,
    Dropout,
    GradCheckResult,
    GradientError,
    Linear,
    Module,
    Parameter,
    Sequential,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    gradcheck,
)
from jitprop.layers.gradcheck import UNIT

LABELS = [2, 0, 1]


def probabilities():
    z = np.exp(np.random.default_rng(1).standard_normal((3, 4)))
    return z / z.sum(axis=1, keepdims=True)


def planted(correct, edit):
    """A subclass whose bprop edits what the correct one returns: edit(self, dy or scale, dx)."""

    class Planted(correct):
        def bprop(self, dy, *need_dx):
            return edit(self, dy, super().bprop(dy, *need_dx))

    return Planted


def negated(self, dy, dx):
    return -dx


def off_by_1e_4(self, dy, dx):
    return dx * (1 + 1e-4)


def shifted(self, dy, dx):
    return dx + 1e-4


def nan(self, dy, dx):
    dx[0, 2] = np.nan
    return dx


def infinite(self, dy, dx):
    dx[0, 2] = np.inf
    return dx


def entry_dropped(self, dy, dx):
    dx[0, 2] = 0
    return dx


def unit(self, dy, dx):
    """Right for a dy (or a scale) of 1 only."""
    size = np.abs(dy).max()
    return dx / size if size else dx


@pytest.mark.parametrize(
    "edit", [negated, off_by_1e_4, shifted, nan, infinite, entry_dropped, unit]
)
@pytest.mark.parametrize("correct", [Linear, Tanh, Softmax, CrossEntropy, SoftmaxCrossEntropy])
def test_a_wrong_dx_fails(correct, edit):
    arguments = (4, 3, 0) if correct is Linear else ()
    targets = (LABELS,) if "Entropy" in correct.__name__ else ()
    assert gradcheck(correct(*arguments), probabilities(), *targets)
    result = gradcheck(planted(correct, edit)(*arguments), probabilities(), *targets)
    assert not result.ok
    assert result.name == "x"
    if edit in (nan, infinite, entry_dropped):
        assert result.index == (0, 2)
    if edit in (nan, infinite):
        assert result.error == np.inf


def transposed(self, dy, dx):
    return dx.T


def matrix_transposed(self, dy, dx):
    return dy @ self.w


def tanh_term_missing(self, dy, dx):
    return dy


def not_square(self, dy, dx):
    return np.ascontiguousarray(dx.T)


@pytest.mark.parametrize(
    ("correct", "edit", "arguments"),
    [
        (Linear, transposed, (3, 3, 0)),
        (Linear, matrix_transposed, (3, 3, 0)),
        (Tanh, transposed, ()),
        (Tanh, tanh_term_missing, ()),
    ],
)
def test_a_wrong_formula_for_dx_fails(correct, edit, arguments):
    x = np.random.default_rng(2).standard_normal((3, 3))
    result = gradcheck(planted(correct, edit)(*arguments), x)
    assert not result.ok
    assert result.name == "x"


def test_gradcheck_finds_a_softmax_without_its_sum():
    class Planted(Softmax):
        def bprop(self, dy, need_dx=True):
            return self._last_y * dy

    x = np.random.default_rng(3).standard_normal((3, 3))
    assert not gradcheck(Planted(), x)


def dw_negated(linear, dy):
    linear.dw *= -1


def dw_transposed(linear, dy):
    linear.dw[:] = linear.dw.T.copy()


def dw_off_by_1e_4(linear, dy):
    linear.dw *= 1 - 1e-4


def dw_entry_zero(linear, dy):
    linear.dw[2, 1] = 0


def dw_entry_not_written(linear, dy):
    linear.dw[2, 1] = linear.dw_before[2, 1]


def dw_nan(linear, dy):
    linear.dw[2, 1] = np.nan


def db_missing(linear, dy):
    linear.db[:] = linear.db_before


def db_negated(linear, dy):
    linear.db *= -1


def db_of_one_sample(linear, dy):
    linear.db[:] = dy[0]


def db_entry_zero(linear, dy):
    linear.db[1] = 0


@pytest.mark.parametrize(
    "edit",
    [
        dw_negated,
        dw_transposed,
        dw_off_by_1e_4,
        dw_entry_zero,
        dw_entry_not_written,
        dw_nan,
        db_missing,
        db_negated,
        db_of_one_sample,
        db_entry_zero,
    ],
)
def test_a_wrong_gradient_of_a_parameter_fails(edit):
    class Planted(Linear):
        def bprop(self, dy, need_dx=True):
            self.dw_before, self.db_before = self.dw.copy(), self.db.copy()
            dx = super().bprop(dy, need_dx)
            edit(self, dy)
            return dx

    x = np.random.default_rng(4).standard_normal((4, 3))
    name = edit.__name__[1]
    alone = gradcheck(Planted(3, 3, 0), x)
    assert not alone.ok
    assert alone.name == name

    chained = gradcheck(Sequential(Tanh(), Planted(3, 3, 0), Tanh()), x)
    assert not chained.ok
    assert chained.name == f"1.{name}"

    if "entry" in edit.__name__ or "nan" in edit.__name__:
        assert alone.index == chained.index == ((2, 1) if name == "w" else (1,))


def test_gradients_left_from_before_are_not_taken_for_new_ones():
    class Planted(Linear):
        writes = True

        def bprop(self, dy, need_dx=True):
            return super().bprop(dy, need_dx) if self.writes else dy @ self.w.T

    x = np.array([[0.5, -0.25]])
    linear = Planted(2, 1, 0, np.float64)
    linear.fprop(x)
    linear.bprop(np.array([[UNIT]]))  # just what the check will ask for
    assert gradcheck(linear, x)
    linear.writes = False
    assert gradcheck(linear, x).error == np.inf


def test_a_wrong_fprop_fails():
    class Planted(Tanh):
        def fprop(self, x):
            return np.sin(super().fprop(x))

    assert not gradcheck(Planted(), probabilities())


@pytest.mark.parametrize("x", [np.nan, np.inf])
def test_an_input_that_is_not_finite_fails(x):
    # By bprop, tanh has derivative 0 at infinity: there only the numeric side is not finite.
    # Differences by x[0, 1] are NaN in both cases, those of y[0, 1] where it is NaN itself.
    result = gradcheck(Tanh(), [[0.5, x]])
    assert not result.ok
    assert result.error == np.inf
    assert (0, 1) in (result.index, result.output)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_fprop_and_a_bprop_that_agree_on_nonsense_fail(value):
    class Nonsense(Tanh):
        def fprop(self, x):
            super().fprop(x)
            return np.full_like(x, value)

        def bprop(self, dy, need_dx=True):
            return np.full_like(dy, value)

    assert gradcheck(Nonsense(), [[0.5, -0.5]]).error == np.inf


def test_the_bound_itself():
    class Scaled(Tanh):
        def bprop(self, dy, need_dx=True):
            return super().bprop(dy) * (1 + self.error)

    scaled = Scaled()
    # At 0 the derivative is 1, so the relative error is the planted one, within noise of 2e-8.
    for scaled.error in (1.1e-6, -1.1e-6):
        assert not gradcheck(scaled, [[0.0]])
    for scaled.error in (0.9e-6, -0.9e-6):
        assert gradcheck(scaled, [[0.0]])
    scaled.error = 0.5
    assert not gradcheck(scaled, [[0.0]], tolerance=0.3)  # 0.5 / 1.5
    assert gradcheck(scaled, [[0.0]], tolerance=0.4)


def test_large_derivatives_are_judged_relative_to_their_size():
    class Cube(Module):
        def fprop(self, x):
            self.x = x.copy()
            return x**3

        def bprop(self, dy, need_dx=True):
            return 3 * self.x**2 * dy * self.factor

    cube = Cube()
    cube.factor = 1
    assert gradcheck(cube, [[1000.0, -300.0, 0.1]])
    cube.factor = 1 + 1e-4
    assert not gradcheck(cube, [[1000.0]])


def test_the_result():
    def drop(self, dy, dx):
        dx[0, 1] = 0
        return dx

    wrong = planted(Linear, drop)(2, 3, 0, np.float64)
    wrong.w[:] = 0.25
    wrong.w[1, 2] = 0.75
    result = gradcheck(wrong, [[0.5, -0.5]])
    assert result.name == "x"
    assert result.index == (0, 1)
    assert result.output == (0, 2)
    assert result.numeric == pytest.approx(0.75, abs=1e-7)
    assert result.analytic == 0
    assert result.error == pytest.approx(0.75, abs=1e-7)
    assert result.tolerance == 1e-6
    assert not result.ok
    assert not result
    assert str(result).startswith("d y[0, 2] / d x[0, 1] is 0.7")
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.error = 0.0
    with pytest.raises(GradientError, match=r"^Planted\(2, 3\): d y\[0, 2\] / d x\[0, 1\] is .*$"):
        gradcheck(wrong, [[0.5, -0.5]], raise_on_error=True)


def test_the_result_of_what_is_right():
    result = gradcheck(Tanh(), [[0.5]], raise_on_error=True)
    assert isinstance(result, GradCheckResult)
    assert result
    assert result.error <= 1e-7
    loss = gradcheck(SoftmaxCrossEntropy(), [[0.5, 0.1]], [1])
    assert loss.output == ()
    assert str(loss).startswith("d loss / d x[0, ")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_module_stays_untouched(dtype):
    rng = np.random.default_rng(5)
    net = Sequential(Linear(4, 3, rng, dtype), Tanh(), Linear(3, 2, rng, dtype))
    x = rng.standard_normal((5, 4)).astype(dtype)
    y = net.fprop(x)
    net.bprop(y.copy())
    arrays = [a for p in net.parameters() for a in (p.value, p.grad)]
    before = copy.deepcopy([y, *arrays])
    gradcheck(net, x)
    after = [y, *(a for p in net.parameters() for a in (p.value, p.grad))]
    for mine, theirs in zip(after, before, strict=True):
        assert mine.dtype == dtype
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(after[1:], arrays, strict=True):
        assert mine is theirs
    # The last fprop is still remembered.
    gradients = [p.grad.copy() for p in net.parameters()]
    net.bprop(y.copy())
    for p, gradient in zip(net.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)


def test_entries_move_one_at_a_time_by_the_step_of_the_slides():
    """Slide 13, but with |x_i| in the place of its x_i."""
    moves = []

    class Recorder(Tanh):
        def fprop(self, x):
            moves.append(x - start)
            return super().fprop(x)

    start = np.array([[0.5, -4.0], [0.0, 100.0]])
    gradcheck(Recorder(), start)
    root = 2.0**-26  # of eps = 2^-52
    h = root * np.array([1, 4, 1, 100])
    expected = [np.zeros(4)]
    for i in range(4):
        expected += [h[i] * np.eye(4)[i], -h[i] * np.eye(4)[i]]
    # x + h is rounded to a multiple of eps times the power of two below x, at most 64 here.
    np.testing.assert_allclose(np.reshape(moves, (9, 4)), expected, rtol=0, atol=64 * 2.0**-52)


def test_x_and_targets_stay_untouched():
    x, t = probabilities(), np.eye(4)[LABELS]
    x.flags.writeable = False
    kept = x.copy(), t.copy()
    gradcheck(CrossEntropy(), x, t)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(t, kept[1])


class Scale(Module):
    """A person's own module in plain NumPy: y = x * s, with a new array for every gradient."""

    def __init__(self, dtype):
        self.s = np.array([0.5, -2.0, 3.0], dtype)
        self.ds = np.zeros_like(self.s)

    def fprop(self, x):
        self.x = x.copy()
        return x * self.s

    def bprop(self, dy, need_dx=True):
        self.ds = (dy * self.x).sum(axis=0)
        return dy * self.s

    def parameters(self):
        return [Parameter("s", self.s, self.ds)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_module_of_ones_own(dtype):
    x = np.random.default_rng(6).standard_normal((2, 3))
    assert gradcheck(Scale(dtype), x)
    assert gradcheck(Sequential(Scale(dtype), Tanh(), Scale(dtype)), x)
    wrong = planted(Scale, negated)(dtype)
    assert gradcheck(wrong, x).name == "x"


def test_gradients_of_the_wrong_shape():
    with pytest.raises(
        GradientError, match=r"^Planted\(\): the gradient of x has shape \(4, 3\), x has shape \(3"
    ):
        gradcheck(planted(Tanh, not_square)(), probabilities())
    with pytest.raises(GradientError, match=r"the gradient of x has shape \(\)"):
        gradcheck(planted(Tanh, lambda self, dy, dx: None)(), probabilities())
    with pytest.raises(GradientError, match=r"^Planted\(\): the gradient of x has shape \(4, 3\)"):
        gradcheck(planted(CrossEntropy, not_square)(), probabilities(), LABELS)


def test_nothing_to_check_is_not_a_pass():
    with pytest.raises(ValueError, match=r"Tanh\(\): nothing to check for x of shape \(0, 3\)"):
        gradcheck(Tanh(), np.zeros((0, 3)))


def test_targets_go_with_losses():
    with pytest.raises(TypeError, match="a loss is checked with targets"):
        gradcheck(CrossEntropy(), probabilities())
    with pytest.raises(TypeError, match="a loss is checked with targets"):
        gradcheck(Tanh(), probabilities(), LABELS)


def test_every_fprop_draws_the_same_random_numbers():
    net = Sequential(Linear(5, 6, 0), Dropout(0.5, 1), Linear(6, 3, 2))
    before = net.states()[0].value.copy()
    assert gradcheck(net, np.random.default_rng(3).standard_normal((4, 5)))
    np.testing.assert_array_equal(net.states()[0].value, before)


def test_no_module():
    with pytest.raises(TypeError, match="module is of type NoneType, expected a module or a loss"):
        gradcheck(None, np.ones((2, 3)))
