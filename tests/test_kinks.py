"""layers/gradcheck.py at a ReLU's 0: what is right passes, what is wrong is still found."""

import numpy as np
import pytest

from jitprop.layers import (
    Add,
    GradientError,
    Graph,
    Input,
    Linear,
    Loss,
    Module,
    ReLU,
    Sequential,
    Tanh,
    gradcheck,
)
from jitprop.layers.gradcheck import STEP

AWAY = [[0.0, 0.7, -0.4]]  # one entry at the kink


def wrong(edit):
    """Return a ReLU whose bprop returns edit(x, dy, dx)."""

    class Wrong(ReLU):
        def fprop(self, x):
            self.x = x.copy()
            return super().fprop(x)

        def bprop(self, dy, need_dx=True):
            return edit(self.x, dy, super().bprop(dy))

    return Wrong()


def at_zero(slope):
    """Return a ReLU whose derivative at 0 and within a step of it is another."""
    return wrong(lambda x, dy, dx: np.where(np.abs(x) < STEP, slope * dy, dx))


@pytest.mark.parametrize("x", [0.0, -0.0, 1e-9, -1e-9, 1e-12, 0.5 * STEP, -0.9 * STEP])
def test_a_right_relu_passes_at_and_near_its_kink(x):
    result = gradcheck(ReLU(), [[0.7, x]])
    assert result
    assert result.error < 1e-7
    (kink,) = result.kinks
    assert (kink.of, kink.output, kink.name, kink.index) == ("y", (0, 1), "x", (0, 1))
    assert kink.below == pytest.approx(0, abs=1e-7)
    assert kink.above == pytest.approx(1, abs=1e-7)
    assert str(result).endswith(
        "; passed at 1 kinks of fprop: d y[0, 1] / d x[0, 1] (0 below, 1 above)"
    )


def test_where_there_is_no_kink_none_is_told():
    result = gradcheck(ReLU(), [[0.7, -0.2, 3 * STEP, -2 * STEP]])
    assert result
    assert result.kinks == ()
    assert "kink" not in str(result)


def test_a_passing_check_runs_fprop_as_often_as_before():
    class Counting(Tanh):
        calls = 0

        def fprop(self, x):
            Counting.calls += 1
            return super().fprop(x)

    assert gradcheck(Counting(), [[0.5, -4.0, 0.1]])
    assert Counting.calls == 1 + 2 * 3


@pytest.mark.parametrize("slope", [0.0, 0.25, 1.0])
def test_any_slope_between_the_two_passes(slope):
    result = gradcheck(at_zero(slope), AWAY)
    assert result
    assert result.error < 1e-7


@pytest.mark.parametrize("slope", [-1.0, -1e-3, 1.001, 2.0, np.nan, np.inf])
def test_a_slope_that_is_not_between_the_two_fails(slope):
    result = gradcheck(at_zero(slope), AWAY)
    assert not result
    assert result.index == (0, 0)
    assert "fprop has a kink there, 0 below and 1 above" in str(result)
    if np.isfinite(slope):
        nearest = min(max(slope, 0), 1)
        assert result.numeric == pytest.approx(nearest, abs=1e-7)
        assert result.error == pytest.approx(abs(slope - nearest) / max(1, abs(slope)), rel=1e-3)
    with pytest.raises(GradientError, match="kink"):
        gradcheck(at_zero(slope), AWAY, raise_on_error=True)


@pytest.mark.parametrize(
    "edit",
    [
        lambda x, dy, dx: dx * 1.001,
        lambda x, dy, dx: -dx,
        lambda x, dy, dx: dy,
        lambda x, dy, dx: 0 * dy,
        lambda x, dy, dx: np.where(x < 0, dy, 0 * dy),
    ],
)
def test_faults_away_from_a_kink_are_found_beside_one(edit):
    result = gradcheck(wrong(edit), AWAY)
    assert not result
    assert result.index != (0, 0)
    assert not gradcheck(Sequential(Linear(3, 2, 0), wrong(edit), Linear(2, 2, 1)), AWAY)


class Curved(Module):
    """A smooth function of one's own, with a derivative that may be wrong."""

    def __init__(self, f, df, factor=1.0):
        self.f, self.df, self.factor = f, df, factor

    def fprop(self, x):
        self.x = x.copy()
        return self.f(x)

    def bprop(self, dy, need_dx=True):
        return dy * self.df(self.x) * self.factor


@pytest.mark.parametrize("x", [0.0, 0.3, -1.2])
@pytest.mark.parametrize("steep", [1.0, 1e2, 1e4, 1e6])
def test_a_smooth_function_is_never_excused(x, steep):
    """Its slopes differ by 4 h f'', here up to 0.06, and only a kink's do not shrink with h."""
    f, df = (lambda x: x + steep * x**2), (lambda x: 1 + 2 * steep * x)
    for factor in (1.001, -1.0, 0.0):
        result = gradcheck(Curved(f, df, factor), [[x]])
        assert not result
        assert result.kinks == ()
    for shift in (1e-5, -1e-5, 2 * STEP * steep):
        error = shift * max(1, abs(df(x))) + 2e-5
        assert gradcheck(Curved(f, lambda x, e=error: df(x) + e), [[x]]).kinks == ()


def test_faults_of_smooth_layers_are_never_excused():
    x = np.random.default_rng(0).standard_normal((4, 3))
    for f, df in ((np.tanh, lambda x: 1 - np.tanh(x) ** 2), (np.sin, np.cos), (np.exp, np.exp)):
        for factor in (1 + 1e-5, 0.0, -1.0):
            result = gradcheck(Curved(f, df, factor), x)
            assert not result
            assert result.kinks == ()


def test_a_function_that_jumps_has_no_kink():
    step = Curved(lambda x: (x >= 0) * 1.0, lambda x: 0 * x)
    result = gradcheck(step, AWAY)
    assert not result
    assert result.kinks == ()
    both = Curved(lambda x: (x >= 0) * (1.0 + x), lambda x: (x >= 0) * 1.0)
    assert not gradcheck(both, AWAY)


def test_parameters_before_a_relu():
    linear = Linear(3, 2, 0, np.float64)
    x = np.array([[0.5, -1.0, 0.25], [1.0, 2.0, -0.5]])
    linear.b[0] = -(x[0] @ linear.w[:, 0])  # the first unit is at its kink for the first row
    net = Sequential(linear, ReLU())
    result = gradcheck(net, x)
    assert result
    places = {(kink.name, kink.index) for kink in result.kinks}
    assert places == {
        *(("x", (0, column)) for column in range(3)),
        *(("0.w", (row, 0)) for row in range(3)),
        ("0.b", (0,)),
    }
    assert {kink.output for kink in result.kinks} == {(0, 0)}
    for kink in result.kinks:
        assert min(abs(kink.below), abs(kink.above)) == pytest.approx(0, abs=1e-7)

    class Transposed(Linear):
        def bprop(self, dy, need_dx=True):
            dx = super().bprop(dy, need_dx)
            self.dw[:2] = self.dw[:2].T.copy()
            return dx

    bad = Transposed(3, 2, 0, np.float64)
    bad.b[0] = linear.b[0]
    assert not gradcheck(Sequential(bad, ReLU()), x)


class Hinge(Loss):
    """sum(max(0, 1 - t * z)), with a derivative of one's own where it has none."""

    def __init__(self, slope):
        self.slope = slope

    def fprop(self, z, t):
        self.z, self.t = z.copy(), t
        return float(np.maximum(0, 1 - t * z).sum())

    def bprop(self, scale):
        margin = 1 - self.t * self.z
        return scale * np.where(margin == 0, self.slope, margin > 0) * -self.t


def test_losses():
    z, t = [[1.0], [0.25], [-1.0]], np.array([[1.0], [-1.0], [-1.0]])
    for slope in (0.0, 0.5, 1.0):
        result = gradcheck(Hinge(slope), z, t)
        assert result
        where = [(kink.output, kink.index) for kink in result.kinks]
        assert where in ([((), (0, 0)), ((), (2, 0))], [])  # half is what differences say, too
        assert (slope == 0.5) == (where == [])
    assert str(gradcheck(Hinge(0.0), z, t)).count("d loss / d x[0, 0] (-1 below, 0 above)") == 1
    assert not gradcheck(Hinge(1.001), z, t)
    assert not gradcheck(Hinge(-0.1), z, t)


def test_several_inputs_and_outputs():
    a, b = Input(2), Input(2)
    total = Add()(a, b)
    net = Graph([a, b], [Tanh()(total), ReLU()(total)])
    x = np.array([[0.5, 0.25]]), np.array([[-0.5, 0.5]])
    result = gradcheck(net, x)
    assert result
    assert [(kink.of, kink.name, kink.index, kink.output) for kink in result.kinks] == [
        ("y1", "x0", (0, 0), (0, 0)),
        ("y1", "x1", (0, 0), (0, 0)),
    ]


def test_several_relus_at_0_at_once_fail_and_the_message_names_the_kink():
    """With slopes 1 below and 2 above, bprop returns 0: no derivative from any side."""
    first, last = Linear(1, 2, 0, np.float64), Linear(2, 1, 0, np.float64)
    first.w[:] = [[1.0, -1.0]]
    last.w[:] = [[2.0], [-1.0]]
    net = Sequential(first, ReLU(), last)
    result = gradcheck(net, [[0.0]])
    assert not result
    assert result.name == "x"
    assert str(result).endswith("fprop has a kink there, 1 below and 2 above")
    assert gradcheck(net, [[0.5]])


def test_a_text_names_a_few_of_many_kinks():
    result = gradcheck(ReLU(), np.zeros((2, 5)))
    assert len(result.kinks) == 10
    assert str(result).count("below") == 3
    assert str(result).endswith(" and 7 more")
