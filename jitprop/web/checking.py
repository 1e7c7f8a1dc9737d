"""The gradient check of slide 13, some columns at a time, with an error planted on demand."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jitprop.layers import Activation, Linear, Module
from jitprop.layers.gradcheck import (
    STEP,
    UNIT,
    AtTargets,
    Function,
    compared,
    float64_twin,
)
from jitprop.web.looking import Model
from jitprop.web.wire import shortened

Array = npt.NDArray[Any]

TOLERANCE = 1e-6
MOST_COLUMNS = 64


class Fault(NamedTuple):
    """An error in the `bprop` of a module.

    Attributes
    ----------
    step : int
        The place of the module.
    what : str
        "dx", "dw" or "db": what it gets wrong.
    told : str
        What the page says once it is found.
    """

    step: int
    what: str
    told: str


FAULTS = {
    "dw": "dW = x · dE/dy had the wrong sign",
    "db": "db = dE/dy was forgotten, it stayed 0",
    "dx": "dE/dx = dE/dy · Wᵀ left out the first unit",
    "slope": "dE/dx was dE/dy alone, without the slope of the function",
}


def faults(model: Model) -> list[Fault]:
    """Return the errors that can be planted into a model."""
    found = []
    for place, step in enumerate(model.net.steps):
        if isinstance(step.module, Linear):
            found += [Fault(place, "dw", FAULTS["dw"]), Fault(place, "db", FAULTS["db"])]
            found.append(Fault(place, "dx", FAULTS["dx"]))
        elif isinstance(step.module, Activation):
            found.append(Fault(place, "dx", FAULTS["slope"]))
    return found


def planted(model: Model, seed: int, secret: str) -> Fault:
    """Return the error that a seed plants; who does not know the secret cannot tell which."""
    known = faults(model)
    if not known:
        raise ValueError("there is no module in this network that an error can be planted into")
    digest = hashlib.sha256(f"{secret} {seed}".encode()).digest()
    return known[int.from_bytes(digest[:8], "big") % len(known)]


def places(model: Model) -> list[dict[str, Any]]:
    """Return what can be checked: the whole network, each module, the loss, and by what."""
    modules: list[tuple[str, int, Module]] = [("the whole network", -1, model.net)]
    modules += [
        (repr(step.module), place, step.module)
        for place, step in enumerate(model.net.steps)
        if _can_be_checked(step)
    ]
    found = []
    for name, place, module in modules:
        width = 784 if place < 0 else _width_before(model, place)
        by = [{"name": "x", "shape": (width,)}]
        by += [{"name": one.name, "shape": one.value.shape} for one in module.parameters()]
        found.append({"name": name, "step": place, "by": by})
    last = {"name": "x", "shape": (model.classes,)}
    return [*found, {"name": repr(model.loss), "step": len(model.net.steps), "by": [last]}]


def check(
    model: Model,
    digit: Array,
    target: int,
    step: int,
    name: str,
    columns: list[int],
    fault: Fault | None = None,
) -> dict[str, Any]:
    """Return columns of a Jacobian, by differences and by `bprop`.

    Parameters
    ----------
    model : Model
    digit : (28, 28) uint8
        What the network sees; a module gets what the one before makes of it.
    target : int
        The class that the loss is told.
    step : int
        The place of a module, -1 for the whole network, their number for the loss.
    name : str
        By what: "x", or the name of a parameter.
    columns : list of int
        Entries of that, counted row by row; at most 64.
    fault : Fault or None
        The error to plant.

    Returns
    -------
    dict
        For each column the entry "at", the step "h", the columns "numeric" and "analytic", and the
        relative "error" that is largest; "tolerance". At a kink, as ReLU has one, "numeric" is the
        value between the derivatives of both sides that is nearest to "analytic".
    """
    if not 1 <= len(columns) <= MOST_COLUMNS:
        raise ValueError(f"there can be 1 to {MOST_COLUMNS} columns at once, not {len(columns)}")
    function = _function(model, digit, target, step, fault)
    known = [known for known, _ in function.variables]
    if name not in known:
        raise ValueError(
            f"there is nothing called {shortened(name)} there, expected {', '.join(known)}"
        )
    place = known.index(name)
    variable = function.variables[place][1]
    if not all(0 <= column < variable.size for column in columns):
        raise ValueError(f"{name} has the entries 0 to {variable.size - 1}")
    with np.errstate(all="ignore"):
        (y,) = function.fprop()
        analytic = _rows(function, place, columns)
        numeric, errors = [], []
        for column, by_bprop in zip(columns, analytic.T, strict=True):
            index = _index(column, variable.shape)
            told = [by_bprop.reshape(y.shape)]
            (numbers,), (error,), _ = compared(function, variable, index, told, TOLERANCE)
            numeric.append(numbers.reshape(-1))
            errors.append(error)
    return {
        "at": variable.reshape(-1)[columns],
        "h": STEP * np.maximum(np.abs(variable.reshape(-1)[columns]), 1),
        "numeric": numeric,
        "analytic": analytic.T,
        "error": [float(error.max()) for error in errors],
        "tolerance": TOLERANCE,
    }


def _can_be_checked(step: Any) -> bool:
    """Return whether a module takes one array and gives one."""
    return len(step.takes) == len(step.gives) == 1


def _index(column: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(column, shape)))


def _width_before(model: Model, place: int) -> int:
    module = model.net.steps[place].module
    if isinstance(module, Linear):
        return module.in_features
    widths = model.net.widths((784,))
    return int(widths[model.net.steps[place].takes[0]] or 0)


def _function(model: Model, digit: Array, target: int, step: int, fault: Fault | None) -> Function:
    """Return a copy, in float64, of what is to be checked, with the error in it."""
    steps = model.net.steps
    if not -1 <= step <= len(steps) or (
        0 <= step < len(steps) and not _can_be_checked(steps[step])
    ):
        raise ValueError(f"there is no step {step} to check")
    module: Module = model.net
    with model.lock:
        values = model.passed(digit, target).values
        x = values[0]
        if step == len(steps):
            module = AtTargets(model.loss, np.array([target]))
            x = values[model.net.results[0]]
        elif step >= 0:
            module = steps[step].module
            x = values[steps[step].takes[0]]
        twin = float64_twin(module)
    if fault and step == -1:
        _plant(twin.steps[fault.step].module, fault.what)  # type: ignore[attr-defined]
    elif fault and step == fault.step:
        _plant(twin, fault.what)
    return Function(twin, (x.astype(np.float64),))


def _plant(module: Any, what: str) -> None:
    """Spoil the `bprop` of one module."""
    right = module.bprop

    def wrong(dy: Array, need_dx: bool = True) -> Any:
        dx = right(dy)
        if what == "dw":
            module.dw *= -1
        elif what == "db":
            module.db[...] = 0
        elif isinstance(module, Linear):
            dx -= dy[:, :1] * module.w[:, 0]
        else:
            dx = dy.copy()
        return dx

    module.bprop = wrong


def _rows(function: Function, place: int, columns: list[int]) -> Array:
    """Return the columns of the Jacobian that `bprop` makes row by row, (outputs, columns)."""
    (y,) = function.fprop()
    rows = np.empty((y.size, len(columns)))
    for output in range(y.size):
        dy = np.zeros_like(y)
        dy.reshape(-1)[output] = UNIT
        gradient = function.bprop([dy])[place]
        rows[output] = np.asarray(gradient).reshape(-1)[columns] / UNIT
    return rows
