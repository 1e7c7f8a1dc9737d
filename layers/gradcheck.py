"""Gradient check: the whole Jacobian of `bprop` against that of numerical differentiation.

The method of the exercise's slides. One column at a time, by central differences around `x_i`,

    J[:, i] = (fprop(x_i + h_i) - fprop(x_i - h_i)) / (2 * h_i),   h_i = sqrt(eps) * max(|x_i|, 1)

and one row at a time, by `bprop` of a `dy` that is zero but for one entry; for the input and for
every parameter. Errors are relative, `|n - a| / max(|n|, |a|, 1)` for the numeric `n` and the
backpropagated `a`. The 1 is there because the step is so small: rounding in `fprop`, of about
`eps * |y|`, comes back divided by `h`, as an absolute noise of about `1.5e-8 * |y|` that drowns a
small derivative. The tolerance of 1e-6 is some ten times the noise while the values in `fprop` stay
below 5 or so; hence small random `x`, and a small batch for a loss, which sums over it.
"""

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layers.batch import Array
from layers.module import Loss, Module

STEP = float(np.sqrt(np.finfo(np.float64).eps))
# The entry of dy, and the scale of a loss. Not 1, so that a bprop that drops or squares it fails; a
# power of two, so that dividing by it is exact.
UNIT = 0.5


class GradientError(ValueError):
    """A gradient from `bprop` is not the derivative of `fprop`."""


@dataclass(frozen=True)
class GradCheckResult:
    """The worst entry of all Jacobians; true if it is within the tolerance.

    Attributes:
        error: its relative error, infinite where one of the two derivatives is not finite.
        name: "x", or the name of the parameter.
        index: the entry of `x` or of the parameter.
        output: the entry of `y`; () for a loss.
        numeric: the derivative of that output by that entry, by differences of `fprop`.
        analytic: the same from `bprop`.
        tolerance: the largest relative error that passes.
    """

    error: float
    name: str
    index: tuple[int, ...]
    output: tuple[int, ...]
    numeric: float
    analytic: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        output = f"y{list(self.output)}" if self.output else "loss"
        return (
            f"d {output} / d {self.name}{list(self.index)} is {self.numeric:.9g} by differences, "
            f"{self.analytic:.9g} by bprop: relative error {self.error:.2g}, "
            f"tolerance {self.tolerance:.2g}"
        )


def gradcheck(
    module: Module | Loss,
    x: npt.ArrayLike,
    t: npt.ArrayLike | None = None,
    *,
    tolerance: float = 1e-6,
    raise_on_error: bool = False,
) -> GradCheckResult:
    """Check `bprop` of a module at `x`, or of a loss at the output `x` and the targets `t`.

    The check runs on a copy with float64 parameters, whatever the precision of the module, which
    itself stays untouched: it checks the formulas, to what float64 can tell. It takes two `fprop`
    for every entry of `x` and of the parameters, one `bprop` for every entry of `y`, and memory for
    the Jacobians.

    Args:
        module: any `Module`, a `Sequential` too, or any `Loss`.
        x: the input, converted to float64; small random numbers are best.
        t: for a loss, its targets.
        tolerance: the largest relative error that passes.
        raise_on_error: raise if the check fails.

    Returns:
        The worst relative error over all Jacobians, and where it is.

    Raises:
        GradientError: the check failed and `raise_on_error` is set; or, in any case, `bprop`
            returned something of another shape than it should.
        ValueError: nothing to check because `x` or `y` is empty.
        TypeError: targets without a loss, or a loss without targets.
    """
    if isinstance(module, Loss) != (t is not None):
        raise TypeError(f"{module!r}: a loss is checked with targets t, a module without")
    twin = _float64_twin(_AtTargets(module, t) if isinstance(module, Loss) else module)
    x = np.array(x, np.float64)
    with np.errstate(all="ignore"):  # what is not finite is reported as a failed check
        result = _worst(twin, x, tolerance)
    if raise_on_error and not result:
        raise GradientError(f"{module!r}: {result}")
    return result


class _AtTargets(Module):
    """A loss at fixed targets: a module whose output is one number, of shape ()."""

    def __init__(self, loss: Loss, t: npt.ArrayLike | None) -> None:
        t = np.asarray(t)
        self.loss = loss
        self.t = t.astype(np.float64) if t.dtype.kind == "f" else t

    def fprop(self, x: Array) -> Array:
        return np.array(self.loss.fprop(x, self.t))

    def bprop(self, dy: Array, need_dx: bool = True) -> Array:
        return self.loss.bprop(float(dy))

    def __repr__(self) -> str:
        return repr(self.loss)


def _float64_twin(module: Module) -> Module:
    """Return a deep copy in which float64 arrays stand for the parameters and their gradients."""
    parameters = module.parameters()
    arrays = [array for p in parameters for array in (p.value, p.grad)]
    return copy.deepcopy(module, {id(array): array.astype(np.float64) for array in arrays})


def _worst(module: Module, x: Array, tolerance: float) -> GradCheckResult:
    jacobians = _jacobians(module, x)
    variables = [("x", x), *((p.name, p.value) for p in module.parameters())]
    worst: GradCheckResult | None = None
    for (name, variable), jacobian in zip(variables, jacobians, strict=True):
        for index in np.ndindex(variable.shape):
            numeric = _numeric_column(module, x, variable, index)
            analytic = jacobian[(..., *index)]
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
                )
    assert worst is not None  # _jacobians refuses an empty x
    return worst


def _jacobians(module: Module, x: Array) -> list[Array]:
    """Return dy/dx and dy/dparameter, each of the shape of y followed by that of the variable."""
    y_shape = module.fprop(x).shape
    if x.size == 0 or 0 in y_shape:
        raise ValueError(f"{module!r}: nothing to check for x of shape {x.shape}")
    variables = [("x", x), *((p.name, p.value) for p in module.parameters())]
    jacobians = [np.empty(y_shape + variable.shape) for _, variable in variables]
    for output in np.ndindex(y_shape):
        for parameter in module.parameters():
            parameter.grad[...] = np.nan  # so that an entry that bprop leaves out is found
        dy = np.zeros(y_shape)
        dy[output] = UNIT
        gradients = [module.bprop(dy), *(p.grad for p in module.parameters())]
        for (name, variable), jacobian, gradient in zip(
            variables, jacobians, gradients, strict=True
        ):
            if np.shape(gradient) != variable.shape:
                raise GradientError(
                    f"{module!r}: the gradient of {name} has shape {np.shape(gradient)}, "
                    f"{name} has shape {variable.shape}"
                )
            jacobian[output] = gradient / UNIT
    return jacobians


def _numeric_column(module: Module, x: Array, variable: Array, index: tuple[int, ...]) -> Array:
    """Return dy/dvariable[index], of the shape of y, by central differences."""
    kept = variable[index]
    h = STEP * max(abs(kept), 1)
    above, below = kept + h, kept - h
    variable[index] = above
    y_above = module.fprop(x).copy()
    variable[index] = below
    y_below = module.fprop(x).copy()
    variable[index] = kept
    return (y_above - y_below) / (above - below)  # 2h as it is after rounding
