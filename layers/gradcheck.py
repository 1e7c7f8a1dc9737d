"""Gradient check: the whole Jacobian of `bprop` against that of numerical differentiation.

The method is that of slide 13 of the exercise. One column at a time, by central differences around
`x_i`,

    J[:, i] = (fprop(x_i + h_i) - fprop(x_i - h_i)) / (2 * h_i),   h_i = sqrt(eps) * max(|x_i|, 1)

and one row at a time, by `bprop` of a `dy` that is zero but for one entry; for the input and for
every parameter. The slide has `max(x_i, 1)`: here it is `|x_i|`, because a large negative `x_i`
needs a large step, too.

Errors are relative, `|n - a| / max(|n|, |a|, 1)` for the numeric `n` and the backpropagated `a`.
The 1 is there because the step is so small: rounding in `fprop`, of about `eps * |y|`, comes back
divided by `h`, as an absolute noise of about `1.5e-8 * |y|` that drowns a small derivative. The
tolerance of 1e-6 is some ten times the noise while the values in `fprop` stay below 5 or so. Hence
small random `x`, and a small batch for a loss, which sums over it.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop.layers.batch import Array
from jitprop.layers.module import Loss, Module

STEP = float(np.sqrt(np.finfo(np.float64).eps))
# The entry of dy, and the scale of a loss. Not 1, so that a bprop that drops or squares it fails; a
# power of two, so that dividing by it is exact.
UNIT = 0.5


class GradientError(ValueError):
    """A gradient from `bprop` is not the derivative of `fprop`."""


@dataclass(frozen=True)
class GradCheckResult:
    """The worst entry of all Jacobians; true if it is within the tolerance.

    Attributes
    ----------
    error : float
        Its relative error, infinite where one of the two derivatives is not finite.
    name : str
        "x", of several inputs "x0", "x1"; or the name of the parameter.
    index : tuple of int
        The entry of `x` or of the parameter.
    output : tuple of int
        The entry of `y`; () for a loss.
    numeric : float
        The derivative of that output by that entry, by differences of `fprop`.
    analytic : float
        The same from `bprop`.
    tolerance : float
        The largest relative error that passes.
    of : str
        "y", of several outputs "y0", "y1".
    """

    error: float
    name: str
    index: tuple[int, ...]
    output: tuple[int, ...]
    numeric: float
    analytic: float
    tolerance: float
    of: str = "y"

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        output = f"{self.of}{list(self.output)}" if self.output else "loss"
        return (
            f"d {output} / d {self.name}{list(self.index)} is {self.numeric:.9g} by differences, "
            f"{self.analytic:.9g} by bprop: relative error {self.error:.2g}, "
            f"tolerance {self.tolerance:.2g}"
        )


def gradcheck(
    module: Module | Loss,
    x: npt.ArrayLike | tuple[npt.ArrayLike, ...],
    t: npt.ArrayLike | tuple[npt.ArrayLike, ...] | None = None,
    *,
    tolerance: float = 1e-6,
    raise_on_error: bool = False,
) -> GradCheckResult:
    """Check `bprop` of a module at `x`, or of a loss at the output `x` and the targets `t`.

    The check runs on a copy with float64 parameters, whatever the precision of the module, which
    itself stays untouched: it checks the formulas, to what float64 can tell. It calls `fprop` twice
    for every entry of `x` and of the parameters, each time from the same states (a Dropout draws
    the same numbers again). It calls `bprop` once for every entry of `y`, and keeps the Jacobians.

    Parameters
    ----------
    module : Module or Loss
        Any of them, a `Graph`, too.
    x : array, or tuple of arrays
        The input, converted to float64; a tuple for several. Small random numbers are best.
    t : array, tuple of arrays or None
        For a loss, its targets; a tuple where `x` is one.
    tolerance : float
        The largest relative error that passes.
    raise_on_error : bool
        Raise if the check fails.

    Returns
    -------
    GradCheckResult
        The worst relative error over all Jacobians, and where it is.

    Raises
    ------
    GradientError
        The check failed and `raise_on_error` is set. In any case if `bprop` returned a gradient of
        a wrong shape.
    ValueError
        There is nothing to check because `x` or `y` is empty.
    TypeError
        Targets without a loss, or a loss without targets.
    """
    if isinstance(module, Loss) != (t is not None):
        raise TypeError(f"{module!r}: a loss is checked with targets t, a module without")
    twin = _float64_twin(_AtTargets(module, t) if isinstance(module, Loss) else module)
    xs = tuple(np.array(one, np.float64) for one in (x if isinstance(x, tuple) else (x,)))
    with np.errstate(all="ignore"):  # what is not finite is reported as a failed check
        result = _worst(twin, xs, tolerance)
    if raise_on_error and not result:
        raise GradientError(f"{module!r}: {result}")
    return result


class _AtTargets(Module):
    """A loss at fixed targets: a module whose output is one number, of shape ()."""

    def __init__(self, loss: Loss, t: Any) -> None:
        self.loss = loss
        self.t = tuple(map(_as_target, t)) if isinstance(t, tuple) else _as_target(t)

    def fprop(self, *zs: Array) -> Array:
        z: Any = zs if isinstance(self.t, tuple) else zs[0]
        t: Any = self.t
        return np.array(self.loss.fprop(z, t))

    def bprop(self, dy: Array, need_dx: bool = True) -> Any:
        return self.loss.bprop(float(dy))

    def __repr__(self) -> str:
        return repr(self.loss)


def _as_target(t: npt.ArrayLike) -> Array:
    t = np.asarray(t)
    return t.astype(np.float64) if t.dtype.kind == "f" else t


def _float64_twin(module: Module) -> Module:
    """Return a deep copy in which float64 arrays stand for the parameters and their gradients."""
    parameters = module.parameters()
    arrays = [array for p in parameters for array in (p.value, p.grad)]
    return copy.deepcopy(module, {id(array): array.astype(np.float64) for array in arrays})


class _Function:
    """A module as a function of its inputs and parameters, which starts from the same states."""

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
    function = _Function(module, xs)
    jacobians = _jacobians(function)
    worst: GradCheckResult | None = None
    for at, (name, variable) in enumerate(function.variables):
        for index in np.ndindex(variable.shape):
            numeric_columns = _numeric_columns(function, variable, index)
            for place, numeric in enumerate(numeric_columns):
                analytic = jacobians[place][at][(..., *index)]
                size = np.maximum(np.maximum(np.abs(numeric), np.abs(analytic)), 1)
                error = np.abs(numeric - analytic) / size
                error = np.where(np.isfinite(error), error, np.inf)
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
                        of="y" if len(jacobians) == 1 else f"y{place}",
                    )
    assert worst is not None  # _jacobians refuses an empty x
    return worst


def _jacobians(function: _Function) -> list[list[Array]]:
    """Return dy/dvariable for every y and variable, of the shape of the one, then the other."""
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


def _numeric_columns(function: _Function, variable: Array, index: tuple[int, ...]) -> list[Array]:
    """Return dy/dvariable[index] for every y, of its shape, by central differences."""
    kept = variable[index]
    h = STEP * max(abs(kept), 1)
    above, below = kept + h, kept - h
    variable[index] = above
    ys_above = function.fprop()
    variable[index] = below
    ys_below = function.fprop()
    variable[index] = kept
    # above - below is 2h as it is after rounding
    return [(a - b) / (above - below) for a, b in zip(ys_above, ys_below, strict=True)]
