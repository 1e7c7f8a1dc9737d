"""Gradient check: the whole Jacobian of `bprop` against that of numerical differentiation.

The method is that of slide 13 of the exercise. `fprop` gives one column at a time, by central
differences around `x_i`:

    J[:, i] = (fprop(x_i + h_i) - fprop(x_i - h_i)) / (2 * h_i),   h_i = sqrt(eps) * max(|x_i|, 1)

`bprop` gives one row at a time, for a `dy` with one entry that is not zero. The check does this for
the input and for every parameter. The slide has `max(x_i, 1)`: here it is `|x_i|`, because a large
negative `x_i` needs a large step, too.

Errors are relative, `|n - a| / max(|n|, |a|, 1)` for the numeric `n` and the backpropagated `a`.
The 1 is there because the step is so small. `fprop` rounds by about `eps * |y|`. Divided by `h`,
this is an absolute noise of about `1.5e-8 * |y|`, which drowns a small derivative. The tolerance of
1e-6 is some ten times the noise while the values in `fprop` stay below 5 or so. So take a small
random `x`, and a small batch for a loss, which sums over it.

A ReLU has no derivative at 0, and the difference from `x_i - h_i` to `x_i + h_i` mixes its two
slopes. So where the difference and `bprop` do not agree, the check takes the slopes beside these
points, from h to 3h on either side. The two slopes differ for two reasons: the jump at a kink,
which does not depend on the distance, and the curvature of `fprop`, whose part grows with the
distance. To tell one from the other, the check also takes the slopes from h to 15h, whose middles
are 4 times as far apart. At a kink any value between the two slopes is right (a subgradient, Clarke
1983).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop.layers.batch import Array
from jitprop.layers.copies import copied
from jitprop.layers.module import Loss, Module
from jitprop.layers.node import what
from jitprop.layers.weighted import Weighted

STEP = float(np.sqrt(np.finfo(np.float64).eps))
# The entry of dy, and the scale of a loss. It is not 1, so that a bprop that drops or squares it
# fails. It is a power of two, so that dividing by it is exact.
UNIT = 0.5


NEAR, FAR = 3, 15  # steps h to the end of the shorter and of the longer slope beside a kink
KINKS = 3  # a line of text names so many at most


class GradientError(ValueError):
    """A gradient from `bprop` is not the derivative of `fprop`."""


@dataclass(frozen=True)
class Kink:
    """An entry of a Jacobian where `fprop` has two derivatives, one on each side.

    Attributes
    ----------
    name, index, output, of : str, tuple of int, tuple of int, str
        Where it is, as in `GradCheckResult`.
    below, above : float
        The derivatives on the side of the smaller and of the larger values of that entry.
    """

    name: str
    index: tuple[int, ...]
    output: tuple[int, ...]
    below: float
    above: float
    of: str = "y"

    def __str__(self) -> str:
        where = _derivative(self.of, self.output, self.name, self.index)
        return f"{where} ({self.below:.9g} below, {self.above:.9g} above)"


def _derivative(of: str, output: tuple[int, ...], name: str, index: tuple[int, ...]) -> str:
    return f"d {of + str(list(output)) if output else 'loss'} / d {name}{list(index)}"


@dataclass(frozen=True)
class GradCheckResult:
    """The worst entry of all Jacobians; true if it is within the tolerance.

    Attributes
    ----------
    error : float
        Its relative error; infinite if one of the two derivatives is not finite.
    name : str
        "x", or "x0", "x1" for several inputs; or the name of the parameter.
    index : tuple of int
        The entry of `x` or of the parameter.
    output : tuple of int
        The entry of `y`; () for a loss.
    numeric : float
        The derivative of that output by that entry, from differences of `fprop`. At a kink it is
        the value between the two derivatives that is nearest to `analytic`.
    analytic : float
        The same from `bprop`.
    tolerance : float
        The largest relative error that passes.
    of : str
        "y", or "y0", "y1" for several outputs.
    kinks : tuple of Kink
        The kinks at which `bprop` and the central difference do not agree. `fprop` has no
        derivative there, and `bprop` may return any value between those of the two sides. Other
        kinks are not listed.
    """

    error: float
    name: str
    index: tuple[int, ...]
    output: tuple[int, ...]
    numeric: float
    analytic: float
    tolerance: float
    of: str = "y"
    kinks: tuple[Kink, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        where = _derivative(self.of, self.output, self.name, self.index)
        line = (
            f"{where} is {self.numeric:.9g} by differences, {self.analytic:.9g} by bprop: "
            f"relative error {self.error:.2g}, tolerance {self.tolerance:.2g}"
        )
        here = (self.of, self.output, self.name, self.index)
        for kink in () if self.ok else self.kinks:
            if (kink.of, kink.output, kink.name, kink.index) == here:
                line += (
                    f"; fprop has a kink there, {kink.below:.9g} below and {kink.above:.9g} above"
                )
        if self.ok and self.kinks:
            named = ", ".join(map(str, self.kinks[:KINKS]))
            more = f" and {len(self.kinks) - KINKS} more" if len(self.kinks) > KINKS else ""
            line += f"; passed at {len(self.kinks)} kinks of fprop: {named}{more}"
        return line


def gradcheck(
    module: Module | Loss,
    x: npt.ArrayLike | tuple[npt.ArrayLike, ...],
    t: npt.ArrayLike | tuple[npt.ArrayLike, ...] | None = None,
    *,
    tolerance: float = 1e-6,
    raise_on_error: bool = False,
) -> GradCheckResult:
    """Check `bprop` of a module at `x`, or of a loss at the output `x` and the targets `t`.

    The check runs on a copy with float64 parameters, whatever the precision of the module. The
    module itself stays untouched. So the check tests the formulas, as far as float64 can tell. It
    calls `fprop` twice for every entry of `x` and of the parameters, each time from the same states
    (a Dropout draws the same numbers again), and six times more where the two disagree. It calls
    `bprop` once for every entry of `y`, and keeps the Jacobians.

    Where `fprop` has a kink, as a ReLU has at 0, it has a derivative on each side. Any value
    between them passes, and the result says where that was. One entry may move several ReLUs that
    are all at 0, for example with a row of zeros and biases of 0. Then even right modules may add
    up to a value that is not between. That fails, and the message names the kink: check at another
    `x`.

    Parameters
    ----------
    module : Module or Loss
        Any module, a `Graph`, too, or any loss.
    x : array, or tuple of arrays
        The input, converted to float64; a tuple for several. Small random numbers are best.
    t : array, tuple of arrays or None
        The targets of a loss; a tuple if `x` is one. For a `Weighted` loss, (t, weights).
    tolerance : float
        The largest relative error that passes.
    raise_on_error : bool
        Raise if the check fails.

    Returns
    -------
    GradCheckResult
        The worst relative error in all Jacobians, and its place.

    Raises
    ------
    GradientError
        The check failed and `raise_on_error` is set; or, in any case, `bprop` returned a gradient
        of a wrong shape.
    ValueError
        There is nothing to check because `x` or `y` is empty.
    TypeError
        There are targets but no loss, or a loss but no targets.
    """
    if not isinstance(module, Module | Loss):
        raise TypeError(f"gradcheck: module is {what(module)}, expected a module or a loss")
    if isinstance(module, Loss) != (t is not None):
        raise TypeError(f"{module!r}: a loss is checked with targets t, a module without")
    twin = float64_twin(AtTargets(module, t) if isinstance(module, Loss) else module)
    xs = tuple(np.array(one, np.float64) for one in (x if isinstance(x, tuple) else (x,)))
    with np.errstate(all="ignore"):  # a number that is not finite fails the check
        result = _worst(twin, xs, tolerance)
    if raise_on_error and not result:
        raise GradientError(f"{module!r}: {result}")
    return result


class AtTargets(Module):
    """A loss with fixed targets: a module whose output is one number, of shape ()."""

    def __init__(self, loss: Loss, t: Any) -> None:
        self.loss = loss
        self.t = _as_target(t)
        while isinstance(loss, Weighted):
            loss, t = loss.loss, t[0]
        self.several = isinstance(t, tuple)

    def fprop(self, *zs: Array) -> Array:
        z: Any = zs if self.several else zs[0]
        return np.array(self.loss.fprop(z, self.t))

    def bprop(self, dy: Array, need_dx: bool = True) -> Any:
        return self.loss.bprop(float(dy))

    def __repr__(self) -> str:
        return repr(self.loss)


def _as_target(t: Any) -> Any:
    if isinstance(t, tuple):
        return tuple(map(_as_target, t))
    t = np.asarray(t)
    return t.astype(np.float64) if t.dtype.kind == "f" else t


def float64_twin(module: Module) -> Module:
    """Return a deep copy whose parameters and gradients are float64."""
    parameters = module.parameters()
    arrays = [array for p in parameters for array in (p.value, p.grad)]
    return copied(module, {id(array): array.astype(np.float64) for array in arrays})


class Function:
    """A module as a function of inputs and parameters; each call starts from the same states."""

    def __init__(self, module: Module, xs: tuple[Array, ...]) -> None:
        self.module = module
        self.xs = xs
        self.states = [(state.value, state.value.copy()) for state in module.states()]
        names = ["x"] if len(xs) == 1 else [f"x{place}" for place in range(len(xs))]
        self.variables = list(zip(names, xs, strict=True))
        self.variables += [(p.name, p.value) for p in module.parameters()]

    def fprop(self) -> list[Array]:
        """Return copies of the outputs."""
        for value, start in self.states:
            value[...] = start
        return [y.copy() for y in _as_tuple(self.module.fprop(*self.xs))]

    def bprop(self, dys: list[Array]) -> list[Any]:
        """Return the gradients of all variables."""
        for parameter in self.module.parameters():
            parameter.grad[...] = np.nan  # so that an entry that bprop leaves out is found
        dxs = _as_tuple(self.module.bprop(*dys))
        if len(dxs) != len(self.xs):
            raise GradientError(
                f"{self.module!r}: bprop returned {len(dxs)} gradients for {len(self.xs)} inputs"
            )
        return [*dxs, *(p.grad for p in self.module.parameters())]


def _as_tuple(given: Any) -> tuple[Any, ...]:
    return given if isinstance(given, tuple) else (given,)


def _worst(module: Module, xs: tuple[Array, ...], tolerance: float) -> GradCheckResult:
    function = Function(module, xs)
    jacobians = _jacobians(function)
    names = ["y"] if len(jacobians) == 1 else [f"y{place}" for place in range(len(jacobians))]
    worst: GradCheckResult | None = None
    kinks: list[Kink] = []
    for at, (name, variable) in enumerate(function.variables):
        for index in np.ndindex(variable.shape):
            analytics = [jacobian[at][(..., *index)] for jacobian in jacobians]
            numerics, errors, found = compared(function, variable, index, analytics, tolerance)
            kinks += [
                Kink(name, index, output, *both, names[place]) for place, output, both in found
            ]
            for of, error, numeric, analytic in zip(
                names, errors, numerics, analytics, strict=True
            ):
                output = tuple(map(int, np.unravel_index(error.argmax(), error.shape)))
                if worst is None or error[output] > worst.error:
                    worst = GradCheckResult(
                        error=float(error[output]),
                        name=name,
                        index=index,
                        output=output,
                        numeric=float(numeric[output]),
                        analytic=float(analytic[output]),
                        tolerance=tolerance,
                        of=of,
                    )
    assert worst is not None  # _jacobians refuses an empty x
    return replace(worst, kinks=tuple(kinks))


def compared(
    function: Function,
    variable: Array,
    index: tuple[int, ...],
    analytics: Sequence[Array],
    tolerance: float,
) -> tuple[list[Array], list[Array], list[tuple[int, tuple[int, ...], tuple[float, float]]]]:
    """Compare dy/dvariable[index] by differences with what `bprop` says, for every y.

    Parameters
    ----------
    function : Function
    variable : array
        An input or a parameter of it.
    index : tuple of int
        An entry of `variable`.
    analytics : sequence of arrays
        The derivatives by `bprop`, of the shapes of the outputs.
    tolerance : float
        The largest relative error that passes without a look at kinks.

    Returns
    -------
    numerics, errors : lists of arrays
        The derivatives by differences, at kinks as near to `analytics` as they may be, and the
        relative errors.
    kinks : list of tuples
        The number of the output, the entry of it, and the derivatives below and above.
    """
    numerics = _numeric_columns(function, variable, index)
    errors = [_errors(*both) for both in zip(numerics, analytics, strict=True)]
    kinks = []
    if any((error > tolerance).any() for error in errors):
        for place, sides in enumerate(_sides(function, variable, index)):
            below, above, found = _kinks(sides, numerics[place], tolerance)
            found &= errors[place] > tolerance
            nearest = np.clip(analytics[place], *np.sort([below, above], axis=0))
            numerics[place] = np.where(found, nearest, numerics[place])
            errors[place] = _errors(numerics[place], analytics[place])
            for output in map(tuple, np.argwhere(found).tolist()):
                kinks.append((place, output, (float(below[output]), float(above[output]))))
    return numerics, errors, kinks


def _errors(numeric: Array, analytic: Array) -> Array:
    """Return the relative errors; infinite where one of the two derivatives is not finite."""
    size = np.maximum(np.maximum(np.abs(numeric), np.abs(analytic)), 1)
    error = np.abs(numeric - analytic) / size
    return np.where(np.isfinite(error), error, np.inf)


def _jacobians(function: Function) -> list[list[Array]]:
    """Return dy/dvariable for every y and variable; its shape is that of y, then the variable's."""
    ys = function.fprop()
    if any(array.size == 0 for array in (*function.xs, *ys)):
        shapes = " and ".join(str(x.shape) for x in function.xs)
        raise ValueError(f"{function.module!r}: nothing to check for x of shape {shapes}")
    jacobians = [
        [np.empty(y.shape + variable.shape) for _, variable in function.variables] for y in ys
    ]
    for place, y in enumerate(ys):
        for output in np.ndindex(y.shape):
            dys = [np.zeros_like(each) for each in ys]
            dys[place][output] = UNIT
            for (name, variable), jacobian, gradient in zip(
                function.variables, jacobians[place], function.bprop(dys), strict=True
            ):
                if np.shape(gradient) != variable.shape:
                    raise GradientError(
                        f"{function.module!r}: the gradient of {name} has shape "
                        f"{np.shape(gradient)}, {name} has shape {variable.shape}"
                    )
                jacobian[output] = gradient / UNIT
    return jacobians


def _numeric_columns(function: Function, variable: Array, index: tuple[int, ...]) -> list[Array]:
    """Return dy/dvariable[index] for every y, of its shape, by central differences."""
    kept = variable[index]
    h = STEP * max(abs(kept), 1)
    above, below = kept + h, kept - h
    variable[index] = above
    ys_above = function.fprop()
    variable[index] = below
    ys_below = function.fprop()
    variable[index] = kept
    # above - below is 2h after rounding
    return [(a - b) / (above - below) for a, b in zip(ys_above, ys_below, strict=True)]


def _sides(
    function: Function, variable: Array, index: tuple[int, ...]
) -> list[tuple[Array, Array, Array, Array]]:
    """Return four slopes beside `variable[index]` for every y, of its shape.

    First come the slopes over the shorter way, below and above, then those over the longer way.
    """
    kept = variable[index]
    h = STEP * max(abs(kept), 1)

    def at(steps: int) -> tuple[float, list[Array]]:
        variable[index] = x = kept + steps * h
        ys = function.fprop()
        variable[index] = kept
        return x, ys

    def slopes(side: int) -> Iterator[list[Array]]:
        x, ys = at(side)
        for steps in (NEAR, FAR):
            end, ys_end = at(side * steps)
            yield [(a - b) / (end - x) for a, b in zip(ys_end, ys, strict=True)]

    (below, far_below), (above, far_above) = slopes(-1), slopes(1)
    return list(zip(below, above, far_below, far_above, strict=True))


def _kinks(
    sides: tuple[Array, Array, Array, Array], numeric: Array, tolerance: float
) -> tuple[Array, Array, Array]:
    """Return the derivatives below and above, and where there is a kink between them.

    The middles of the longer slopes are `1 + FAR` steps apart, those of the shorter `1 + NEAR`. A
    straight line through both differences, drawn to distance 0, gives the jump of the derivative:
    it is 0 where `fprop` is smooth. Where `fprop` itself jumps, the numeric derivative does not lie
    between the two.
    """
    below, above, far_below, far_above = sides
    near, far = above - below, far_above - far_below
    jump = near - (far - near) * (1 + NEAR) / (FAR - NEAR)
    slack = tolerance * np.maximum(np.maximum(np.abs(below), np.abs(above)), 1)
    low, high = np.minimum(below, above) - slack, np.maximum(below, above) + slack
    kink = (np.abs(jump) > np.maximum(slack, np.abs(near) / 2)) & (low <= numeric)
    return below + 0.0, above + 0.0, kink & (numeric <= high)  # 0, not -0, for a text
