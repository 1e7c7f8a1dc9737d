"""What a copy of a module holds: what the module is, and nothing of what it was run on.

`pickle`, `copy.deepcopy`, joblib and the like get parameters, states and settings, and all that a
person's own subclass adds. They do not get what the classes of this package remember of their last
run: batches, and results computed from them. Gradients come from the last batch, too: in a pickle
they are zeros, as in a new module.
"""

import copy
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np

from jitprop import kernels


class Copied:
    """Base of modules and losses.

    A class names the attributes that a copy does not get: those `_of_a_run`, which are None before
    the first run, and `_gradients`, which are zeros.
    """

    _of_a_run: ClassVar[tuple[str, ...]] = ()
    _gradients: ClassVar[tuple[str, ...]] = ()

    def __getstate__(self) -> Any:
        state = super().__getstate__()  # the attributes, None without any; with slots, a tuple
        attributes, *slots = state if isinstance(state, tuple) else (state,)
        attributes = dict(attributes or {})
        for kind in type(self).__mro__:
            for name in attributes.keys() & set(vars(kind).get("_of_a_run", ())):
                attributes[name] = None
            for name in attributes.keys() & set(vars(kind).get("_gradients", ())):
                attributes[name] = _gradient(attributes[name])
        return (attributes, *slots) if slots else attributes

    def __setstate__(self, state: Any) -> None:
        attributes, slots = state if isinstance(state, tuple) else (state, {})
        for name, value in (attributes or {}).items():
            vars(self)[name] = value.array if isinstance(value, _Gradient) else value
        for name, value in slots.items():
            setattr(self, name, value)


class _Gradient:
    """Stands for a gradient while a module is copied; a pickle gives zeros."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __deepcopy__(self, memo: dict[int, Any]) -> np.ndarray:
        return copy.deepcopy(self.array, memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return kernels.aligned_zeros, (self.array.shape, self.array.dtype)


# Modules that share an array have one stand-in for it while a pickle is written. So they still
# share it afterwards.
_stand_ins: WeakValueDictionary[int, _Gradient] = WeakValueDictionary()


def copied(part: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a copy of a module or a loss.

    Raises
    ------
    TypeError
        It holds something that Python cannot copy, such as a lock or a file; the message names it.
    """
    try:
        return copy.deepcopy(part, memo)
    except TypeError as error:
        raise TypeError(f"{part!r} cannot be copied: {error}") from error


def _gradient(given: Any) -> Any:
    if type(given) is not np.ndarray:
        return given
    found = _stand_ins.get(id(given))
    if found is None:
        found = _stand_ins[id(given)] = _Gradient(given)
    return found
